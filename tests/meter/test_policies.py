"""The owner's policy on the ledger reaches circuits, power-saving mode, alerts and the supply within one block."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, POLICY_ADDRESS
from contracts.binding import load_artifact
from contracts.policy import OffTime, PolicyValues
from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.ledger import MeterLedger
from meter.ledger_terms import NO_POLICY, LedgerTerms
from meter.live import Observation
from meter.outbox import Outbox
from meter.policies import MEMORY_KEY, POLICY_KEY, Policies, PolicyDevices
from meter.policy_rules import PolicySettings
from meter.reading import ReadingDomain
from meter.relay import Relay, RelayExtras
from meter.relay_rules import RelaySettings
from meter.relay_store import RelayStore
from meter.supply_status import read_supply_status
from meter.switch_journal import SwitchJournal
from meter.switches.actuator import Actuator
from meter.switches.simulated import SimulatedSwitch
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, METER, OWNER, SUPPLIER, FakeNode

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
POLICY, METER_ABI = load_artifact("Policy").abi, load_artifact("Meter").abi
ALWAYS = {"weekdays": 127, "from_minute": 0, "until_minute": 1_440}


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = FakeNode(credit_wei=10**30)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.outbox = Outbox.open(folder / "outbox.sqlite", DOMAIN, METER)
        self.store = RelayStore(self.outbox.database)
        self.import_wh = 0
        self.version = 0
        self.published: list[tuple[str, bytes]] = []
        self.begin()

    def begin(self, **settings: object) -> None:
        """A meter's program starts."""
        self.circuits = {1: SimulatedSwitch(), 2: SimulatedSwitch()}
        self.saving, self.supply = SimulatedSwitch(), SimulatedSwitch()
        actuators = {number: Actuator(f"circuit {number}", one, self.clock) for number, one in self.circuits.items()}
        devices = PolicyDevices(
            actuators,
            Actuator("power-saving mode", self.saving, self.clock),
            lambda topic, text: self.published.append((topic, text)),
        )
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        terms = LedgerTerms(ledger)
        rules = PolicySettings(overload_hold_s=100, saving_hold_s=50, **settings)  # type: ignore[arg-type]
        self.policies = Policies(METER, terms, self.store, self.clock, rules, devices)
        self.relay = Relay(
            METER,
            ledger,
            self.supply,
            SwitchJournal(self.outbox.database),
            self.store,
            self.clock,
            RelaySettings(minimum_on_s=60, minimum_off_s=60),
            RelayExtras(overload=self.policies.overload),
        )

    def write(self, **values: object) -> None:
        """In a block of its own."""
        given = PolicyValues(**values)  # type: ignore[arg-type]
        call = POLICY.encode_call("setPolicy", (METER, self.version, given.arguments()))
        self.node.transact(OWNER, POLICY_ADDRESS, call)
        self.version += 1

    async def sample(self, power_w: int, *, used_wh: int = 0, after_s: int = 1) -> None:
        self.clock.advance_s(after_s)
        self.import_wh += used_wh
        observation = Observation(
            Sample(Registers(self.clock.time_s(), self.import_wh, 0), power_w, StatusFlag(0), b"")
        )
        self.policies.observe(observation)
        self.relay.observe(observation)
        # What both do when a sample wakes them.
        await self.policies.act()
        await self.relay._act()

    def circuits_on(self) -> list[bool | None]:
        return [one.is_on for one in self.circuits.values()]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    with closing(made.outbox):
        await made.relay.start()
        await made.policies.follow()
        yield made


async def test_without_a_policy_all_is_on(home: Home) -> None:
    await home.sample(10**6, used_wh=10**6)
    assert home.circuits_on() == [True, True]
    assert (home.saving.is_on, home.supply.is_on) == (False, True)


async def test_off_times_within_one_block(home: Home) -> None:
    home.write(off_times=(OffTime(2, **ALWAYS),))
    await home.policies.follow()
    assert home.circuits_on() == [True, False]
    home.write()
    await home.policies.follow()
    assert home.circuits_on() == [True, True]


async def test_off_times_by_the_suppliers_clock(home: Home) -> None:
    """In a zone of half an hour more than five hours, which holds some time after it was announced."""
    home.node.transact(SUPPLIER, METER_ADDRESS, METER_ABI.encode_call("setZone", (19_800, 0)))
    home.clock.advance_s(40 * 86_400)
    home.node.block_time_s = 40 * 86_400
    local_minute = (home.clock.time_s() + 19_800) % 86_400 // 60
    home.write(off_times=(OffTime(1, 127, local_minute + 2, local_minute + 3),))
    states = []
    for _ in range(10):
        home.clock.advance_s(30)
        await home.policies.follow()
        states.append(home.circuits_on()[0])
    assert states.count(False) == 2


async def test_maximum_load_within_one_block_and_with_each_sample(home: Home) -> None:
    await home.sample(6_000, after_s=60)
    home.write(maximum_load_w=5_000)
    await home.policies.follow()
    await home.relay.follow()
    assert home.supply.is_on is False
    for _ in range(99):
        await home.sample(0)
    assert home.supply.is_on is False, "no sooner than the hold-off"
    await home.sample(0)
    await home.sample(0)
    assert home.supply.is_on is True
    await home.sample(6_000)
    assert home.supply.is_on is False, "safety does not wait for the minimum time on"
    last = SwitchJournal(home.outbox.database).last()
    assert last is not None
    assert "maximum load: 6000 W were taken, 5000 W are allowed" in last.reason
    assert "follows the maximum load" in read_supply_status(home.store).lines()[0]


