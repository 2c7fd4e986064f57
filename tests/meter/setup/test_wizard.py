"""`wattchain meter setup` with a person at a terminal and a board on a serial line, both real to the program."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meter.commands import meter
from meter.drivers.measurement import Measurement
from meter.drivers.rpict import RpictSettings
from meter.settings import load_settings
from meter.setup import relay_step
from meter.setup.board_step import BoardStep, Given
from meter.setup.person import Person
from meter.setup.sections import Chosen
from primitives.clock import ManualClock
from primitives.hexadecimal import to_checksum_address
from tests.meter.broker import Broker
from tests.meter.mock_pins import mock_pins
from tests.meter.p1_telegrams import NETHERLANDS_5, telegram
from tests.meter.serial_pair import SerialPair
from tests.meter.setup.scripted_person import ScriptedPerson, at_a_terminal
from tests.meter.sml_frames import frame
from tests.meter.test_sml import USUAL
from wallet.keystore import ScryptCost, encrypt_key, keystore_address

PLAIN_3V1 = "11 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87"
BACKWARDS = "11 -1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87"
NO_NODE = "http://127.0.0.1:9"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(meter, ["setup", *map(str, arguments)])


@asynccontextmanager
async def board(folder: Path, line: str | bytes = PLAIN_3V1, interval_s: float = 0.01) -> AsyncIterator[str]:
    """A board, or a meter, that tells its line a hundred times a second; its port."""
    data = line if isinstance(line, bytes) else line.encode() + b"\r\n"

    async def speak(pair: SerialPair) -> None:
        while True:
            pair.send_now(data)
            await asyncio.sleep(interval_s)

    with SerialPair(folder) as pair:
        task = asyncio.create_task(speak(pair))
        try:
            yield pair.port
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def answer_the_rest(person: ScriptedPerson, *, password: str = "secret") -> None:
    """From the ledger on, with what is usual."""
    await person.answers("Address of a node", NO_NODE)
    await person.answers("Chain id of the network", "1947")
    await person.answers("Password for the new key", password)
    await person.answers("Repeat for confirmation", password)
    await person.answers("Is there a relay", "n")


async def test_a_person_sets_up_a_board(tmp_path: Path) -> None:
    settings = tmp_path / "meter" / "meter.toml"
    async with (
        board(tmp_path) as port,
        at_a_terminal(tmp_path, "meter", "setup", "--settings", settings, "--port", port) as person,
    ):
        await person.sees("listening to")
        await person.answers("Use it?")
        await person.answers("Clamps that count", "1")
        await person.sees("1402.7 W")
        await answer_the_rest(person)
        assert await person.ends() == 0
        screen = person.screen
    made = load_settings(settings)
    assert isinstance(made.driver, RpictSettings)
    assert (made.driver.board, made.driver.channels, made.driver.port) == ("RPICT3V1", ("1",), port)
    assert not made.relay.enabled
    assert made.ledger.chain_id == 1947
    address = keystore_address((tmp_path / "meter" / "meter.json").read_text())
    assert address is not None
    assert f"wattchain meter install {to_checksum_address(address)}" in screen
    assert "install-service meter --settings" in screen
    assert "▄" in screen  # the QR code
    assert "secret" not in screen
    assert settings.stat().st_mode & 0o777 == 0o600


async def test_mistakes_are_asked_again_and_clamps_turned_round(tmp_path: Path) -> None:
    settings = tmp_path / "meter.toml"
    settings.write_text("what was there before")
    async with (
        board(tmp_path, BACKWARDS) as port,
        at_a_terminal(tmp_path, "meter", "setup", "--settings", settings, "--port", port) as person,
    ):
        await person.answers("There are settings at", "y")
        await person.answers("Use it?", "perhaps")
        await person.answers("Use it?", "y")
        await person.answers("Clamps that count", "1")
        await person.answers("because a solar panel", "n")
        await person.answers("the other way round?", "y")
        await person.answers("Address of a node", "somewhere")
        await person.sees("is no address of a node")
        await person.answers("Address of a node", NO_NODE)
        await person.answers("Chain id", "-3")
        await person.answers("Chain id", "1947")
        await person.answers("Password for the new key", "one")
        await person.answers("Repeat for confirmation", "other")
        await person.answers("Password for the new key", "one")
        await person.answers("Repeat for confirmation", "one")
        await person.sees("Is there a relay")
        assert settings.read_text() == "what was there before"
        await person.answers("", "n")
        assert await person.ends() == 0
    made = load_settings(settings)
    assert isinstance(made.driver, RpictSettings)
    assert made.driver.channels == ("-1",)


async def test_who_leaves_in_the_middle_has_changed_nothing_but_may_find_the_key_again(tmp_path: Path) -> None:
    settings = tmp_path / "meter.toml"
    arguments = ("meter", "setup", "--settings", settings, "--driver", "simulated-home", "--live", "0")
    async with at_a_terminal(tmp_path, *arguments) as person:
        await person.answers("Seed", "7")
        await person.answers("Address of a node", NO_NODE)
        await person.answers("Chain id", "1947")
        await person.answers("Password for the new key", "secret")
        await person.answers("Repeat for confirmation", "secret")
        await person.sees("Is there a relay")
        assert await person.leaves() == 1
    assert not settings.exists()
    key = (tmp_path / "meter.json").read_text()
    result = await asyncio.to_thread(
        invoke, *arguments[2:], "--yes", "--chain-id", 1947, "--node", NO_NODE, "--set", "driver.seed=7"
    )
    assert result.exit_code == 0, result.stderr
    assert "already; it is used" in result.stderr
    assert (tmp_path / "meter.json").read_text() == key
    assert load_settings(settings).meter.key == tmp_path / "meter.json"


def test_nothing_is_overwritten_by_a_script(tmp_path: Path) -> None:
    settings = tmp_path / "meter.toml"
    settings.write_text("mine")
    result = invoke("--yes", "--settings", settings)
    assert result.exit_code == 2
    assert "add --overwrite" in result.stderr
    assert settings.read_text() == "mine"


async def test_a_script_needs_no_person(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    settings = tmp_path / "meter.toml"
    async with board(tmp_path) as port:
        result = await asyncio.to_thread(
            invoke,
            *("--yes", "--json", "--settings", settings, "--port", port, "--no-relay"),
            *("--node", NO_NODE, "--chain-id", 1947, "--password-file", password, "--set", "driver.interval_s=2"),
        )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    made = load_settings(settings)
    assert answer["driver"] == "rpict"
    assert [one["power_mw"] for one in answer["measurements"]] == [1_402_340] * 3
    assert answer["key_is_new"] is True
    assert made.meter.password_file == password
    assert isinstance(made.driver, RpictSettings)
    assert (made.driver.channels, made.driver.interval_s) == (("1", "2", "3"), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "There is no terminal to ask"),
        (("--yes", "--port", "/nowhere"), "--driver KIND"),
        (("--yes", "--driver", "replay"), "--set driver.file=VALUE"),
        ((), "Error: What measures the electricity? There is no terminal"),
        (("--yes", "--driver", "simulated-home", "--live", "0"), "--chain-id NUMBER"),
        (("--yes", "--driver", "simulated-home", "--live", "0", "--chain-id", "1"), "--password-file FILE"),
        (("--set", "driver"), "is no setting"),
    ],
)
def test_what_a_script_has_to_say(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    settings = tmp_path / "meter.toml"
    result = invoke("--settings", settings, "--node", NO_NODE, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not settings.exists()


def test_the_node_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTCHAIN_NODE", NO_NODE)
    settings = tmp_path / "meter.toml"
    result = invoke("--settings", settings, "--yes", "--driver", "simulated-home", "--live", "0")
    assert f"No node answers at {NO_NODE}" in result.stderr


def test_a_wrong_password_of_a_key_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "meter.json").write_text(encrypt_key(bytes([7]) * 32, "secret", ScryptCost(2**10, 8, 1)))
    (tmp_path / "password").write_text("wrong\n")
    result = invoke(
        *("--yes", "--settings", tmp_path / "meter.toml", "--driver", "simulated-home", "--live", 0),
        *("--node", NO_NODE, "--chain-id", 1947, "--password-file", tmp_path / "password"),
    )
    assert result.exit_code == 2
    assert "password does not open" in result.stderr


async def test_a_relay_is_tried_only_after_a_question(tmp_path: Path) -> None:
    """The relay is a program here, which notes what it is told."""
    notes = tmp_path / "notes"
    arguments = (
        *("meter", "setup", "--settings", tmp_path / "meter.toml", "--driver", "simulated-home", "--live", "0"),
        *("--node", NO_NODE, "--chain-id", 1947, "--set", "driver.seed=7"),
        *("--set", f"relay.on_command=/bin/sh,-c,echo on >> {notes}"),
    )
    async with at_a_terminal(tmp_path, *arguments) as person:
        await person.answers("Password for the new key", "secret")
        await person.answers("Repeat for confirmation", "secret")
        await person.answers("Which", "5")
        await person.answers("Program that switches off", f"/bin/sh,-c,echo off >> {notes}")
        await person.sees("Try it now? THE SUPPLY BEHIND IT GOES OFF")
        assert not notes.exists()
        await person.answers("", "y")
        await person.sees("The relay is OFF")
        assert notes.read_text() == "off\n"
        person.hangs_up()  # the router is behind the relay
        await person.answers("Did it click", "n")
        await person.sees("try active_low")
        # Other settings, which are wrong first.
        await person.answers("try again?", "y")
        await person.answers("Program that switches on", ",")
        await person.answers("Program that switches off", "/bin/false")
        await person.sees("That cannot be")
        await person.answers("try again?", "y")
        await person.answers("Program that switches on", "/bin/true")
        await person.answers("Program that switches off", "/bin/false")
        await person.answers("Try it now?", "n")
        assert await person.ends() == 0
    assert notes.read_text() == "off\non\n"
    relay = load_settings(tmp_path / "meter.toml").relay
    assert (relay.enabled, relay.kind) == (True, "command")


def test_a_relay_at_a_pin_is_tried_by_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_step, "OFF_S", 0.01)
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    arguments = (
        *("--yes", "--json", "--settings", tmp_path / "meter.toml", "--driver", "simulated-home", "--live", 0),
        *("--node", NO_NODE, "--chain-id", 1947, "--password-file", tmp_path / "password"),
        *("--set", "relay.kind=gpio", "--set", "relay.pin=17", "--set", "relay.active_low=yes"),
    )
    with mock_pins() as pins:
        result = invoke(*arguments)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["relay"] == {"clicked": None, "trouble": ""}
        assert pins.pin(17).function == "input"  # not touched
        result = invoke(*arguments, "--overwrite", "--test-relay")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["relay"] == {"clicked": True, "trouble": ""}
        assert [entry.state for entry in pins.pin(17).states][-2:] == [True, False]


@pytest.mark.parametrize(
    ("kind", "data", "import_mwh"),
    [("dsmr", telegram(NETHERLANDS_5), 3_854_101_000), ("sml", frame(USUAL), 12_345_678_900)],
)
async def test_a_smart_meter_is_found_by_what_it_says(tmp_path: Path, kind: str, data: bytes, import_mwh: int) -> None:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    async with board(tmp_path, data, 0.05) as port:
        result = await asyncio.to_thread(
            invoke,
            *("--yes", "--json", "--settings", tmp_path / "meter.toml", "--port", port, "--no-relay", "--live", 1),
            *("--node", NO_NODE, "--chain-id", 1947, "--password-file", tmp_path / "password"),
        )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["driver"], answer["measurements"][0]["import_mwh"]) == (kind, import_mwh)
    assert "--import" not in result.stderr  # without it energy counts from 0, and nobody has to vouch for anything
    assert load_settings(tmp_path / "meter.toml").driver.kind == kind


@pytest.mark.parametrize(
    ("times_ms", "expected"),
    [((0, 10_020, 19_990), Decimal(10)), ((0, 1000, 2010), Decimal(1)), ((0, 10, 20), None), ((0,), None), ((), None)],
)
async def test_how_often_a_board_sends_is_seen(times_ms: tuple[int, ...], expected: Decimal | None) -> None:
    chosen = Chosen({"driver": {"kind": "rpict"}})
    step = BoardStep(Person(True), chosen, Given(()), ManualClock())
    step.seen = [Measurement(time_ms, 1000) for time_ms in times_ms]
    step._check_interval()
    assert chosen.get("driver", "interval_s") == expected


async def test_a_meter_and_a_relay_over_mqtt(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_step, "OFF_S", 0.01)
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    arguments = (
        *("--yes", "--json", "--settings", tmp_path / "meter.toml", "--driver", "mqtt", "--live", 1),
        *("--node", NO_NODE, "--chain-id", 1947, "--password-file", tmp_path / "password", "--test-relay"),
        *("--set", "driver.model=tasmota", "--set", "driver.topic=plug"),
        *("--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={broker.port}"),
        *("--set", "relay.kind=mqtt", "--set", "relay.topic=cmnd/plug/POWER"),
    )
    async with broker.client() as client:
        await client.subscribe("cmnd/plug/POWER")

        async def tell() -> None:
            while True:
                await client.publish("tele/plug/SENSOR", '{"ENERGY": {"Total": 1.5, "Power": 12}}')
                await asyncio.sleep(0.02)

        telling = asyncio.create_task(tell())
        result = await asyncio.to_thread(invoke, *arguments)
        telling.cancel()
        assert result.exit_code == 0, result.stderr
        answer = json.loads(result.stdout)
        assert (answer["measurements"][0]["import_mwh"], answer["relay"]["trouble"]) == (1_500_000, "")
        orders = [(await anext(client.messages)).payload for _ in range(2)]
    assert orders == [b"OFF", b"ON"]
    assert load_settings(tmp_path / "meter.toml").mqtt is not None
