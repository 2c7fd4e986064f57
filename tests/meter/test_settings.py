"""The settings of a meter: an example, defaults, and a plain sentence for each mistake."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.drivers.measured_csv import Column, CsvFormat
from meter.relay_rules import RelaySettings
from meter.settings import load_settings
from meter.submitter import SubmitterSettings
from primitives.clock import AcceleratedClock, SystemClock
from primitives.errors import UserError
from wallet.settings_file import MAX_SETTINGS_BYTES

LEAST = """
[meter]
key = "meter.json"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1947
[driver]
file = "measured.csv"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "meter.toml"
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, LEAST))
    assert settings.meter.key == tmp_path / "meter.json"
    assert settings.driver.csv_format() == CsvFormat(Column("non_shiftable_load", "kWh"))
    assert (settings.ledger.meter_contract, settings.ledger.exhaustion_contract) == (METER_ADDRESS, EXHAUSTION_ADDRESS)
    assert settings.submitter() == SubmitterSettings()
    assert settings.relay.rules(0) == RelaySettings()
    assert isinstance(settings.clock.make(), SystemClock)
    assert settings.account is None


def test_every_section(tmp_path: Path) -> None:
    text = (
        LEAST
        + """
load_column = "Global_active_power"
load_unit = "kW"
generation_column = "sun"
generation_scale = 4.6
row_interval_s = 60
delimiter = ";"
missing_values = ["?", "-"]
repeat = true
[account]
key = "/keys/payer.json"
password_file = "~/payer.password"
[relay]
fail_safe = "off"
fail_safe_after_s = 90
poll_interval_s = 0.5
[clock]
rate = 600
origin_s = 1700000000
wall_origin_s = 1800000000.25
"""
    )
    settings = load_settings(write(tmp_path, text))
    assert settings.driver.csv_format() == CsvFormat(
        Column("Global_active_power", "kW"), Column("sun", "W", Fraction(46, 10)), 60, ";", ("?", "-")
    )
    assert settings.account is not None
    assert settings.account.key == Path("/keys/payer.json")
    assert settings.account.password_file == Path("~/payer.password").expanduser()
    assert settings.relay.rules(3) == RelaySettings("off", 90, 0.5, confirmations=3)
    assert settings.clock.wall_origin_s == Decimal("1800000000.25")
    clock = settings.clock.make()
    assert isinstance(clock, AcceleratedClock)
    assert (clock.rate, clock.origin_s, clock.wall_origin_s) == (600, 1_700_000_000, 1_800_000_000.25)


def test_options_of_a_file_are_for_one_that_is_replayed(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST.replace("[driver]\n", '[driver]\nkind = "simulated-home"\n#'))
    with pytest.raises(
        UserError, match=r'go with driver.kind = "replay" only; .* has \'simulated-home\': leave them out'
    ):
        load_settings(path, {"file": Path("/data/x.csv")})


def test_the_command_line_overrides_the_driver(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST)
    settings = load_settings(path, {"file": Path("/data/x.csv"), "load_unit": "W", "row_interval_s": 60})
    assert settings.driver.file == Path("/data/x.csv")
    assert settings.driver.csv_format() == CsvFormat(Column("non_shiftable_load", "W"), None, 60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[ledger]", "[ledgr]"), r"unknown section \[ledgr\]"),
        (("chain_id", "chainid"), r"unknown setting ledger\.chainid\. Known are: .*chain_id"),
        (("chain_id = 1947", ""), "lacks the setting ledger.chain_id"),
        (("[driver]\nfile", "relay = 5\n#"), "."),
        (("[meter]", "[meter"), "not valid TOML"),
        (("1947", '"1947"'), "ledger.chain_id must be a whole number, not '1947'"),
        (("1947", "true"), "ledger.chain_id must be a whole number"),
        (("1947", "0"), "ledger.chain_id must be from 1"),
        (("1947", "5\nconfirmations = -1"), "ledger.confirmations must be from 0"),
        (("1947", '5\nmeter_contract = "0x12"'), "ledger.meter_contract is no address"),
        (("1947", "5\npoll_interval_s = nan"), "ledger.poll_interval_s must be a number"),
        (("1947", '5\nbelieved_reading = "7"'), "ledger.believed_reading must be three numbers"),
        (("1947", "5\nmax_in_flight = 99"), "ledger.max_in_flight must be from 1 to 32"),
        (('"measured.csv"', '""'), "driver.file must be the name of a file"),
        (('"measured.csv"', '"f"\nkind = "telepathy"'), 'driver.kind is "telepathy"; there is "replay"'),
        (('"measured.csv"', '"f"\nload_unit = "MWh"'), "unknown unit 'MWh'"),
        (('"measured.csv"', '"f"\ndelimiter = ",,"'), "must be one character"),
        (('"measured.csv"', '"f"\nmissing_values = "?"'), "must be a list of texts"),
        (('"measured.csv"', '"f"\nrepeat = 1'), "driver.repeat must be true or false"),
        (('"measured.csv"', '"f"\n[relay]\nfail_safe = "maybe"'), "choose one of keep, on, off"),
        (('"measured.csv"', '"f"\n[clock]\nrate = 0'), "clock.rate must be from 0.01"),
        (('"measured.csv"', '"f"\n[rules]\nconnection_w = 5'), "rules.connection_w must be from 100"),
        (('"measured.csv"', '"f"\n[events]\nmost_per_hour = 999'), "events.most_per_hour must be from 0 to 200"),
        (('"measured.csv"', '"f"\n[tamper]\ncover_pin = 28'), "tamper.cover_pin must be from -1 to 27"),
        (('"measured.csv"', '"f"\n[tamper]\ncover_closed_is = "shut"'), "choose one of connected, open"),
        (
            ('"measured.csv"', '"f"\n[tamper]\ncover_pin = 4\n[relay]\nkind = "gpio"\npin = 4'),
            "relay and tamper.cover_pin use the same pin GPIO4",
        ),
        (
            ('file = "measured.csv"', 'kind = "pulses"\npin = 4\npulses_per_kwh = 1000\n[tamper]\ncover_pin = 4'),
            "driver.pin and tamper.cover_pin use the same pin GPIO4",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in LEAST
    with pytest.raises(UserError, match=message):
        load_settings(write(tmp_path, LEAST.replace(*change)))


def test_missing_section_and_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks the section \[meter\]"):
        load_settings(write(tmp_path, ""))
    with pytest.raises(UserError, match="must be a section"):
        load_settings(write(tmp_path, "meter = 5"))
    with pytest.raises(UserError, match=r"no settings file .*absent\.toml: make it with .*--settings"):
        load_settings(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)
    with pytest.raises(UserError, match="too large"):
        load_settings(write(tmp_path, "#" * (MAX_SETTINGS_BYTES + 1)))
    (tmp_path / "meter.toml").write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not a text file"):
        load_settings(tmp_path / "meter.toml")


def test_the_hash_tells_whether_the_settings_are_the_same(tmp_path: Path) -> None:
    first = load_settings(write(tmp_path, LEAST)).hash
    assert load_settings(write(tmp_path, "# a remark\n" + LEAST)).hash == first
    assert load_settings(write(tmp_path, LEAST), {"row_interval_s": 60}).hash != first
    assert load_settings(write(tmp_path, LEAST + "[rules]\nconnection_w = 5000\n")).hash != first
