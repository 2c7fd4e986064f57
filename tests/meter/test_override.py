"""A person's order: given by the command, taken by the relay, limited, recorded, shown in readings; garbage is none."""

import json
import os
import pwd
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.reading_format import StatusFlag
from meter.commands import meter
from meter.drivers.driver import Registers, Sample
from meter.ledger import MeterLedger
from meter.live import Observation
from meter.outbox import Outbox
from meter.override import MAX_DURATION_S, Override, OverrideFile, override_path, write_override
from meter.override_commands import duration_in_s
from meter.reading import ReadingDomain
from meter.relay import Relay, RelayExtras
from meter.relay_rules import RelaySettings
from meter.relay_store import RelayStore
from meter.supply_status import read_supply_status
from meter.switch_journal import SwitchJournal
from meter.switches.simulated import SimulatedSwitch
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, METER, FakeNode

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)


class Home:
    def __init__(self, folder: Path) -> None:
        self.node = FakeNode(credit_wei=10**18)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.path = folder / "outbox.sqlite"
        self.outbox = Outbox.open(self.path, DOMAIN, METER)
        self.journal = SwitchJournal(self.outbox.database)
        self.noted: list[StatusFlag] = []
        self.begin()

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        self.noted.append(flags)

    def begin(self) -> None:
        """The meter's program starts."""
        self.store = RelayStore(self.outbox.database)
        extras = RelayExtras(override=OverrideFile(override_path(self.path), 86_400), noting=self)
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        rules = RelaySettings(minimum_on_s=60, minimum_off_s=60)
        self.relay = Relay(METER, ledger, SimulatedSwitch(), self.journal, self.store, self.clock, rules, extras)

    def order(self, is_on: bool | None, duration_s: int = 600, reason: str = "a repair") -> None:
        now_s = self.clock.time_s()
        write_override(override_path(self.path), Override(is_on, "eve", now_s, now_s + duration_s, reason))

    def sample(self) -> list[StatusFlag]:
        self.noted.clear()
        self.relay.observe(Observation(Sample(Registers(self.clock.time_s(), 1, 0), 0, StatusFlag(0), b"")))
        return self.noted

    def reasons(self) -> list[str]:
        return [one.reason for one in reversed(self.journal.newest(99, with_orders=True))]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    with closing(made.outbox):
        await made.relay.start()
        yield made


async def test_off_at_once_and_back_when_the_time_is_over(home: Home) -> None:
    assert home.relay.is_on
    assert home.sample() == []
    home.order(False)
    await home.relay.follow()
    assert not home.relay.is_on
    assert home.sample() == [StatusFlag.OVERRIDE]
    assert "follows the override: override off by eve until 2023-11-14 22:23 UTC: a repair" in " ".join(
        read_supply_status(home.store).lines()
    )
    home.clock.advance_s(599)
    await home.relay.follow()
    assert not home.relay.is_on
    home.clock.advance_s(1)
    await home.relay.follow()
    assert home.relay.is_on
    assert home.sample() == []
    assert home.reasons()[1:] == [
        "override off by eve until 2023-11-14 22:23 UTC: a repair",
        "override off by eve until 2023-11-14 22:23 UTC: a repair",
        "over: override off by eve until 2023-11-14 22:23 UTC: a repair",
        "supplyAllowed is true in block 0",
    ]


async def test_on_against_the_ledger_waits_for_the_minimum_time_off(home: Home) -> None:
    home.order(False, 30)
    await home.relay.follow()
    home.order(True)
    await home.relay.follow()
    assert not home.relay.is_on
    assert "to be switched on when its minimum time is over" in " ".join(read_supply_status(home.store).lines())
    home.clock.advance_s(60)
    await home.relay.follow()
    assert home.relay.is_on


async def test_recorded_although_nothing_is_switched(home: Home) -> None:
    home.order(True)
    for _ in range(3):
        await home.relay.follow()
    assert home.reasons()[1:] == ["override on by eve until 2023-11-14 22:23 UTC: a repair"]
    assert len(home.journal.newest(9)) == 1  # an order for what is already is no switching


async def test_auto_ends_it_and_is_recorded(home: Home) -> None:
    home.order(False)
    await home.relay.follow()
    home.clock.advance_s(61)
    home.order(None, 0, "done")
    await home.relay.follow()
    assert home.relay.is_on
    assert "override ended by eve: done" in home.reasons()


async def test_survives_a_restart_and_is_recorded_once(home: Home) -> None:
    home.order(False)
    await home.relay.follow()
    recorded = home.reasons()
    home.node.is_down = True
    home.begin()
    await home.relay.start()
    assert not home.relay.is_on
    assert home.reasons() == recorded
    home.clock.advance_s(600)
    home.node.is_down = False
    home.begin()
    await home.relay.start()
    assert home.relay.is_on, "its time was over while nobody looked"
    assert any(reason.startswith("over: override off by eve") for reason in home.reasons())