async def test_clock_that_is_set_ends_no_cut(home: Home) -> None:
    home.write(maximum_load_w=5_000)
    await home.policies.follow()
    for step_s in (86_400, -200_000, 0):
        await home.sample(6_000, after_s=61)
        home.clock.step_s(step_s)
        await home.sample(0, after_s=50)
        assert home.supply.is_on is False


async def test_power_saving_mode_within_one_block(home: Home) -> None:
    await home.sample(3_000)
    home.write(saving_above_power_w=2_000)
    await home.policies.follow()
    assert home.saving.is_on is True
    assert "power-saving mode" in read_supply_status(home.store).lines()[-1]
    home.write()
    await home.policies.follow()
    assert home.saving.is_on is False


async def test_power_saving_mode_by_the_days_energy(home: Home) -> None:
    home.write(saving_above_energy_wh=1_000)
    await home.policies.follow()
    await home.sample(10)
    await home.sample(10, used_wh=1_001)
    assert home.saving.is_on is True
    await home.sample(10, after_s=86_400)
    assert home.saving.is_on is False


async def test_alerts_are_logged_published_and_told_to_a_command(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "tell"
    script.write_text(f'#!/bin/sh\nprintf "%s|%s|%s" "$1" "$2" "$3" > {tmp_path}/told\n')
    script.chmod(0o755)
    home.begin(alert_command=(str(script), "owner"), alert_topic="home/alerts")
    home.write(alert_above_power_w=1_000)
    await home.policies.follow()
    for _ in range(5):
        await home.sample(1_500)
    assert (tmp_path / "told").read_text() == "owner|power|1500 W are taken, more than 1000 W"
    assert home.published == [("home/alerts", b"1500 W are taken, more than 1000 W")]
    assert caplog.text.count("ALERT: 1500 W are taken") == 1


async def test_command_that_fails_is_told_of(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.begin(alert_command=("/nonexistent/tell",))
    home.write(alert_above_power_w=1_000)
    await home.policies.follow()
    await home.sample(1_500)
    assert "nobody was told of an alert: the command /nonexistent/tell cannot be run" in caplog.text


async def test_remembered_without_a_ledger_and_over_a_restart(home: Home) -> None:
    home.write(off_times=(OffTime(1, **ALWAYS),), maximum_load_w=5_000)
    await home.policies.follow()
    await home.sample(6_000)
    home.node.is_down = True
    home.begin()
    await home.relay.start()
    await home.policies.follow()
    assert home.circuits_on() == [False, True]
    assert home.supply.is_on is False, "the hold-off goes on"


async def test_policy_that_is_taken_back_by_a_reorganisation(home: Home) -> None:
    home.write(off_times=(OffTime(1, **ALWAYS),))
    await home.policies.follow()
    home.node.reorganise(1)
    home.node.mine(is_empty=True)
    await home.policies.follow()
    assert home.circuits_on() == [True, True]


async def test_circuit_that_the_settings_do_not_have(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.write(off_times=(OffTime(9, **ALWAYS),))
    for _ in range(3):
        await home.policies.follow()
    assert caplog.text.count("does not have: 9") == 1


async def test_ledger_without_a_policy_contract(home: Home) -> None:
    home.policies._terms._policy_contract = address_of(b"\x07" * 32)
    home.node.mine()
    await home.policies.follow()
    assert home.circuits_on() == [True, True]


async def test_quiet_blocks_cost_one_question_and_no_write(home: Home) -> None:
    await home.policies.follow()
    before = home.outbox.database.connection.total_changes
    home.node.calls.clear()
    for _ in range(5):
        home.node.mine()
        await home.policies.follow()
        await home.policies.follow()
    assert home.node.calls == ["block", "call", "block"] * 5
    assert home.outbox.database.connection.total_changes == before


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"version": 1}', "{" * 3000, json.dumps({"values": {"off_times": [5]}})]
)
async def test_broken_memory_is_no_memory(home: Home, text: str) -> None:
    home.store.put(POLICY_KEY, text)
    home.store.put(MEMORY_KEY, text)
    home.begin()
    assert home.policies.rules.policy.version == 0
    assert home.policies.rules.memory.day == 0


async def test_one_order_at_a_time_reaches_a_switch(home: Home) -> None:
    """The poll and a sample both bring switches into their state; a Shelly takes a while to answer."""
    busy: list[int] = [0]
    most: list[int] = [0]

    async def slow(is_on: bool) -> None:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        for _ in range(20):
            await asyncio.sleep(0)
        home.circuits[1].is_on = is_on
        busy[0] -= 1

    home.circuits[1].set = slow  # type: ignore[method-assign]
    home.write(off_times=(OffTime(1, **ALWAYS),))
    switching_off = asyncio.ensure_future(home.policies.follow())
    while not busy[0]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    home.policies.rules.take(NO_POLICY, home.clock.time_s())
    await asyncio.gather(switching_off, home.policies.act())
    assert home.circuits_on()[0] is True
    assert most == [1]
