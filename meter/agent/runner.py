"""Runs an agent: asks, decides, does one thing at a time, and says why.

A transaction is on the disk before it is sent, and nothing else is decided before it is in a block: so what the ledger
says then has everything in it, and a restart at any moment finds its way. What a contract refuses is said and tried
again later; a node that fails is asked again after a while.
"""

import logging
import random
import secrets
from collections.abc import Callable

from chain.transaction import Transaction, decode_transaction, sign_transaction
from contracts.auction import SALT_BYTES
from meter.agent.action import Action, Decision, Prove, Seal
from meter.agent.asking import Asker
from meter.agent.decisions import decide
from meter.agent.journal import DONE, DROPPED, FAILED, IN_BLOCK, MAX_SENT_A_DAY, UNDER_WAY, Journal, Sent
from meter.agent.limits import Limits
from meter.agent.situation import Situation, with_signed
from meter.backoff import backoff_s
from meter.ledger import NodeTrouble
from primitives.clock import Clock
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from wallet.amounts import format_amount
from wallet.answers import Receipt
from wallet.auction import AUCTION
from wallet.client import InvalidAnswer, RpcClient, RpcError
from wallet.contract_call import ContractCall, plan_call, refusal_of
from wallet.market import MARKET
from wallet.sealed_orders import SealedOrder
from wallet.signed_readings import readings_around
from wallet.transfer import DEFAULT_MAX_FEE_WEI, highest_fee, suggest_fees

logger = logging.getLogger(__name__)

MAX_ACTIONS_A_ROUND = 24
"""A proof costs a transaction, and a slot four of them; what is left has its turn in the next round."""
REFUSED_S = 3_600
"""What was refused is tried again after an hour: until then somebody has sent a reading, or nobody will."""
REFUSED_URGENT_S = 60
URGENT = ("reveal", "clear")
POLL_S = 1.0
"""How often a block is looked for after something was sent."""
WAIT_S = 120.0
"""Blocks come at least once a minute; what is in none by then is followed in the next round."""
STUCK_S = 300
"""What is in no block for so long may be for its fee."""
CLOCKS_APART_S = 3_600
"""A block may be of a time so long before that of the own clock when its transaction was signed."""
MAX_REFUSALS = 1_000
"""Remembered at a time; all are forgotten where there are more."""

_ALREADY_THERE = ("already known", "known transaction", "already imported", "already in the pool")