async def test_clock_that_was_set_back_does_not_prolong_it(home: Home) -> None:
    home.order(False)
    await home.relay.follow()
    home.clock.step_s(-7_200)
    await home.relay.follow()
    home.clock.advance_s(60)
    await home.relay.follow()
    assert home.relay.is_on


GOOD = {"is_on": False, "who": "eve", "at_s": GENESIS_TIME_S, "until_s": GENESIS_TIME_S + 60, "reason": ""}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"null",
        b"[]",
        b"{" * 4_000,
        json.dumps(GOOD).encode() + b" " * 5_000,
        json.dumps(GOOD | {"extra": 1}).encode(),
        json.dumps(GOOD | {"is_on": 0}).encode(),
        json.dumps(GOOD | {"is_on": "off"}).encode(),
        json.dumps(GOOD | {"until_s": 2.0**39}).encode(),
        json.dumps(GOOD | {"until_s": True}).encode(),
        json.dumps(GOOD | {"until_s": GENESIS_TIME_S - 1}).encode(),
        json.dumps(GOOD | {"until_s": GENESIS_TIME_S + 86_401}).encode(),
        json.dumps(GOOD | {"at_s": -5}).encode(),
        json.dumps(GOOD | {"who": 5}).encode(),
        json.dumps(GOOD | {"reason": "x" * 300}).encode(),
    ],
)
async def test_broken_order_counts_for_nothing(home: Home, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = override_path(home.path)
    path.write_bytes(content)
    for _ in range(3):
        await home.relay.follow()
    assert home.relay.is_on
    assert caplog.text.count("counts for nothing") == 1
    path.write_bytes(json.dumps(GOOD).encode())
    await home.relay.follow()
    assert not home.relay.is_on


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
async def test_no_file_in_its_place(home: Home, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    make(override_path(home.path))
    for _ in range(3):
        await home.relay.follow()
    assert home.relay.is_on
    assert caplog.text.count("cannot be read: it is no file") == 1


async def test_what_would_break_a_line_of_the_log_is_left_out(home: Home) -> None:
    home.order(False, reason="fine\n2023 supply on: all is well\x1b[2J")
    await home.relay.follow()
    assert home.reasons()[-1].endswith(": fine2023 supply on: all is well[2J")


SETTINGS = """
[meter]
key = "meter.json"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1
[driver]
file = "x.csv"
[relay]
longest_override_s = 7200
"""


def command(folder: Path, *arguments: str) -> Result:
    (folder / "meter.toml").write_text(SETTINGS)
    return CliRunner().invoke(meter, ["override", "--settings", str(folder / "meter.toml"), *arguments])


def test_command_writes_who_when_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    result = command(tmp_path, "off", "--for", "90m", "--reason", "the oven is repaired", "--json")
    assert result.exit_code == 0, result.output
    order = OverrideFile(override_path(tmp_path / "outbox.sqlite")).read()
    assert order is not None
    assert (order.is_on, order.until_s - order.at_s, order.reason) == (False, 5_400, "the oven is repaired")
    assert order.who == pwd.getpwuid(os.getuid()).pw_name
    assert json.loads(result.stdout)["until_s"] == order.until_s
    monkeypatch.setenv("SUDO_USER", "eve")
    assert "Override ended by" in command(tmp_path, "auto").output
    order = OverrideFile(override_path(tmp_path / "outbox.sqlite")).read()
    assert order is not None
    assert order.is_on is None
    assert order.who.endswith(" for eve")


def test_the_meters_own_user_can_read_what_a_careful_person_has_ordered(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert command(tmp_path, "off").exit_code == 0
    finally:
        os.umask(before)
    assert override_path(tmp_path / "outbox.sqlite").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("on", "--for", "3h"), "holds from 1 s to 7200 s"),
        (("on", "--for", "0m"), "holds from 1 s to 7200 s"),
        (("on", "--for", "soon"), "'soon' is no length of time: write 90s, 30m, 2h or 1d"),
        (("on", "--reason", "x" * 201), "at most 200 characters"),
        (("maybe",), "'maybe' is not one of"),
    ],
)
def test_command_refuses(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = command(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not override_path(tmp_path / "outbox.sqlite").exists()


def test_command_where_it_may_not_write(tmp_path: Path) -> None:
    order = Override(True, "eve", 0, 1, "")
    with pytest.raises(UserError, match="cannot be written"):
        write_override(tmp_path / "absent" / "x.override", order)


def test_lengths_of_time() -> None:
    assert [duration_in_s(text) for text in ("90s", "30m", "2h", "1d")] == [90, 1_800, 7_200, 86_400]
    assert duration_in_s("7d") == MAX_DURATION_S
