"""A receiver of money that calls again who sent it (src/ReenteringReceiver.sol)."""

from pathlib import Path

from contracts.binding import load_artifact
from contracts.genesis import Alloc
from tests.contracts.ledgers import Ledger, Result
from tests.contracts.meter_book import DIRECTOR, contract_entry

RECEIVER = load_artifact("ReenteringReceiver", Path(__file__).parent / "artifacts")
RECEIVER_ADDRESS = bytes.fromhex("000000000000000000000000000000000000bad0")


def receiver_alloc() -> Alloc:
    return {"0x" + RECEIVER_ADDRESS.hex(): contract_entry(RECEIVER.runtime_code, {})}


def receiver_does(ledger: Ledger, function: str, *arguments: object) -> Result:
    return ledger.transact(DIRECTOR, RECEIVER_ADDRESS, RECEIVER.abi.encode_call(function, arguments))
