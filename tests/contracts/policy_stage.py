"""The policies of the contract tests: owners and meters as a test wants them, and short ways to write and to ask."""

import re
from dataclasses import dataclass
from typing import Any

from contracts.addresses import POLICY_ADDRESS
from contracts.binding import Artifact, load_artifact
from contracts.genesis import Alloc
from contracts.policy import MeterPolicy, PolicyValues, decode_policy
from tests.contracts.ledgers import Ledger, Result, make_ledger
from tests.contracts.meter_book import BOOK_ADDRESS, MeterBook, book_alloc, contract_entry

POLICY = load_artifact("Policy")
_NAME = re.compile(r"\b\w+=")


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    arguments: dict[str, Any]


def policy_alloc() -> Alloc:
    storage = POLICY.storage_layout.assign("registry", value=BOOK_ADDRESS)
    return book_alloc() | {"0x" + POLICY_ADDRESS.hex(): contract_entry(POLICY.runtime_code, storage)}


class Policies:
    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or make_ledger(policy_alloc())
        self.book = MeterBook(self.ledger)

    def set(self, writer: bytes, meter: bytes, expected_version: int, values: PolicyValues) -> Result:
        return self.act(writer, "setPolicy", meter, expected_version, values.arguments())

    def act(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        return self.ledger.transact(sender, POLICY_ADDRESS, POLICY.abi.encode_call(function, arguments), value)

    def policy(self, meter: bytes) -> MeterPolicy:
        return decode_policy(self.ask("policyOf", meter))

    def version(self, meter: bytes) -> int:
        return int(self.ask("versionOf", meter)[0])

    def may_write(self, meter: bytes, person: bytes) -> bool:
        return bool(self.ask("mayWrite", meter, person)[0])

    def ask(self, function: str, *arguments: object) -> tuple[Any, ...]:
        result = self.ledger.call(bytes(20), POLICY_ADDRESS, POLICY.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        return POLICY.abi.decode_result(function, result.output)


def the_event(result: Result, artifact: Artifact = POLICY) -> Event:
    """The one event of a successful transaction."""
    assert result.success, reason(result)
    (log,) = result.logs
    decoded = artifact.abi.decode_log(log.topics, log.data)
    assert decoded is not None
    return Event(decoded.event, dict(decoded.arguments))


def reason(result: Result, artifact: Artifact = POLICY) -> str | None:
    """The error with its values, without their names; None where the transaction succeeded."""
    if result.success:
        return None
    return _NAME.sub("", artifact.abi.revert_reason(result.output) or "0x" + result.output.hex())
