"""The ledger as a meter sees it: a narrow JSON-RPC node, and the Meter and Exhaustion contracts behind it.

`Node` is all that is asked of wallet/client.py's RpcClient; tests use a fake. What comes back is checked by the ABI
codec: a node may lie, but not crash the meter.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Protocol, cast

from contracts.binding import load_artifact
from contracts.reading_format import MAX_REGISTER_WH, MAX_SEQUENCE, Outcome
from meter.drivers.driver import Registers
from meter.head import Head
from meter.reading import Reading, SignedReading
from primitives.errors import Invalid, InvalidAbi, UserError
from primitives.hexadecimal import to_checksum_address
from wallet.answers import BlockSummary, Log, Receipt
from wallet.client import BlockTag, InvalidAnswer, NodeUnreachable, RpcError

_LastReading = tuple[int, int, int, int, int, int, bytes]

LATEST_S = 2**37
"""In the year 6325: a time that no ledger is at, and that the calendar still has."""

NodeTrouble = (NodeUnreachable, RpcError, InvalidAnswer)
"""What any question to a node may raise: no answer, a refusal, or an answer that makes no sense."""


class Node(Protocol):
    """A JSON-RPC node. Every method raises one of NodeTrouble; after NodeUnreachable the effect is unknown."""

    async def chain_id(self) -> int: ...

    async def block_number(self) -> int: ...

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None: ...

    async def gas_price(self) -> int: ...

    async def max_priority_fee(self) -> int: ...

    async def nonce(self, address: bytes, block: BlockTag = "pending") -> int: ...

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes: ...

    async def estimate_gas(self, sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int: ...

    async def send_raw(self, encoded_transaction: bytes) -> bytes: ...

    async def receipt(self, transaction_hash: bytes) -> Receipt | None: ...

    async def transaction_data(self, transaction_hash: bytes) -> bytes | None: ...

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]: ...

    def ask_another(self) -> None:
        """What this node says is not believed: begin with another one, where there is one."""


@dataclass(frozen=True, slots=True)
class AcceptedReading:
    """By the node's word: a reading that the ledger accepted, and the transaction that brought it."""

    reading: Reading
    transaction_hash: bytes


@dataclass(frozen=True, slots=True)
class SupplyEvent:
    """Why the supply of a meter may have changed: Exhausted or Restored, in a block."""

    name: str
    block_number: int


