"""What the demo sees: asked from the node by JSON-RPC and from the meters' own files, as any outsider could."""

import asyncio
import contextlib
import time
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
from wallet.client import NodeUnreachable, RpcClient
from wallet.transfer import build_transaction, sign_and_send

NODE_TIMEOUT_S = 5.0
"""A node that is being killed, or has just started, may not answer; the screen shows it as off."""
AGREEMENT_INTERVAL_S = 0.2

_EXHAUSTION, _METER = load_artifact("Exhaustion").abi, load_artifact("Meter").abi


@dataclass(frozen=True, slots=True)
class HouseholdView:
    """One household at one moment. Registers are the meter's own, the account is the contract's."""

    name: str
    readings: int
    read_wh: int
    waiting: int
    charged_wh: int
    credit_wei: int
    debt_wei: int
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


class Observer:
    """Looks, and sends the households' and the supplier's transactions."""

    def __init__(self, stage: Stage, network: DemoNetwork, client: RpcClient) -> None:
        self._stage = stage
        self._network = network
        self._client = client

    async def look(self) -> View:
        """Everything as of one block, so that no payment is seen on one side only."""
        head = await self._client.block("latest")
        if head is None:
            raise UserError("The node has no latest block.")
        households = await asyncio.gather(*[self._household(one, head.number) for one in self._stage.households])
        (supplier_wei,) = await self.ask(head.number, "supplierAccountOf", self._stage.supplier)
        nodes = await asyncio.gather(*[self._node(one) for one in self._stage.nodes])
        return View(head.number, head.time_s, tuple(households), cast(int, supplier_wei), tuple(nodes))

    async def nodes_that_have(self, block_number: int, timeout_s: float) -> int:
        """How many nodes hold the same block of that number as the observer's, once all do, or the time is over."""
        wanted = await self._client.block(block_number)
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

    async def ask(self, block_number: int, function: str, *arguments: object) -> tuple[object, ...]:
        """A view of the Exhaustion contract, as of a block."""
        data = await self._client.call(EXHAUSTION_ADDRESS, _EXHAUSTION.encode_call(function, arguments), block_number)
        return _EXHAUSTION.decode_result(function, data)

    async def top_up(self, household: Household, amount_wei: int) -> None:
        """Pay for a household's meter from its own wallet."""
        await self._transact(household.wallet_key, household.wallet, "topUp", (household.meter,), amount_wei)

    async def withdraw(self, amount_wei: int) -> None:
        """Pay the supplier's account out to the supplier."""
        stage = self._stage
        await self._transact(stage.supplier_key, stage.supplier, "withdraw", (stage.supplier, amount_wei), 0)

    async def balance(self, address: bytes) -> int:
        return await self._client.balance(address)

    async def _node(self, node: DemoNode) -> NodeView:
        with contextlib.suppress(NodeUnreachable):
            if self._network.is_running(node):
                async with RpcClient(self._network.rpc_url(node), NODE_TIMEOUT_S) as client:
                    peers = parse_quantity(await client.request("net_peerCount"))
                    return NodeView(node.name, await client.block_number(), peers)
        return NodeView(node.name, None, None)

    async def _transact(
        self, key: bytes, sender: bytes, function: str, arguments: tuple[object, ...], value_wei: int
    ) -> None:
        data = _EXHAUSTION.encode_call(function, arguments)
        transaction = await build_transaction(self._client, sender, EXHAUSTION_ADDRESS, value_wei, data)
        transaction_hash = await sign_and_send(self._client, transaction, key)
        receipt = await self._client.wait_for_receipt(transaction_hash)
        if not receipt.succeeded:
            raise UserError(f"The contract refused {function}.")

    async def _charged_wh(self, household: Household, block_number: int) -> int:
        """By the register up to which the ledger has charged; all of them begin at zero."""
        data = await self._client.call(
            METER_ADDRESS, _METER.encode_call("lastReading", (household.meter,)), block_number
        )
        (last,) = _METER.decode_result("lastReading", data)
        return cast(tuple[int, ...], last)[2]

    async def _household(self, household: Household, block_number: int) -> HouseholdView:
        (account,) = await self.ask(block_number, "accountOf", household.meter)
        credit, overdrawn, debt, *_ = cast(tuple[int, ...], account)
        charged = await self._charged_wh(household, block_number)
        wallet_wei = await self._client.balance(household.wallet, block_number)
        readings = read_wh = waiting = 0
        is_supplied = None
        with contextlib.suppress(OutboxNotReady):
            status = await read_status(load_settings(household.settings_path), ask_node=False)
            waiting = status.waiting
            is_supplied = status.switching.is_on if status.switching is not None else None
            if status.head is not None:
                readings, read_wh = status.head.sequence, status.head.registers.import_wh
        return HouseholdView(
            household.name,
            readings,
            read_wh,
            waiting,
            charged,
            credit,
            overdrawn + debt,
            is_supplied,
            wallet_wei,
        )
