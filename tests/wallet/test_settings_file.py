"""How a TOML file becomes dataclasses; what node and meter make of it is tested with their settings."""

import contextlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.clock import AcceleratedClock, SystemClock
from primitives.errors import UserError
from wallet.settings_file import MAX_SETTINGS_BYTES, ClockSettings, check_ranges, parse_sections, read_document


@dataclass(frozen=True, slots=True)
class Sample:
    folder: Path
    share: Decimal = Decimal(1)
    factor: float = 1.0
    owner: bytes = bytes(20)


KINDS = {"sample": Sample}


def parse(tmp_path: Path, text: str) -> Sample:
    path = tmp_path / "sample.toml"
    path.write_text(text)
    sample = parse_sections(read_document(path), KINDS, path)["sample"]
    assert isinstance(sample, Sample)
    return sample


def test_values_come_exactly(tmp_path: Path) -> None:
    owner = "0x" + "0c" * 20
    sample = parse(tmp_path, f'[sample]\nfolder = "a"\nshare = 0.1\nfactor = 3\nowner = "{owner}"')
    assert sample == Sample(tmp_path / "a", Decimal("0.1"), 3.0, bytes.fromhex(owner[2:]))


def test_numbers_beyond_all_bounds_are_refused_in_words(tmp_path: Path) -> None:
    for text in ("9" * 400, "1e400", "inf"):
        factor = parse(tmp_path, f'[sample]\nfolder = "a"\nfactor = {text}').factor
        with pytest.raises(UserError, match=r"sample\.factor must be from 0 to 9, not inf"):
            check_ranges([("sample.factor", factor, 0, 9)])
    with pytest.raises(UserError, match="not valid TOML"):
        parse(tmp_path, "[sample]\nshare = " + "9" * 5_000)
    with pytest.raises(UserError, match=r"sample\.share must be a number, not Infinity"):
        parse(tmp_path, '[sample]\nfolder = "a"\nshare = inf')


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks the setting sample\.folder"):
        parse(tmp_path, "[sample]")
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "absent.toml")


@given(st.binary(max_size=200))
def test_garbage_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        parse_sections(read_document(path), KINDS, path)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"#" * (MAX_SETTINGS_BYTES + 1))
    with pytest.raises(UserError, match="too large"):
        read_document(path)


def test_a_clock_at_the_walls_rate_is_the_walls_clock() -> None:
    assert isinstance(ClockSettings(1.0, 5.0, 6.0).make(), SystemClock)
    clock = ClockSettings(60.0, 5.0, 6.0).make()
    assert isinstance(clock, AcceleratedClock)
    assert (clock.rate, clock.origin_s, clock.wall_origin_s) == (60, 5, 6)
