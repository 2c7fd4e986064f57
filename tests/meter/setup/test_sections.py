"""Settings given as options or typed by a person: converted by the settings' own types, or refused in a sentence."""

from decimal import Decimal
from pathlib import Path

import pytest

from meter.setup.sections import Chosen, required_names
from primitives.errors import UserError


def chosen(kind: str = "rpict") -> Chosen:
    made = Chosen()
    made.set("driver", "kind", kind)
    return made


def test_values_take_their_settings_types() -> None:
    made = chosen()
    for text in (
        "driver.port=/dev/ttyUSB0",
        "driver.interval_s = 2.5",
        "driver.channels=1, -2",
        "relay.enabled=yes",
        "ledger.confirmations=0",
        "meter.password_file=/a=b",
    ):
        made.set_text(text)
    assert made.values["driver"] == {
        "kind": "rpict",
        "port": "/dev/ttyUSB0",
        "interval_s": Decimal("2.5"),
        "channels": ("1", "-2"),
    }
    assert made.get("relay", "enabled") is True
    assert made.get("ledger", "confirmations") == 0
    assert made.get("meter", "password_file") == Path("/a=b")
    assert made.get("meter", "outbox") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no setting"),
        ("port=1", "is no setting"),
        ("driver.port", "is no setting"),
        ("engine.port=1", "no section"),
        ("driver.ports=1", "has no setting"),
        ("driver.baud_rate=fast", "write a whole number"),
        ("driver.interval_s=nan", "write a number"),
        ("driver.interval_s=1e", "write a number"),
        ("relay.enabled=perhaps", "write true or false"),
        ("ledger.meter_contract=0x12", "write an address"),
        ("meter.key=", "write the name of a file"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen().set_text(text)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(UserError, match='there is "replay"'):
        chosen("magic").set_text("driver.port=1")


def test_options_of_a_driver_wait_for_its_kind() -> None:
    made = Chosen()
    made.set_text("driver.baud_rate=9600")
    assert made.get("driver", "baud_rate") is None
    made.set_text("driver.kind=rpict")
    assert made.get("driver", "baud_rate") == 9600
    assert made.waiting == []


def test_what_a_kind_cannot_do_without() -> None:
    assert list(required_names(chosen("replay").kind_of("driver"))) == ["file"]
    assert list(required_names(chosen().kind_of("driver"))) == []
