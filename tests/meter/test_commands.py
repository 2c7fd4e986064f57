"""`wattchain meter` as a person meets it: plain words, JSON for programs, exit status 2 or 78 for mistakes."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.addresses import METER_ADDRESS
from meter.alterations import Alteration, Kind
from meter.calibration_state import write_state
from meter.commands import meter
from meter.drivers.driver import Registers
from meter.gaps import GapJournal
from meter.head import Head
from meter.kept_values import KeptValues
from meter.outbox import Outbox
from meter.reading import NO_HASH, Reading, ReadingDomain
from meter.signed_calibration import History, Standing
from meter.signer import KeySigner
from meter.switch_journal import Switching, SwitchJournal
from primitives.hexadecimal import to_checksum_address
from tests.meter.fake_node import METER, METER_KEY
from wallet.keystore import LIGHT_COST, encrypt_key

DOMAIN = ReadingDomain(1947, METER_ADDRESS)
SETTINGS = """
[meter]
key = "meter.json"
password_file = "password"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1947
# Nothing listens on the discard port.
node = "http://127.0.0.1:9"
[driver]
file = "profile.csv"
"""


@pytest.fixture(scope="module")
def key_file() -> str:
    return encrypt_key(METER_KEY, "secret", LIGHT_COST)


@pytest.fixture
def folder(tmp_path: Path, key_file: str) -> Path:
    (tmp_path / "meter.toml").write_text(SETTINGS)
    (tmp_path / "meter.json").write_text(key_file)
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    return tmp_path


@pytest.fixture
def with_readings(folder: Path) -> Path:
    with closing(Outbox.open(folder / "outbox.sqlite", DOMAIN, METER)) as outbox:
        outbox.adopt(Head(6, NO_HASH, Registers(), None), bytes(32), 0)
        previous = NO_HASH
        for sequence in (7, 8):
            reading = Reading(METER, sequence, 1_700_000_000, 1000 * sequence, 5, -20, 16, previous)
            previous = reading.hash
            outbox.append(DOMAIN.sign(reading, KeySigner(METER_KEY)), b"")
        outbox.alterations.record(Alteration(Kind.MISSING, 5, 6, "readings 5 to 6 are gone"))
        outbox.quarantine(7, "the ledger refuses it: time fell")
        SwitchJournal(outbox.database).record(Switching(1_700_000_100, 12, False, "Exhausted in block 12"))
        write_state(KeptValues(outbox.database), Standing(), History(), "the ledger was not asked yet")
        gaps = GapJournal(outbox.database)
        gaps.begin(1_700_000_040, "the board is unplugged")
        gaps.flush()
    return folder


def invoke(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(meter, [arguments[0], "--settings", str(folder / "meter.toml"), *arguments[1:]])


def test_status_tells_how_things_are(with_readings: Path) -> None:
    result = invoke(with_readings, "status")
    assert result.exit_code == 0, result.output
    assert to_checksum_address(METER) in result.output
    assert "8 signed, the last at 2023-11-14 22:13:20 UTC: 8000 Wh taken, 5 Wh given" in result.output
    assert "7: the ledger refuses it: time fell" in result.output
    assert "readings 5 to 6 are gone; the next reading tells the supplier" in result.output
    assert "OFF since 2023-11-14 22:15:00 UTC: Exhausted in block 12" in result.output
    assert "Missing   last from 2023-11-14 22:14:00 UTC until now: the board is unplugged" in result.output
    assert "Factors   1 for all, nothing is calibrated; the ledger was not asked yet" in result.output
    assert "Ledger    not in reach" in result.output


def test_status_as_json(with_readings: Path) -> None:
    answer = json.loads(invoke(with_readings, "status", "--json").stdout)
    assert answer == {
        "meter": to_checksum_address(METER),
        "last_reading": {"sequence": 8, "time_s": 1_700_000_000, "import_wh": 8000, "export_wh": 5},
        "waiting": 1,
        "set_aside": 1,
        "quarantined": [{"sequence": 7, "reason": "the ledger refuses it: time fell"}],
        "altered": 1,
        "alterations": [
            {
                "kind": "missing",
                "first_sequence": 5,
                "last_sequence": 6,
                "what": "readings 5 to 6 are gone",
                "told_in_reading": None,
            }
        ],
        "transactions": 0,
        "supply": {"is_on": False, "time_s": 1_700_000_100, "block": 12, "reason": "Exhausted in block 12"},
        "control": {
            "decider": "",
            "reason": "",
            "waits_to_be": "",
            "trouble": "",
            "policy": {"version": 0, "is_saving": False, "circuits_off": [], "troubles": {}},
        },
        "last_gap": {"from_s": 1_700_000_040, "until_s": None, "reason": "the board is unplugged"},
        "calibration": "1 for all, nothing is calibrated; the ledger was not asked yet",
        "running": None,
        "ledger": None,
    }


def test_status_counts_what_was_set_aside_and_shows_the_oldest(folder: Path) -> None:
    with closing(Outbox.open(folder / "outbox.sqlite", DOMAIN, METER)) as outbox:
        outbox.adopt(Head(0, NO_HASH, Registers(), None), bytes(32), 0)
        previous = NO_HASH
        for sequence in range(1, 31):
            reading = Reading(METER, sequence, 1_700_000_000, sequence, 0, 0, 0, previous)
            previous = reading.hash
            outbox.append(DOMAIN.sign(reading, KeySigner(METER_KEY)), b"")
            outbox.quarantine(sequence, "the ledger refuses it: before installation")
    told = invoke(folder, "status").output
    assert "SET ASIDE 30 readings that the ledger will not take, the oldest first:" in told
    assert told.count("before installation") == 20


def test_status_asks_the_spare_nodes_as_well(folder: Path) -> None:
    (folder / "meter.toml").write_text(SETTINGS.replace("[driver]", 'spare_nodes = ["http://127.0.0.1:13"]\n[driver]'))
    Outbox.open(folder / "outbox.sqlite", DOMAIN, METER).close()
    told = invoke(folder, "status").output
    assert "Ledger    not in reach: No node answers at http://127.0.0.1:13 " in told


def test_switchings_newest_first(with_readings: Path) -> None:
    with closing(Outbox.open(with_readings / "outbox.sqlite", DOMAIN, METER)) as outbox:
        journal = SwitchJournal(outbox.database)
        journal.record(Switching(1_700_000_190, None, False, "override on by eve: a repair", is_order=True))
        journal.record(Switching(1_700_000_200, None, True, "override on by eve: a repair"))
    lines = [
        "2023-11-14 22:16:40 UTC  on   override on by eve: a repair",
        "2023-11-14 22:16:30 UTC  --   override on by eve: a repair",
        "2023-11-14 22:15:00 UTC  OFF  Exhausted in block 12",
    ]
    assert invoke(with_readings, "switchings").output.splitlines() == [lines[0], lines[2]]
    assert invoke(with_readings, "switchings", "--orders").output.splitlines() == lines
    assert [
        one["is_order"] for one in json.loads(invoke(with_readings, "switchings", "--orders", "--json").stdout)
    ] == [
        False,
        True,
        False,
    ]
    (newest,) = json.loads(invoke(with_readings, "switchings", "-n", "1", "--json").stdout)
    assert newest == {
        "time_s": 1_700_000_200,
        "is_on": True,
        "block": None,
        "reason": "override on by eve: a repair",
        "is_order": False,
    }


def test_readings_newest_first(with_readings: Path) -> None:
    shown = invoke(with_readings, "readings").output.splitlines()
    words = " ".join(shown[0].split())
    assert words == "8 2023-11-14 22:13:20 UTC 8000 Wh taken 5 Wh given -20 W supply off"
    assert "SET ASIDE: the ledger refuses it" in shown[1]
    (newest,) = json.loads(invoke(with_readings, "readings", "-n", "1", "--json").stdout)
    assert newest["sequence"] == 8
    assert newest["flags"] == ["supply off"]
    assert len(newest["r"]) == len(newest["previous_hash"]) == 66


def test_nothing_waits(folder: Path) -> None:
    Outbox.open(folder / "outbox.sqlite", DOMAIN, METER).close()
    assert invoke(folder, "readings").output.startswith(
        "No reading waits here. Those on the ledger: `wattchain meter export`"
    )
    assert "none signed yet" in invoke(folder, "status").output


def test_profile(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    result = CliRunner().invoke(meter, ["profile", str(path), "--days", "2", "--seed", "9", "--json"])
    assert json.loads(result.stdout) == {"file": str(path), "rows": 48, "seed": 9}
    assert len(path.read_text().splitlines()) == 49
    again = CliRunner().invoke(meter, ["profile", str(path), "--days", "1"])
    assert (again.exit_code, len(path.read_text().splitlines())) == (2, 49)
    assert f"There is a file {path} already: name another, or add --overwrite" in again.stderr
    assert CliRunner().invoke(meter, ["profile", str(path), "--days", "1", "--overwrite"]).exit_code == 0
    assert len(path.read_text().splitlines()) == 25


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["status"], "There is no outbox at", 2),
        (["readings"], "There is no outbox at", 2),
        (["run"], "Cannot read the measurements in", 2),
        (["run", "--load-unit", "MWh"], "Unknown unit 'MWh'", 78),
        (["run", "--row-interval", "0"], "driver.row_interval_s must be from 1", 78),
    ],
)
def test_mistakes_end_plainly(folder: Path, arguments: list[str], message: str, status: int) -> None:
    """78 where a service manager need not try again (node/units): the file may come with its disk, the unit may not."""
    result = invoke(folder, *arguments)
    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output


def test_wrong_password_and_missing_key(folder: Path) -> None:
    (folder / "password").write_text("wrong\n")
    result = invoke(folder, "run")
    assert result.exit_code == 78
    assert "password" in result.output
    (folder / "meter.json").unlink()
    for command in ("run", "status", "readings"):
        result = invoke(folder, command)
        assert result.exit_code == 2
        assert "meter.json cannot be read" in result.output


def test_an_outbox_that_is_in_use_may_be_free_later_and_one_of_another_meter_never_is(
    folder: Path, with_readings: Path
) -> None:
    (folder / "profile.csv").write_text("non_shiftable_load\n1\n")
    with closing(Outbox.open(folder / "outbox.sqlite", DOMAIN, METER)):
        assert invoke(folder, "run").exit_code == 2
    (folder / "meter.toml").write_text(SETTINGS.replace("1947", "1948"))
    foreign = invoke(folder, "run")
    assert (foreign.exit_code, "belongs to meter" in foreign.output) == (78, True)


@pytest.mark.parametrize("command", [[], ["run"], ["status"], ["readings"], ["profile"]])
def test_help(command: list[str]) -> None:
    result = CliRunner().invoke(meter, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
