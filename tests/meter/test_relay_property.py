"""Whatever happens in whatever order, the relay is after each look as a plain reading of the rules says it is to be.

Blocks, top-ups, reorganisations, a node that is away, energy, readings on the way, restarts, orders by hand, overload:
drawn at random from a seed, on the real contracts. The reference knows no classes of the meter: it asks the contract
itself, and without a ledger it multiplies Wh with the price.
"""

import os
import random
from contextlib import closing
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chain.execution import TransactionOutcome
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import StatusFlag
from meter.account_book import AccountBook
from meter.drivers.driver import Registers, Sample
from meter.head import first_head
from meter.ledger import MeterLedger
from meter.ledger_terms import LedgerTerms
from meter.live import Observation
from meter.outbox import Outbox
from meter.override import Override, OverrideFile, override_path, write_override
from meter.reading import Reading, ReadingDomain
from meter.relay import Relay, RelayExtras
from meter.relay_rules import FailSafe, RelaySettings
from meter.relay_store import RelayStore
from meter.signer import KeySigner
from meter.switch_journal import SwitchJournal
from meter.switches.simulated import SimulatedSwitch
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    CHAIN_ID,
    GENESIS_TIME_S,
    METER,
    METER_KEY,
    OTHER_KEY,
    RATE_WEI_PER_WH,
    Block,
    FakeNode,
)

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
EXHAUSTION, METER_ABI = load_artifact("Exhaustion").abi, load_artifact("Meter").abi
FIRST_CREDIT_WH = 60
MINIMUM_ON_S, MINIMUM_OFF_S, FAIL_SAFE_AFTER_S = 40, 70, 900

# (what, weight, values)
ACTIONS: tuple[tuple[str, float, tuple[object, ...]], ...] = (
    ("wait", 4, (1, 10, 35, 60, 90)),
    ("wait", 0.5, (950, 2000)),
    ("use", 8, (1, 3, 10, 20)),
    ("sign", 4, (0,)),
    ("carry", 3, (0,)),
    ("mine", 6, (1, 1, 4)),
    ("top up", 2, (1, 5, 40)),
    ("reorganise", 0.7, (1, 3)),
    ("node", 2, (True, False)),
    ("restart", 1.5, (0,)),
    ("override", 0.6, (True, False, None)),
    ("overload", 0.8, (True, False, False)),
)


def make_plan(seed: int, length: int) -> list[tuple[str, object]]:
    randomness = random.Random(seed)
    chosen = randomness.choices(ACTIONS, [weight for _, weight, _ in ACTIONS], k=length)
    return [(action, randomness.choice(values)) for action, _, values in chosen]


class QuickNode(FakeNode):
    """Relay and reference ask the same questions; the contract answers each once."""

    def __init__(self, credit_wei: int) -> None:
        super().__init__(credit_wei=credit_wei)
        self._answers: dict[tuple[object, ...], TransactionOutcome] = {}

    def _call(self, sender: bytes | None, to: bytes, data: bytes, block: Block) -> TransactionOutcome:
        key = (to, data, block.hash, id(block.state))
        if key not in self._answers:
            self._answers[key] = super()._call(sender, to, data, block)
        return self._answers[key]


@dataclass
class Reference:
    """The rules in plain words; told what happens, asked what the supply has to be."""

    node: FakeNode
    clock: ManualClock
    fail_safe: FailSafe
    confirmations: int
    allowance_wei: int
    is_on: bool = False
    switched_s: float = float("-inf")
    heard_s: float = 0
    known: tuple[int, int] | None = None
    """Credit in wei and charged Wh in the newest block that counts, as of the last look at the ledger."""
    override: tuple[bool, float] | None = None
    is_overloaded: bool = False
    used_wh: int = 0
    urgent: list[bool] = field(default_factory=list)

    def look(self) -> bool:
        now_s = self.clock.now_s
        wanted, is_urgent = self._wanted(now_s)
        least_s = MINIMUM_ON_S if self.is_on else MINIMUM_OFF_S
        if wanted != self.is_on and (now_s - self.switched_s >= least_s or (is_urgent and self.is_on)):
            self.is_on, self.switched_s = wanted, now_s
            self.urgent.append(is_urgent)
        return self.is_on

    def _wanted(self, now_s: float) -> tuple[bool, bool]:
        block = self.node.blocks[max(0, len(self.node.blocks) - 1 - self.confirmations)]
        is_fresh = now_s - self.node.blocks[-1].time_s <= FAIL_SAFE_AFTER_S
        in_reach = not self.node.is_down and is_fresh
        if in_reach:
            account = self._ask(block.number, "accountOf", METER)[0]
            last = self._ask(block.number, "lastReading", METER)[0]
            self.known = (account[0] - account[1], last[2])
            self.heard_s = now_s
        if self.is_overloaded:
            return False, True
        if self.override is not None and now_s < self.override[1]:
            return self.override[0], not self.override[0]
        if in_reach:
            return bool(self._ask(block.number, "supplyAllowed", METER, int(now_s))[0]), False
        if self.fail_safe != "keep" and now_s - self.heard_s >= FAIL_SAFE_AFTER_S:
            return self.fail_safe == "on", False
        if self.known is None:
            return self.is_on, False
        balance_wei, charged_wh = self.known
        return balance_wei - (self.used_wh - charged_wh) * RATE_WEI_PER_WH + self.allowance_wei > 0, False

    def _ask(self, block: int, function: str, *arguments: object) -> tuple:
        abi, contract = (METER_ABI, METER_ADDRESS) if function == "lastReading" else (EXHAUSTION, EXHAUSTION_ADDRESS)
        call = abi.encode_call(function, arguments)
        return abi.decode_result(function, self.node._call(None, contract, call, self.node.blocks[block]).output)