class MeterLedger:
    """Calls and events of the two contracts that concern meters."""

    def __init__(self, node: Node, meter_contract: bytes, exhaustion_contract: bytes) -> None:
        self.node = node
        self.meter_contract = meter_contract
        self.exhaustion_contract = exhaustion_contract
        self._meter_abi = load_artifact("Meter").abi
        self._registry_abi = load_artifact("Registry").abi
        self._exhaustion_abi = load_artifact("Exhaustion").abi
        self._sinks: dict[bytes, bytes] = {}
        self._seen: set[bytes] = set()
        """Contracts that have answered: these are there, whatever a node says later."""

    async def last_reading(self, meter: bytes, block: BlockTag = "latest") -> Head:
        """Where the ledger stands for a meter; sequence 0 and the opening registers before its first reading."""
        function = self._meter_abi.function("lastReading")
        data = await self.node.call(self.meter_contract, function.encode_call((meter,)), block)
        try:
            (last,) = function.decode_result(data)
        except InvalidAbi as error:
            raise self._no_answer("Meter", self.meter_contract, data) from error
        sequence, time_s, import_wh, export_wh, _, _, reading_hash = cast(_LastReading, last)
        limits = (
            (sequence, MAX_SEQUENCE),
            (time_s, LATEST_S),
            (import_wh, MAX_REGISTER_WH),
            (export_wh, MAX_REGISTER_WH),
        )
        if any(value > most for value, most in limits):
            raise InvalidAnswer("the node tells of a last reading that the contract would not have accepted")
        self._seen.add(self.meter_contract)
        return Head(sequence, reading_hash, Registers(time_s, import_wh, export_wh), None)

    def batch_call(self, readings: Sequence[SignedReading]) -> bytes:
        """The data of a transaction that carries the readings."""
        signed = [(astuple(one.reading), one.signature.r, one.signature.vs) for one in readings]
        return self._meter_abi.function("submitBatch").encode_call((signed,))

    async def outcomes(self, readings: Sequence[SignedReading], sender: bytes) -> list[Outcome]:
        """What would become of each reading in a block made now. RpcError where the whole batch reverts."""
        # In the newest block's own time, readings later than it would be refused; it may be long past.
        data = await self.node.call(self.meter_contract, self.batch_call(readings), "pending", sender)
        try:
            (codes,) = self._meter_abi.function("submitBatch").decode_result(data)
            outcomes = [Outcome(code) for code in codes]  # type: ignore[attr-defined]
        except (Invalid, ValueError) as error:
            raise InvalidAnswer(f"the node's answer about {len(readings)} readings makes no sense: {error}") from error
        if len(outcomes) != len(readings):
            raise InvalidAnswer(f"the node judged {len(outcomes)} readings, asked for {len(readings)}")
        return outcomes

    async def accepted_readings(self, meter: bytes, first_block: int, last_block: int) -> list[AcceptedReading]:
        """All readings of a meter that were accepted in these blocks, in order."""
        event = self._meter_abi.event("ReadingAccepted")
        logs = await self.node.logs([self.meter_contract], event.topics(meter=meter), first_block, last_block)
        readings = []
        for log in logs:
            try:
                _, _, *fields = event.decode_log(log.topics, log.data).values()
                readings.append(AcceptedReading(Reading(meter, *fields), log.transaction_hash))  # type: ignore[arg-type]
            except Invalid as error:
                raise InvalidAnswer(f"the node's answer makes no sense: {error}") from error
        return readings

    async def supply_allowed(self, meter: bytes, time_s: int, block: BlockTag) -> bool:
        """Whether the relay of a meter is to be on at a time, by the state after a block.

        The contract that bills the meter is asked: Exhaustion, or Billing where it is a postpaid one.
        """
        sink = self._sinks.get(meter, self.exhaustion_contract)
        if await self._sink_allows(sink, meter, time_s, block):
            return True
        # Another contract than the meter's own always says no, so only then it matters which one that is.
        registered = await self._registered_sink(meter, block)
        if registered is None or registered == sink:
            return False
        self._sinks[meter] = registered
        return await self._sink_allows(registered, meter, time_s, block)

    async def _sink_allows(self, sink: bytes, meter: bytes, time_s: int, block: BlockTag) -> bool:
        function = self._exhaustion_abi.function("supplyAllowed")
        data = await self.node.call(sink, function.encode_call((meter, time_s)), block)
        try:
            (allowed,) = function.decode_result(data)
        except InvalidAbi as error:
            name = "Exhaustion" if sink == self.exhaustion_contract else "billing"
            raise self._no_answer(name, sink, data) from error
        self._seen.add(sink)
        return bool(allowed)

    async def _registered_sink(self, meter: bytes, block: BlockTag) -> bytes | None:
        """The contract that bills a meter by the registry; None where it was never installed."""
        ask_registry = self._meter_abi.function("registry")
        ask_meter = self._registry_abi.function("registrationOf")
        answer = await self.node.call(self.meter_contract, ask_registry.encode_call(()), block)
        try:
            registry = cast(tuple[bytes], ask_registry.decode_result(answer))[0]
        except InvalidAbi as error:
            raise self._no_answer("Meter", self.meter_contract, answer) from error
        answer = await self.node.call(registry, ask_meter.encode_call((meter,)), block)
        try:
            sink = cast(tuple[int, bytes, bytes, bytes], ask_meter.decode_result(answer))[3]
        except InvalidAbi as error:  # the node has named the registry as well
            raise InvalidAnswer(
                f"the node's answer about the registration of the meter makes no sense: {error}"
            ) from error
        return sink if any(sink) else None

    async def supply_events(self, meter: bytes, first_block: int, last_block: int) -> list[SupplyEvent]:
        """Exhausted and Restored of a meter in these blocks, in order."""
        names = {self._exhaustion_abi.event(name).topic: name for name in ("Exhausted", "Restored")}
        topics = [list(names), self._exhaustion_abi.event("Exhausted").topics(meter=meter)[1]]
        logs = await self.node.logs([self.exhaustion_contract], topics, first_block, last_block)
        return [
            SupplyEvent(names[log.topics[0]], log.block_number) for log in logs if log.topics and log.topics[0] in names
        ]

    def _no_answer(self, name: str, address: bytes, data: bytes) -> Exception:
        """Nothing at all comes from where no contract is, which a person has to put right; what else does not decode
        is a node's nonsense."""
        if data or address in self._seen:
            return InvalidAnswer(f"the node's answer for the {name} contract makes no sense")
        return _absent(name, address)


def _absent(name: str, address: bytes) -> UserError:
    return UserError(
        f"there is no {name} contract at {to_checksum_address(address)} on the node's ledger: "
        "check the addresses of the contracts in the meter's settings"
    )
