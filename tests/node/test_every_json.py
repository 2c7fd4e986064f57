"""The JSON of commands, one after another on one ledger: names in small_letters, wei as text, nothing else on the line.

What needs more than a ledger in memory (a meter that runs, a light client, a demo) is looked at by the tests of those
commands: tests/json_names.py looks on wherever a command of theirs prints JSON.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli import main
from tests.json_names import json_faults
from tests.wallet.contract_person import CUSTOMER, METER, NEW_METER, SUPPLIER, Neighbour, consent_text, neighbour, shown

METER_TEXT, OTHER_METER, CUSTOMER_TEXT, SUPPLIER_TEXT = (shown(one) for one in (METER, NEW_METER, CUSTOMER, SUPPLIER))
WATT = 10**18

SENT: list[tuple[bytes, str]] = [
    (SUPPLIER, "tariff set --name Day --step 0.3"),
    (SUPPLIER, f"meter install {METER_TEXT} {consent_text(METER)} --owner {CUSTOMER_TEXT} --tariff 1"),
    (SUPPLIER, f"meter install {OTHER_METER} {consent_text(NEW_METER)} --owner {CUSTOMER_TEXT} --billing postpaid"),
    (CUSTOMER, f"credit top-up {METER_TEXT} 2500"),
    (CUSTOMER, f"credit threshold {METER_TEXT} 5"),
    (SUPPLIER, "credit set-terms --emergency 5"),
    (CUSTOMER, f"credit deposit {SUPPLIER_TEXT} 3"),
    (SUPPLIER, "credit payout 1"),
    (CUSTOMER, f"policy set {METER_TEXT} --maximum-load 7.5kW"),
    (SUPPLIER, "bill describe Power"),
    (SUPPLIER, "bill terms --days 14"),
    (CUSTOMER, f"channel open {SUPPLIER_TEXT} 10 --for 7d"),
    (CUSTOMER, f"market meter {METER_TEXT}"),
    (SUPPLIER, "registry zone +05:30"),
    (SUPPLIER, "voucher revoke 7"),
    (SUPPLIER, f"meter tariff {METER_TEXT} 1"),
]
"""By whom, and what; in this order, each with --yes."""
SIGNED: list[tuple[bytes, str]] = [
    (CUSTOMER, "channel pay 1 0.5"),
    (SUPPLIER, "voucher issue 25 --no-qr"),
]
ASKED = [
    *("status", "peers", "tariff list", "tariff show 1", "tariff cost 1 150", "market list", "market rules"),
    *("market trades", "market result", "market auction rules", "registry show", "wallet list"),
    *(f"meter show {METER_TEXT}", f"meter usage {METER_TEXT}", f"meter audit {METER_TEXT}"),
    *(f"credit balance {METER_TEXT}", f"credit account {SUPPLIER_TEXT}", f"credit terms {SUPPLIER_TEXT}"),
    *(f"policy show {METER_TEXT}", f"bill show {OTHER_METER}", f"registry show {METER_TEXT} {SUPPLIER_TEXT}"),
    *(f"market account {CUSTOMER_TEXT}", f"market auction account {CUSTOMER_TEXT}", f"wallet balance {CUSTOMER_TEXT}"),
    *("channel show 1", f"channel list --account {CUSTOMER_TEXT}", "voucher short list"),
]
ALONE = [
    f"init --operator {SUPPLIER_TEXT} --data-dir node",
    f"network new --out network --operator {SUPPLIER_TEXT}",
    "wallet new --light --name anna --password-file password",
    "meter profile home.csv --days 2",
    f"voucher short new KP-7 --meter {METER_TEXT} --unit 0.1 --output keypad.json",
    "meter keypad install keypad.json",
    "meter keypad show",
]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbour]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    with neighbour(main, tmp_path, {CUSTOMER: 10_000 * WATT}) as here:
        yield here


def test_every_result_has_good_names(people: Neighbour) -> None:
    lines: list[tuple[str, list[str]]] = []
    lines += [(line, ["--yes", *people.key(who)]) for who, line in SENT]
    lines += [(line, people.key(who)) for who, line in SIGNED]
    lines += [(line, []) for line in (*ALONE, *ASKED)]
    wrong = {}
    for line, more in lines:
        result = people.run(*line.split(), *more, "--json")
        assert result.exit_code == 0, (line, result.output)
        if faults := json_faults(json.loads(result.stdout)):
            wrong[line] = faults
    assert wrong == {}
