"""What the demo sees and sends: by JSON-RPC from a node, and from the meters' own files, as any outsider could."""

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import cast

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from meter.database import OutboxNotReady
from meter.settings import load_settings
from meter.status import read_status
from node.demo.network import DemoNetwork
from node.demo.stage import DemoNode, Household, Stage
from primitives.errors import UserError
from primitives.hexadecimal import parse_quantity
from primitives.secp256k1 import address_of
from wallet.client import NodeUnreachable, RpcClient
from wallet.contract_call import ContractCall, ContractEvent, events_of, plan_call
from wallet.credit import EXHAUSTION
from wallet.transfer import sign_and_send

NODE_TIMEOUT_S = 5.0
"""A node that is being killed, or has just started, may not answer; the screen shows it as off."""
AGREEMENT_INTERVAL_S = 0.2

_EXHAUSTION, _METER = load_artifact("Exhaustion").abi, load_artifact("Meter").abi


@dataclass(frozen=True, slots=True)
class HouseholdView:
    """One home at one moment. Registers are the meter's own, the account is the contract's."""

    name: str
    readings: int
    read_wh: int
    exported_wh: int
    waiting: int
    charged_wh: int
    charged_until_s: int
    """Time of the last reading on the ledger."""
    credit_wei: int
    overdrawn_wei: int
    debt_wei: int
    owed_wei: int
    """By the supplier, for energy given to the grid."""
    is_supplied: bool | None
    """The relay; None before it has heard of the ledger."""
    wallet_wei: int


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node at one moment; None where it does not answer."""

    name: str
    block_number: int | None
    peers: int | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the screen, at one moment."""

    block_number: int
    block_time_s: int
    households: tuple[HouseholdView, ...]
    supplier_account_wei: int
    nodes: tuple[NodeView, ...]

    def home(self, household: Household) -> HouseholdView:
        return next(one for one in self.households if one.name == household.name)


class Observer:
    """Looks, and sends everybody's transactions."""

    def __init__(self, stage: Stage, network: DemoNetwork, client: RpcClient) -> None:
        self._stage = stage
        self._network = network
        self.client = client
        self._sending: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def look(self) -> View:
        """Everything as of one block, so that no payment is seen on one side only."""
        head = await self.client.block("latest")
        if head is None:
            raise UserError("The node has no latest block.")
        households = await asyncio.gather(*[self._household(one, head.number) for one in self._stage.households])
        (supplier_wei,) = await self._ask(head.number, "supplierAccountOf", self._stage.supplier)
        nodes = await asyncio.gather(*[self._node(one) for one in self._stage.nodes])
        return View(head.number, head.time_s, tuple(households), cast(int, supplier_wei), tuple(nodes))

    async def nodes_that_have(self, block_number: int, timeout_s: float) -> int:
        """How many nodes hold the same block of that number as the observer's, once all do, or the time is over."""
        wanted = await self.client.block(block_number)
        agreeing: set[str] = set()
        deadline_s = time.monotonic() + timeout_s
        while len(agreeing) < len(self._stage.nodes) and time.monotonic() < deadline_s:
            for node in self._stage.nodes:
                with contextlib.suppress(NodeUnreachable):
                    async with RpcClient(self._network.rpc_url(node), NODE_TIMEOUT_S) as client:
                        block = await client.block(block_number)
                    if wanted is not None and block is not None and block.hash == wanted.hash:
                        agreeing.add(node.name)
            await asyncio.sleep(AGREEMENT_INTERVAL_S)
        return len(agreeing)

    async def act(self, key: bytes, call: ContractCall) -> list[ContractEvent]:
        """Send a transaction, wait until it is in a block, and say what came of it.

        Raises UserError with the contract's refusal in words.
        """
        sender = address_of(key)
        # One after the other, so that each gets a nonce of its own; they may wait for a block together.
        async with self._sending[sender]:
            transaction_hash = await sign_and_send(self.client, await plan_call(self.client, call, sender), key)
        receipt = await self.client.wait_for_receipt(transaction_hash)
        return await events_of(self.client, call, sender, receipt)

    async def top_up(self, household: Household, amount_wei: int) -> list[ContractEvent]:
        """Pay for a home's meter from its own wallet."""
        return await self.act(household.wallet_key, ContractCall(EXHAUSTION, "topUp", (household.meter,), amount_wei))

    async def balance(self, address: bytes) -> int:
        return await self.client.balance(address)

    async def _ask(self, block_number: int, function: str, *arguments: object) -> tuple[object, ...]:
        """A view of the Exhaustion contract, as of a block."""
        data = await self.client.call(EXHAUSTION_ADDRESS, _EXHAUSTION.encode_call(function, arguments), block_number)
        return _EXHAUSTION.decode_result(function, data)

    async def _node(self, node: DemoNode) -> NodeView:
        with contextlib.suppress(NodeUnreachable):
            if self._network.is_running(node):
                async with RpcClient(self._network.rpc_url(node), NODE_TIMEOUT_S) as client:
                    peers = parse_quantity(await client.request("net_peerCount"))
                    return NodeView(node.name, await client.block_number(), peers)
        return NodeView(node.name, None, None)

    async def _charged(self, household: Household, block_number: int) -> tuple[int, int]:
        """(time in s, Wh): the register up to which the ledger has charged; all of them begin at zero."""
        data = await self.client.call(
            METER_ADDRESS, _METER.encode_call("lastReading", (household.meter,)), block_number
        )
        (last,) = _METER.decode_result("lastReading", data)
        _, time_s, import_wh, *_ = cast(tuple[int, ...], last)
        return time_s, import_wh

    async def _household(self, household: Household, block_number: int) -> HouseholdView:
        (account,) = await self._ask(block_number, "accountOf", household.meter)
        credit, overdrawn, debt, owed, *_ = cast(tuple[int, ...], account)
        charged_until_s, charged_wh = await self._charged(household, block_number)
        wallet_wei = await self.client.balance(household.wallet, block_number)
        readings = read_wh = exported_wh = waiting = 0
        is_supplied = None
        # Before the meter runs, it has neither settings nor an outbox.
        if household.settings_path.exists():
            with contextlib.suppress(OutboxNotReady):
                status = await read_status(load_settings(household.settings_path), ask_node=False)
                waiting = status.waiting
                is_supplied = status.switching.is_on if status.switching is not None else None
                if status.head is not None:
                    readings, registers = status.head.sequence, status.head.registers
                    read_wh, exported_wh = registers.import_wh, registers.export_wh
        return HouseholdView(
            household.name,
            readings,
            read_wh,
            exported_wh,
            waiting,
            charged_wh,
            charged_until_s,
            credit,
            overdrawn,
            debt,
            owed,
            is_supplied,
            wallet_wei,
        )
