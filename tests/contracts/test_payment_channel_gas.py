"""What a payment channel costs: the table of docs/contracts/payment-channel.md."""

import re
from pathlib import Path

from tests.contracts.channel_stage import CONSUMER, DAY_S, PRODUCER, WATT, Parties, agree, pay, reason
from tests.contracts.ledgers import Result

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts" / "payment-channel.md"


def _gas(result: Result) -> int:
    assert result.success, reason(result)
    return result.gas_used


def _measure() -> dict[str, int]:
    parties = Parties()
    parties.open()  # the first channel of all writes the counter for the first time
    until = parties.ledger.time_s + DAY_S
    figures = {"open": _gas(parties.transact(CONSUMER, "open", PRODUCER, until, value=10 * WATT))}
    figures["top-up"] = _gas(parties.transact(CONSUMER, "topUp", 2, value=WATT))
    figures["extend"] = _gas(parties.transact(CONSUMER, "extend", 2, until + 1))
    figures["claim, the first"] = _gas(parties.transact(PRODUCER, "claim", *pay(2, WATT)))
    figures["claim, a later one"] = _gas(parties.transact(PRODUCER, "claim", *pay(2, 2 * WATT)))
    figures["close after claims"] = _gas(parties.transact(PRODUCER, "close", *pay(2, 3 * WATT)))
    figures["close without a claim before"] = _gas(parties.transact(PRODUCER, "close", *pay(1, 3 * WATT)))
    figures["release"] = _gas(parties.transact(PRODUCER, "release", parties.open()))
    together = parties.open()
    figures["close together"] = _gas(parties.transact(CONSUMER, "closeTogether", *agree(together, WATT)))
    expired = parties.open()
    parties.ledger.time_s += DAY_S
    figures["close alone after the validity"] = _gas(parties.transact(CONSUMER, "closeExpired", expired))
    party = parties.deploy_party()
    assert parties.act(party, "open", PRODUCER, parties.ledger.time_s + DAY_S, value=WATT).success
    parties.behave(party, 2)
    closing = parties.transact(PRODUCER, "release", 6)
    figures["release to a wallet that burns all its gas"] = _gas(closing)
    return figures


def test_the_document_states_the_measured_gas() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    figures = _measure()
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == figures
    assert max(figures.values()) < 200_000