class Home:
    """The relay with all that belongs to it, and the outbox that readings wait in."""

    def __init__(self, folder: Path, settings: RelaySettings) -> None:
        self.node = QuickNode(FIRST_CREDIT_WH * RATE_WEI_PER_WH)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.settings = settings
        self.path = folder / "outbox.sqlite"
        self.outbox = Outbox.open(self.path, DOMAIN, METER)
        self.used_wh = self.carried = 0
        self.is_overloaded = False
        self.switch = SimulatedSwitch()
        self.switchings: list[tuple[float, bool]] = []

    async def start(self) -> None:
        store = RelayStore(self.outbox.database)
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        extras = RelayExtras(
            AccountBook(LedgerTerms(ledger), self.outbox, store, self.clock, self.settings.allowance_wei),
            OverrideFile(override_path(self.path)),
            overload=lambda: "too much" if self.is_overloaded else "",
            listeners=[self._switched],
        )
        journal = SwitchJournal(self.outbox.database)
        self.relay = Relay(METER, ledger, self.switch, journal, store, self.clock, self.settings, extras)
        await self.relay.start()
        self.observe()

    async def restart(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, DOMAIN, METER)
        await self.start()

    async def do(self, action: str, value: Any) -> None:
        node = self.node
        match action:
            case "wait":
                self.clock.advance_s(value)
            case "use":
                self.used_wh += value
                self.clock.advance_s(1)
            case "sign":
                self.sign()
            case "carry":
                self.carry()
            case "mine":
                node.mine(value, is_empty=True)
                self.clock.advance_s(15 * value)
            case "top up":
                node.top_up(METER, value * RATE_WEI_PER_WH)
            case "reorganise" if len(node.blocks) > value + 1:
                node.reorganise(value)
                node.mine(is_empty=True)
            case "node":
                node.is_down = not value
            case "override":
                now_s = self.clock.time_s()
                write_override(override_path(self.path), Override(value, "eve", now_s, now_s + 300, "test"))
            case "overload":
                self.is_overloaded = bool(value)

    def sign(self) -> None:
        head = self.outbox.head()
        if head is None:
            return
        time_s = max(self.clock.time_s(), head.registers.time_s)
        reading = Reading(METER, head.sequence + 1, time_s, self.used_wh, 0, 0, 0, head.hash)
        self.outbox.append(DOMAIN.sign(reading, KeySigner(METER_KEY)), b"")

    def carry(self) -> None:
        """All that wait, in a block; the outbox keeps them as if their block were not deep enough yet."""
        readings = self.outbox.waiting(0, 100)
        if readings:
            signed = [(astuple(one.reading), *one.signature) for one in readings]
            call = METER_ABI.function("submitBatch").encode_call((signed,))
            # A block that is as late as its readings.
            self.node.block_time_s = max(15, self.clock.time_s() - self.node.blocks[-1].time_s)
            self.node.transact(address_of(OTHER_KEY), METER_ADDRESS, call)
            self.node.block_time_s = 15

    def observe(self) -> None:
        registers = Registers(self.clock.time_s(), self.used_wh, 0)
        self.relay.observe(Observation(Sample(registers, 0, StatusFlag(0), b"")))

    def _switched(self, is_on: bool) -> None:
        if not self.switchings or self.switchings[-1][1] != is_on:
            self.switchings.append((self.clock.now_s, is_on))


async def play(
    folder: Path, plan: list[tuple[str, object]], fail_safe: FailSafe, confirmations: int, allowance_wh: int
) -> None:
    allowance_wei = allowance_wh * RATE_WEI_PER_WH
    rules = RelaySettings(
        fail_safe, FAIL_SAFE_AFTER_S, 5, MINIMUM_ON_S, MINIMUM_OFF_S, allowance_wei, "final", confirmations
    )
    home = Home(folder, rules)
    reference = Reference(home.node, home.clock, fail_safe, confirmations, allowance_wei, fail_safe == "on")
    reference.heard_s = home.clock.now_s
    with closing(home.outbox):
        await home.start()
        home.outbox.adopt(first_head(), bytes(32), 0)
        assert home.relay.is_on == reference.look()
        for action, value in plan:
            if action == "restart":
                await home.restart()
                reference.heard_s = max(reference.heard_s, home.clock.now_s)
            else:
                await home.do(action, value)
            if action == "override":
                reference.override = None if value is None else (bool(value), home.clock.time_s() + 300)
            reference.used_wh, reference.is_overloaded = home.used_wh, home.is_overloaded
            home.observe()
            await home.relay.follow()
            assert home.relay.is_on == reference.look(), (action, value)
            assert home.switch.is_on == home.relay.is_on
        _check_pace(home.switchings, reference.urgent)
    home.outbox.close()


def _check_pace(switchings: list[tuple[float, bool]], urgent: list[bool]) -> None:
    """Chattering never: off lasts, and on lasts unless it is dangerous or a person's order."""
    for (before_s, _), (after_s, is_on), is_urgent in zip(
        switchings[1:], switchings[2:], urgent[len(urgent) - len(switchings) + 2 :], strict=False
    ):
        assert after_s - before_s >= (MINIMUM_OFF_S if is_on else 0 if is_urgent else MINIMUM_ON_S)


SEEDS = range(int(os.environ.get("WATTCHAIN_RELAY_SEEDS", "16")))
"""More of them: `make soak-relay`."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_state_is_what_the_rules_say(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(-seed)
    fail_safe: FailSafe = randomness.choice(("keep", "keep", "on", "off"))
    plan = make_plan(seed, 160)
    await play(tmp_path, plan, fail_safe, seed % 2 * 2, seed % 3 * 10)
