"""From a settings file to relays that click: the whole meter, mock pins, a program, a ledger that comes and goes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.addresses import POLICY_ADDRESS
from contracts.binding import load_artifact
from contracts.policy import OffTime, PolicyValues
from contracts.reading_format import StatusFlag
from meter.assembly import build_daemon
from meter.daemon import MeterDaemon
from meter.override import Override, override_path, write_override
from meter.relay_store import RelayStore
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from meter.supply_status import read_supply_status
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.broker import HOST, Broker
from tests.meter.fake_node import CHAIN_ID, METER_KEY, OWNER, RATE_WEI_PER_WH, SENDER_KEY, FakeNode
from tests.meter.mock_pins import mock_pins
from tests.meter.simulated_shelly import DEVICE, SimulatedShelly

BLOCK_TIME_S = 60
ROW_S = 300


class World:
    """A household that takes 100 Wh in each row of five minutes."""

    def __init__(self, folder: Path, credit_wh: int) -> None:
        self.folder = folder
        rows = "\n".join(["0.1"] * 400)
        (folder / "load.csv").write_text(f"load\n{rows}\n")
        self.node = FakeNode(credit_wei=credit_wh * RATE_WEI_PER_WH)
        self.node.block_time_s = BLOCK_TIME_S
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        self.is_mining = True

    def settings(self, **sections: object) -> MeterSettings:
        document: dict[str, object] = {
            "meter": {"key": "unused.json", "outbox": "outbox.sqlite", "reading_interval_s": ROW_S},
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 0},
            "driver": {"file": "load.csv", "load_column": "load", "row_interval_s": ROW_S},
            **sections,
        }
        return parse_settings(document, self.folder / "meter.toml")

    @asynccontextmanager
    async def running(self, settings: MeterSettings) -> AsyncIterator[MeterDaemon]:
        payer = KeySigner(SENDER_KEY)
        daemon = build_daemon(settings, self.node, self.clock, KeySigner(METER_KEY), payer, random.Random(1))
        task = asyncio.ensure_future(daemon.run())
        try:
            await self.turn()
            yield daemon
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            daemon.outbox.close()

    async def turn(self) -> None:
        for _ in range(120):
            await asyncio.sleep(0)

    async def advance(self, duration_s: int) -> None:
        for _ in range(duration_s // BLOCK_TIME_S):
            self.clock.advance_s(BLOCK_TIME_S)
            await self.turn()
            if self.is_mining:
                self.node.mine()
            await self.turn()

    async def advance_until(self, is_so: Callable[[], bool]) -> None:
        """For what takes real time: programs, and pulses of coils."""
        async with asyncio.timeout(30):
            while not is_so():
                await self.advance(BLOCK_TIME_S)
                await asyncio.sleep(0.01)


@pytest.fixture
def pins() -> Iterator[Any]:
    with mock_pins() as factory:
        yield factory


async def test_credit_is_used_up_and_the_pin_falls(tmp_path: Path, pins: Any) -> None:
    world = World(tmp_path, credit_wh=350)
    async with world.running(world.settings(relay={"kind": "gpio", "pin": 17, "active_low": True})) as daemon:
        assert pins.pin(17).state is False, "on: the pin is active low"
        await world.advance(5 * ROW_S)
        assert pins.pin(17).state is True
        world.node.top_up(daemon.outbox.meter, 10**18)
        await world.advance(2 * BLOCK_TIME_S)
        assert pins.pin(17).state is False
    assert pins.pin(17).function == "input", "let go with the program"


async def test_cut_off_by_its_own_account_while_the_ledger_is_away(tmp_path: Path, pins: Any) -> None:
    world = World(tmp_path, credit_wh=1_000)
    relay = {"kind": "gpio", "pin": 17, "allowance_wei": 250 * RATE_WEI_PER_WH}
    async with world.running(world.settings(relay=relay)) as daemon:
        await world.advance(2 * ROW_S)
        world.node.is_down = True
        await world.advance(10 * ROW_S)
        assert daemon.relay is not None
        assert daemon.relay.is_on, "1,200 Wh are used, 1,250 are paid for or allowed"
        await world.advance(ROW_S)
        assert not daemon.relay.is_on
        assert pins.pin(17).state is False
        await world.advance(4 * ROW_S)
        status = read_supply_status(RelayStore(daemon.outbox.database, is_writable=False))
        assert status.decider == "local account"
        world.node.is_down = False
        await world.advance(2 * ROW_S)
        assert not daemon.relay.is_on, "the ledger has the readings by now"


async def test_policy_reaches_circuits_and_saving_mode(tmp_path: Path, pins: Any) -> None:
    world = World(tmp_path, credit_wh=10**9)
    tell = tmp_path / "saving"
    program = tmp_path / "switch"
    program.write_text(f'#!/bin/sh\necho "$1" > {tell}\n')
    program.chmod(0o755)
    settings = world.settings(
        circuits=[{"number": 4, "name": "boiler", "kind": "gpio", "pin": 5, "off_pin": 6, "pulse_ms": 5}],
        saving={"kind": "command", "on_command": [str(program), "on"], "off_command": [str(program), "off"]},
    )
    values = PolicyValues(saving_above_energy_wh=150, off_times=(OffTime(4, 127, 0, 1_440),))
    async with world.running(settings) as daemon:
        call = load_artifact("Policy").abi.encode_call("setPolicy", (daemon.outbox.meter, 0, values.arguments()))
        world.node.transact(OWNER, POLICY_ADDRESS, call)
        store = RelayStore(daemon.outbox.database, is_writable=False)
        # Told when both have done it.
        await world.advance_until(lambda: read_supply_status(store).is_saving and tell.exists())
        assert tell.read_text() == "on\n"
        assert [state.state for state in pins.pin(6).states][-2:] == [True, False], "one pulse on the coil for off"
        status = read_supply_status(store)
        assert (status.policy_version, status.circuits_off) == (1, (4,))


async def test_maximum_load_cuts_the_supply(tmp_path: Path) -> None:
    world = World(tmp_path, credit_wh=10**9)
    values = PolicyValues(maximum_load_w=1_100)
    async with world.running(world.settings()) as daemon:
        await world.advance(ROW_S)
        assert daemon.relay is not None
        assert daemon.relay.is_on, "1,200 W are taken, and nobody minds"
        call = load_artifact("Policy").abi.encode_call("setPolicy", (daemon.outbox.meter, 0, values.arguments()))
        world.node.transact(OWNER, POLICY_ADDRESS, call)
        await world.advance(BLOCK_TIME_S)
        assert not daemon.relay.is_on


async def test_shelly_behind_a_broker(tmp_path: Path, broker: Broker) -> None:
    world, shelly = World(tmp_path, credit_wh=150), SimulatedShelly()
    task = asyncio.ensure_future(shelly.run(broker))
    await shelly.is_listening.wait()
    settings = world.settings(relay={"kind": "shelly", "device": DEVICE}, mqtt={"host": HOST, "port": broker.port})
    async with world.running(settings) as daemon:
        await world.advance_until(lambda: shelly.output)
        await world.advance_until(lambda: not shelly.output)
        assert daemon.relay is not None
        assert not daemon.relay.is_on
        world.node.top_up(daemon.outbox.meter, 10**18)
        await world.advance_until(lambda: shelly.output)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_relay_that_fails_is_visible_and_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, credit_wh=10**9)
    program = tmp_path / "switch"
    command = {"kind": "command", "on_command": [str(program), "on"], "off_command": [str(program), "off"]}
    async with world.running(world.settings(relay=command)) as daemon:
        store = RelayStore(daemon.outbox.database, is_writable=False)
        await world.advance_until(lambda: read_supply_status(store).trouble != "")
        status = read_supply_status(store)
        assert f"the command {program} cannot be run" in status.trouble
        assert status.lines()[1].startswith("RELAY FAILS and is tried again")
        assert daemon.relay is not None
        assert daemon.relay.is_on, "it is to be"
        assert daemon.relay.known_state is None, "and nobody knows whether it is"
        program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/state\n')
        program.chmod(0o755)
        state = tmp_path / "state"
        await world.advance_until(lambda: state.exists() and state.read_text() == "on\n")
        await world.advance_until(lambda: read_supply_status(store).trouble == "")
        assert daemon.relay.known_state is True


async def test_override_shows_in_readings(tmp_path: Path) -> None:
    world = World(tmp_path, credit_wh=10**9)
    async with world.running(world.settings()) as daemon:
        world.node.gas_limit = 1  # nothing is carried, so that readings stay to be looked at
        await world.advance(ROW_S)
        now_s = world.clock.time_s()
        write_override(override_path(tmp_path / "outbox.sqlite"), Override(False, "eve", now_s, now_s + ROW_S, ""))
        await world.advance(3 * ROW_S)
        flags = [StatusFlag(one.signed.reading.flags) for one in reversed(daemon.outbox.newest(9))]
    assert StatusFlag.OVERRIDE not in flags[0]
    assert any(StatusFlag.OVERRIDE in one and StatusFlag.SUPPLY_OFF in one for one in flags)
    assert StatusFlag.OVERRIDE not in flags[-1]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"relay": {"kind": "magic"}}, r"relay\.kind is 'magic'; there is \"simulated\", \"gpio\""),
        ({"relay": {"kind": "gpio"}}, r"relay\.pin is missing"),
        ({"relay": {"kind": "gpio", "pin": 40}}, r"relay\.pin must be from -1 to 27"),
        ({"relay": {"kind": "gpio", "pin": 4, "off_pin": 4}}, "a latching relay has two coils"),
        ({"relay": {"kind": "board", "board": "RPICT3T1_RLY2"}}, "which GPIO pins the relays of RPICT3T1_RLY2"),
        ({"relay": {"kind": "shelly", "device": "shelly1"}}, r"which needs the section \[mqtt\]"),
        ({"relay": {"kind": "shelly", "device": "a/#"}, "mqtt": {"host": "x"}}, r"relay\.device must be the name"),
        ({"relay": {"kind": "command", "on_command": ["x"]}}, "needs on_command and off_command"),
        ({"relay": {"kind": "command", "on_command": [""], "off_command": ["x"]}}, "a command is a list"),
        ({"relay": {"kind": "gpio", "pin": 4, "pulse_ms": 9_000}}, r"relay\.pulse_ms must be from 5 to 2000"),
        ({"relay": {"finality": "soon"}}, r"relay\.finality is 'soon'; choose one of final, latest"),
        ({"relay": {"allowance_wei": -1}}, r"relay\.allowance_wei must be from 0"),
        ({"relay": {"longest_override_s": 10**6}}, r"relay\.longest_override_s must be from 0 to 604800"),
        ({"circuits": [{"kind": "simulated"}]}, r"circuits\[1\]\.number must be from 1 to 255, not 0"),
        ({"circuits": [{"number": 1}, {"number": 1}]}, r"circuits\[2\]\.number is 1 again"),
        ({"circuits": {"number": 1}}, "circuits must be a list"),
        ({"circuits": [{"number": 1, "colour": 2}]}, r"unknown setting circuits\[1\]\.colour"),
        (
            {"relay": {"kind": "gpio", "pin": 4}, "saving": {"kind": "gpio", "pin": 4}},
            "saving and relay use the same pin GPIO4",
        ),
        ({"policy": {"overload_hold_s": 1}}, r"policy\.overload_hold_s must be from 10"),
    ],
)
def test_mistakes_in_the_settings_are_named(tmp_path: Path, sections: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        World(tmp_path, 1).settings(**sections)