class Runner:
    """One account's agent."""

    def __init__(
        self,
        client: RpcClient,
        asker: Asker,
        journal: Journal,
        limits: Limits,
        private_key: bytes | None,
        clock: Clock,
        *,
        chain_id: int,
        confirmations: int = 0,
        max_fee_wei: int = DEFAULT_MAX_FEE_WEI,
        greatest_fees_wei: int = DEFAULT_MAX_FEE_WEI,
        interval_s: int = 300,
        note: Callable[[str, bool], None] = lambda *_: None,
        randomness: random.Random | None = None,
    ) -> None:
        """Without a private key nothing is sent: it only says what it would do.

        `max_fee_wei` is for one transaction, `greatest_fees_wei` for those of 24 hours. `note` hears what was decided
        last, and whether it gets on.
        """
        if private_key is not None and address_of(private_key) != asker.account:
            raise ValueError("the key is not the account's")
        self._client, self._asker, self._journal, self._limits = client, asker, journal, limits
        self._private_key, self._clock = private_key, clock
        self._chain_id, self._confirmations, self._max_fee_wei = chain_id, confirmations, max_fee_wei
        self._greatest_fees_wei, self._interval_s = greatest_fees_wei, interval_s
        self._note, self._random = note, randomness or random.Random()
        self._refused_until_s: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled. Raises UserError for what only a person can put right."""
        await self._check_chain()
        failures = 0
        while True:
            try:
                await self.round()
                failures = 0
                await self._clock.sleep_s(self._interval_s)
            except NodeTrouble as error:
                failures += 1
                delay_s = backoff_s(failures, self._random)
                self._note(f"no decision now: {error}", False)
                logger.warning("no decision now: %s; trying again in %.0f s", error, delay_s)
                await self._clock.sleep_s(delay_s)

    async def round(self) -> list[Decision]:
        """Do all that can be done now, one thing after the other. What was decided last."""
        decisions: list[Decision] = []
        for _ in range(MAX_ACTIONS_A_ROUND):
            if self._private_key is not None and not await self._nothing_under_way():
                self._note("what was sent is in no block yet", False)
                return decisions
            try:
                situation = await self._look()
            except NodeTrouble:
                raise
            except UserError as error:
                self._say_once(self._clock.time_s(), self._clock.time_s() // 86_400, "cannot decide", str(error))
                self._note(f"cannot decide: {error}", False)
                return decisions
            decisions = decide(situation, self._limits)
            self._note(next((f"{one.code}: {one.text}" for one in decisions), "nothing to do"), True)
            if self._private_key is None:
                self._say_all(situation, decisions)
                return decisions
            if not await self._do_first(situation, decisions):
                return decisions
        return decisions

    async def _check_chain(self) -> None:
        """Raises UserError for another ledger. A node that does not answer now is no reason to stop."""
        try:
            chain_id = await self._client.chain_id()
        except NodeTrouble as error:
            logger.warning("the node's ledger cannot be checked yet: %s", error)
            return
        if chain_id != self._chain_id:
            raise UserError(f"The node is on the ledger {chain_id}, the settings name {self._chain_id}.")

    async def _look(self) -> Situation:
        situation = await self._asker.situation(self._client, self._clock.time_s())
        now_s = self._clock.time_s()
        since_s = self._journal.since_s(now_s)
        told, known = situation.dealings.count_since(since_s - CLOCKS_APART_S), self._journal.orders_in_blocks(now_s)
        if told < known and situation.known_since_s <= since_s:
            raise InvalidAnswer(f"the node tells of {told} of the account's {known} orders that it has in blocks")
        return with_signed(situation, self._journal, now_s)

    async def _do_first(self, situation: Situation, decisions: list[Decision]) -> bool:
        """The first action that is not refused. False where there is none."""
        for decision in decisions:
            action = decision.action
            if action is None:
                self._say_once(situation.time_s, situation.day, decision.code, decision.text)
                continue
            if situation.time_s < self._refused_until_s.get(action.key, 0):
                continue
            try:
                transaction = await self._plan(situation, action)
            except NodeTrouble as error:
                if not isinstance(error, RpcError):
                    raise
                self._refuse(situation, decision, action, error)
                continue
            except UserError as error:
                self._refuse(situation, decision, action, error)
                continue
            self._say(situation, decision.code, decision.text)
            try:
                await self._send(situation, decision, action, transaction)
            except RpcError as error:
                # It is dropped in the next round, where the node says so again.
                self._refuse(situation, decision, action, error)
            return True
        return False

    async def _plan(self, situation: Situation, action: Action) -> Transaction:
        call = action.call
        if isinstance(call, Prove):
            earlier, later = await readings_around(self._client, call.meter, call.time_s)
            call = ContractCall(AUCTION, "proveRegisters", (call.time_s, earlier.arguments, later.arguments))
        elif isinstance(call, Seal):
            return await self._plan_sealed(situation, call)
        return await self._plan_call(situation, call)

    async def _plan_call(self, situation: Situation, call: ContractCall) -> Transaction:
        transaction = await plan_call(self._client, call, situation.account, self._max_fee_wei)
        if transaction.chain_id != self._chain_id:
            raise UserError(f"The node is on the ledger {transaction.chain_id}, the settings name {self._chain_id}.")
        self._check_day(highest_fee(transaction))
        return transaction

    def _check_day(self, fee_wei: int) -> None:
        """The node says what a transaction costs, and may say it of many. Raises UserError."""
        now_s = self._clock.time_s()
        if self._journal.signed(now_s).count >= MAX_SENT_A_DAY:
            raise UserError(f"{MAX_SENT_A_DAY:,} transactions in 24 hours are the most; the next ones wait.")
        fees_wei = self._journal.fees_wei(now_s) + fee_wei
        if fees_wei > self._greatest_fees_wei:
            raise UserError(
                f"The fees of 24 hours could come to {format_amount(fees_wei)}; agent.greatest_fees_per_day allows "
                f"{format_amount(self._greatest_fees_wei)}."
            )

    async def _plan_sealed(self, situation: Situation, seal: Seal) -> Transaction:
        """The secret is on the disk before the node hears of the order."""
        order = SealedOrder(
            self._chain_id, seal.slot_s, situation.account, seal.side, seal.energy_wh, seal.price_wei_per_wh,
            secrets.token_bytes(SALT_BYTES),
        )  # fmt: skip
        self._asker.secrets.keep(order)
        terms = (seal.slot_s, seal.side, seal.meter, order.commitment)
        try:
            return await self._plan_call(situation, ContractCall(AUCTION, "sealOrder", terms, seal.deposit_wei))
        except BaseException:
            self._asker.secrets.forget(order)  # nothing was sent
            raise

    async def _send(self, situation: Situation, decision: Decision, action: Action, transaction: Transaction) -> None:
        assert self._private_key is not None  # a dry run does not come here
        signed = sign_transaction(transaction, self._private_key)
        text = action.key if action.key.startswith(decision.code) else f"{decision.code}: {action.key}"
        self._write_down(text, action.spend_wei, action.energy_wh, signed)
        await self._client.send_raw(signed.encoded)
        waited_s = 0.0
        while (receipt := await self._client.receipt(signed.hash)) is None and waited_s < WAIT_S:
            self._note(f"waits for the block with {text}", True)
            await self._clock.sleep_s(POLL_S)
            waited_s += POLL_S
        if receipt is not None and not receipt.succeeded:
            self._wait_with(situation, decision, action)
        elif receipt is not None:
            logger.info("%s: it is in block %d", decision.code, receipt.block_number)
            self._forget_revealed(situation, decision, action)

    def _forget_revealed(self, situation: Situation, decision: Decision, action: Action) -> None:
        if decision.code == "reveal" and situation.auction is not None:
            # It is on the ledger for all to see; were its block taken back, the same transaction would be sent again.
            for secret in situation.auction.secrets.values():
                if action.key == f"reveal {secret.slot_s}":
                    self._asker.secrets.forget(secret)

    def _write_down(self, text: str, spend_wei: int, energy_wh: int, signed: Transaction) -> None:
        now_s = self._clock.time_s()
        self._journal.begin(now_s, text, spend_wei, energy_wh, signed.nonce, signed.hash, signed.encoded)

    async def _nothing_under_way(self) -> bool:
        """Follow what was sent, also before a restart. Whether the ledger has all of it."""
        head = await self._client.block_number()
        for sent in self._journal.unsettled():
            receipt = await self._client.receipt(sent.hash)
            if receipt is not None:
                await self._in_block(sent, receipt, head)
            elif await self._client.nonce(self._asker.account, "latest") > sent.nonce:
                if await self._client.receipt(sent.hash) is None:  # it was not just now that it came into a block
                    note = "another transaction of the account took its place"
                    self._journal.mark(sent, DROPPED, note)
                    logger.warning("%s: %s", sent.text, note)
            else:
                self._journal.mark(sent, UNDER_WAY)
                if await self._hand_in(sent) and await self._client.receipt(sent.hash) is None:
                    await self._pay_more(sent)
                    return False
        return True

    async def _pay_more(self, sent: Sent) -> None:
        """Send one with the same number and a higher fee where fees have risen: either of the two gets into a block."""
        newest = self._journal.newest(1)[0]
        if self._private_key is None or newest.id != sent.id or self._clock.time_s() < sent.time_s + STUCK_S:
            return
        old, fees = decode_transaction(sent.raw), await suggest_fees(self._client)
        if fees.max_fee_per_gas <= old.max_fee_per_gas:
            return  # it is not for the fee
        raised = Transaction(
            fees.transaction_type, old.chain_id, old.nonce,
            max(fees.max_priority_fee_per_gas, old.max_priority_fee_per_gas * 9 // 8 + 1),
            max(fees.max_fee_per_gas, old.max_fee_per_gas * 9 // 8 + 1), old.gas_limit, old.to, old.value, old.data,
        )  # fmt: skip
        if highest_fee(raised) > self._max_fee_wei:
            logger.warning(
                "%s waits: its fee would be %s, more than is allowed", sent.text, format_amount(highest_fee(raised))
            )
            return
        try:
            self._check_day(highest_fee(raised) - highest_fee(old))
        except UserError as error:
            logger.warning("%s waits: %s", sent.text, error)
            return
        signed = sign_transaction(raised, self._private_key)
        self._write_down(sent.text, sent.spend_wei, sent.energy_wh, signed)
        logger.info("%s: sent again with a fee of at most %s", sent.text, format_amount(highest_fee(raised)))
        await self._client.send_raw(signed.encoded)

    async def _in_block(self, sent: Sent, receipt: Receipt, head: int) -> None:
        is_deep = head >= receipt.block_number + self._confirmations
        if receipt.succeeded:
            self._journal.mark(sent, DONE if is_deep else IN_BLOCK)
        elif is_deep:
            note = await self._refusal(sent, receipt)
            self._journal.mark(sent, FAILED, note)
            logger.warning("%s was refused in block %d: %s", sent.text, receipt.block_number, note)

    async def _refusal(self, sent: Sent, receipt: Receipt) -> str:
        transaction = decode_transaction(sent.raw)
        contract = next((one for one in (MARKET, AUCTION) if one.address == transaction.to), MARKET)
        try:
            await self._client.call(
                contract.address, transaction.data, receipt.block_number, self._asker.account, transaction.value
            )
        except RpcError as error:
            refused = refusal_of(error, contract)
            if refused is not None:
                return str(refused)
        return "something changed on the ledger in the same moment"

    async def _hand_in(self, sent: Sent) -> bool:
        """Again, in case the node forgot it. False where the node does not want it.

        Then the next transaction has its number: only one of the two can ever be in a block.
        """
        try:
            await self._client.send_raw(sent.raw)
        except RpcError as error:
            if any(words in error.message.lower() for words in _ALREADY_THERE):
                return True
            self._journal.mark(sent, DROPPED, str(error))
            logger.warning("%s: %s", sent.text, error)
            return False
        return True

    def _refuse(self, situation: Situation, decision: Decision, action: Action, error: UserError) -> None:
        self._wait_with(situation, decision, action)
        text = f"{decision.text} Not possible now: {error}"
        self._say_once(situation.time_s, situation.day, f"refused: {action.key}", text)

    def _wait_with(self, situation: Situation, decision: Decision, action: Action) -> None:
        if len(self._refused_until_s) >= MAX_REFUSALS:
            self._refused_until_s.clear()
        wait_s = REFUSED_URGENT_S if decision.code in URGENT else REFUSED_S
        self._refused_until_s[action.key] = situation.time_s + wait_s

    def _say_all(self, situation: Situation, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.action is None:
                self._say_once(situation.time_s, situation.day, decision.code, decision.text)
            else:
                code, text = f"would {decision.action.key}", f"Would do, were it no trial: {decision.text}"
                self._say_once(situation.time_s, situation.day, code, text)

    def _say_once(self, time_s: int, day: int, code: str, text: str) -> None:
        """What is left undone is said once a day, since the reason is the same all day."""
        if not self._journal.was_told(day, code):
            self._journal.tell(time_s, day, code, text)
            logger.info("%s: %s", code, text)

    def _say(self, situation: Situation, code: str, text: str) -> None:
        self._journal.tell(situation.time_s, situation.day, code, text)
        logger.info("%s: %s", code, text)
