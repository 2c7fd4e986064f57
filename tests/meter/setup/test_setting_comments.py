"""Every setting that the wizard may write is explained in the file."""

import dataclasses

import pytest

from meter.drivers.catalogue import DRIVER_KINDS
from meter.settings import KeySettings, section_kinds
from meter.setup.setting_comments import comment_of
from meter.setup.wizard import SECTION_ORDER


def test_the_dataclass_itself_comes_first() -> None:
    assert comment_of(KeySettings, "meter", "password_file") == "Without it the password is asked at the terminal."
    assert comment_of(KeySettings, "meter", "outbox").startswith("The database of this meter")


@pytest.mark.parametrize("section", [name for name in SECTION_ORDER if name != "driver"])
def test_all_settings_of_a_section(section: str) -> None:
    kind = section_kinds()[section]
    names = [item.name for item in dataclasses.fields(kind)]
    assert [name for name in names if not comment_of(kind, section, name)] == []


@pytest.mark.parametrize("driver", DRIVER_KINDS, ids=lambda kind: kind.name)
def test_all_settings_of_a_driver(driver: object) -> None:
    kind = driver.settings_type()  # type: ignore[attr-defined]
    names = [item.name for item in dataclasses.fields(kind)]
    assert [name for name in names if not comment_of(kind, "driver", name)] == []
