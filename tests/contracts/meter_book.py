"""Registry and Meter as one contract that says and reports whatever a test wants (src/MeterBook.sol)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from contracts.binding import load_artifact
from contracts.genesis import Alloc
from tests.contracts.ledgers import Ledger, Result

BOOK = load_artifact("MeterBook", Path(__file__).parent / "artifacts")
BOOK_ADDRESS = bytes.fromhex("000000000000000000000000000000000000b00c")
DIRECTOR = b"\xd1" * 20


class Role(IntEnum):
    NONE, REGULATOR, SUPPLIER, PRODUCER, CONSUMER, RELAY = range(6)


class Status(IntEnum):
    UNKNOWN, ACTIVE, REMOVED = range(3)


@dataclass(frozen=True, slots=True)
class Record:
    """As in IRegistry."""

    owner: bytes = bytes(20)
    supplier: bytes = bytes(20)
    status: Status = Status.ACTIVE
    sink: bytes = bytes(20)
    tariff: int = 0
    predecessor: bytes = bytes(20)
    successor: bytes = bytes(20)

    def arguments(self) -> tuple[object, ...]:
        return (
            self.owner,
            self.supplier,
            int(self.status),
            self.sink,
            self.tariff,
            bytes(32),
            0,
            0,
            self.predecessor,
            self.successor,
        )


def book_alloc() -> Alloc:
    return {"0x" + BOOK_ADDRESS.hex(): contract_entry(BOOK.runtime_code, {})}


class MeterBook:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def set_meter(self, meter: bytes, record: Record) -> None:
        self._write("setMeter", meter, record.arguments())

    def set_role(self, account: bytes, role: Role) -> None:
        self._write("setRole", account, int(role))

    def set_zone(self, supplier: bytes, offset_s: int) -> None:
        self._write("setZone", supplier, offset_s)

    def act(self, target: bytes, data: bytes) -> Result:
        """A call of a contract by the book."""
        return self._ledger.transact(DIRECTOR, BOOK_ADDRESS, BOOK.abi.encode_call("act", [target, data]))

    def _write(self, function: str, *arguments: object) -> None:
        assert self._ledger.transact(DIRECTOR, BOOK_ADDRESS, BOOK.abi.encode_call(function, arguments)).success


def contract_entry(code: bytes, storage: Mapping[int, int], balance_wei: int = 0) -> dict[str, object]:
    """A contract as an alloc has it."""
    return {
        "balance": hex(balance_wei),
        "nonce": "0x1",
        "code": "0x" + code.hex(),
        "storage": {hex(slot): hex(value) for slot, value in storage.items() if value},
    }
