"""The settings file that the wizard writes: what the meter reads in it is what was chosen, and it is written safely."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.rpict import RpictSettings
from meter.settings import KeySettings, LedgerSettings
from meter.setup.settings_text import parse_text, settings_text, toml_value, write_settings
from primitives.errors import UserError

FOLDER = Path("/var/lib/wattchain/meter")


def text(**driver: object) -> str:
    return settings_text(
        {
            "meter": (KeySettings, {"key": FOLDER / "meter.json", "outbox": FOLDER / "outbox.sqlite"}),
            "ledger": (LedgerSettings, {"chain_id": 1947, "confirmations": 0}),
            "driver": (RpictSettings, {"kind": "rpict", "channels": ("1", "-2"), **driver}),
        },
        FOLDER,
    )


def test_what_was_chosen_is_what_is_read() -> None:
    settings = parse_text(text(interval_s=Decimal("2.5")), FOLDER / "meter.toml")
    assert settings.meter.key == FOLDER / "meter.json"
    assert settings.ledger.confirmations == 0
    assert settings.driver == RpictSettings(channels=("1", "-2"), interval_s=Decimal("2.5"))


def test_each_setting_is_explained_and_those_not_chosen_show_what_counts() -> None:
    lines = text().splitlines()
    assert 'key = "meter.json"' in lines  # as seen from the file
    assert "# reading_interval_s = 3600" in lines
    assert "# password_file is not set" in lines
    assert lines[lines.index('channels = ["1", "-2"]') - 1].startswith("# The clamps whose power is added up")
    assert max(map(len, lines)) <= 120


@given(st.text())
def test_any_text_comes_back(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return  # half a character cannot stand in a file
    assert tomllib.loads(f"x = {toml_value(value, FOLDER)}")["x"] == value


@pytest.mark.parametrize("value", [True, 7, Decimal("0.00000001"), ("a", 'b"]\n[meter]'), -1])
def test_other_values_come_back(value: object) -> None:
    back = tomllib.loads(f"x = {toml_value(value, FOLDER)}", parse_float=Decimal)["x"]
    assert (tuple(back) if isinstance(value, tuple) else back) == value


def test_the_file_is_the_owners_alone_and_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "meter.toml"
    write_settings(path, "first", overwrite=False)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("first", 0o600)
    with pytest.raises(UserError, match="already"):
        write_settings(path, "second", overwrite=False)
    assert path.read_text() == "first"
    path.chmod(0o644)
    write_settings(path, "second", overwrite=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("second", 0o600)
    assert [one.name for one in path.parent.iterdir()] == ["meter.toml"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_settings(tmp_path / "file" / "meter.toml", "", overwrite=False)
