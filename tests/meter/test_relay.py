"""The relay obeys the imported chain: credit, exhaustion, top-up, reorganisation, silence, and says why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import pytest

import meter.relay as relay_module
from contracts.addresses import BILLING_ADDRESS, EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from meter.ledger import MeterLedger
from meter.outbox import Outbox
from meter.reading import NO_HASH, Reading, ReadingDomain
from meter.relay import Relay, RelayExtras
from meter.relay_rules import FailSafe, Finality, RelaySettings
from meter.relay_store import RelayStore
from meter.signer import KeySigner
from meter.switch_journal import Switching, SwitchJournal
from meter.switches.simulated import SimulatedSwitch
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of, sign
from tests.meter.fake_node import (
    CHAIN_ID,
    GENESIS_TIME_S,
    METER,
    METER_KEY,
    OTHER_KEY,
    OWNER,
    RATE_WEI_PER_WH,
    SUPPLIER,
    FakeNode,
)
from wallet.answers import Log
from wallet.client import InvalidAnswer, RpcError

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
ABI, REGISTRY, EXHAUSTION = (load_artifact(name).abi for name in ("Meter", "Registry", "Exhaustion"))

POSTPAID_KEY = b"\x31" * 32
POSTPAID_METER = address_of(POSTPAID_KEY)


class Household:
    def __init__(self, folder: Path, *, credit_wh: int = 0) -> None:
        self.node = FakeNode(credit_wei=credit_wh * RATE_WEI_PER_WH)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.outbox = Outbox.open(folder / "outbox.sqlite", DOMAIN, METER)
        self.journal = SwitchJournal(self.outbox.database)
        self.told: list[bool] = []

    def relay(
        self,
        fail_safe: FailSafe = "keep",
        meter: bytes = METER,
        confirmations: int = 0,
        finality: Finality = "final",
    ) -> Relay:
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        settings = RelaySettings(fail_safe, 600, 5, 0, 0, 0, finality, confirmations)
        store, extras = RelayStore(self.outbox.database), RelayExtras(listeners=[self.told.append])
        return Relay(meter, ledger, SimulatedSwitch(), self.journal, store, self.clock, settings, extras)

    def use(self, import_wh: int, sequence: int) -> None:
        """A reading in a block."""
        signed = DOMAIN.sign(
            Reading(METER, sequence, GENESIS_TIME_S, import_wh, 0, 0, 0, NO_HASH), KeySigner(METER_KEY)
        )
        call = ABI.function("submit").encode_call(((astuple(signed.reading), *signed.signature),))
        self.node.transact(address_of(OTHER_KEY), METER_ADDRESS, call)

    def reasons(self) -> list[tuple[int | None, bool, str]]:
        return [(one.block_number, one.is_on, one.reason) for one in reversed(self.journal.newest(99))]


@pytest.fixture
async def household(tmp_path: Path) -> AsyncIterator[Household]:
    made = Household(tmp_path, credit_wh=1000)
    with closing(made.outbox):
        yield made


async def test_off_when_exhausted_and_on_when_topped_up(household: Household) -> None:
    relay = household.relay()
    await relay.start()
    assert household.told == [True], "a first start waits for the ledger's word, and clicks once"
    household.use(400, 1)
    await relay.follow()
    assert relay.is_on
    household.use(1000, 2)
    household.node.mine()
    await relay.follow()
    assert not relay.is_on
    household.node.top_up(METER, 500 * RATE_WEI_PER_WH)
    await relay.follow()
    assert relay.is_on
    assert household.told == [True, False, True]
    assert household.reasons() == [
        (0, True, "supplyAllowed is true in block 0"),
        (3, False, "Exhausted in block 2"),
        (4, True, "Restored in block 4"),
    ]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (RpcError("eth_getLogs", -32005, "too many blocks"), "The node refused eth_getLogs: too many blocks"),
        (InvalidAnswer("the node's answer to eth_getLogs is no list"), "no list"),
    ],
)
async def test_a_node_that_refuses_its_events_has_still_told_what_holds(
    household: Household, monkeypatch: pytest.MonkeyPatch, refusal: Exception, told: str
) -> None:
    """Events are asked for only to give a reason: without them the ledger is in reach, and is obeyed."""

    async def refuse(*_: object) -> list[Log]:
        raise refusal

    relay = household.relay("on")
    await relay.start()
    household.use(1000, 1)
    monkeypatch.setattr(household.node, "logs", refuse)
    await relay.follow()
    assert not relay.is_on
    number, is_on, reason = household.reasons()[-1]
    assert (number, is_on) == (1, False)
    assert reason.startswith("supplyAllowed is false in block 1; why is not known (")
    assert told in reason


async def test_what_was_merely_sent_switches_nothing(household: Household) -> None:
    relay = household.relay()
    await relay.start()
    household.use(1000, 1)
    await relay.follow()
    household.node.top_up(METER, RATE_WEI_PER_WH)
    household.node.reorganise(1)
    await relay.follow()
    assert not relay.is_on


async def test_reorganisation_takes_the_top_up_away(household: Household) -> None:
    relay = household.relay()
    await relay.start()
    household.use(1000, 1)
    await relay.follow()
    household.node.top_up(METER, RATE_WEI_PER_WH)
    await relay.follow()
    assert relay.is_on
    household.node.reorganise(1)
    household.node.mine(is_empty=True)
    await relay.follow()
    assert not relay.is_on
    assert household.reasons()[-1] == (2, False, "the chain was reorganised: supplyAllowed is false in block 2 now")


async def test_friendly_hours_begin_and_end_without_a_block(tmp_path: Path) -> None:
    """From the second minute after the beginning for two minutes, to the minute of the meter's own clock."""
    household = Household(tmp_path)
    minute = GENESIS_TIME_S % 86_400 // 60
    terms = (0, 10**18, minute + 2, minute + 4, 127, 0, 50)
    with closing(household.outbox):
        household.node.transact(SUPPLIER, EXHAUSTION_ADDRESS, EXHAUSTION.encode_call("setTerms", (terms,)))
        relay = household.relay()
        await relay.start()
        states = []
        for _ in range(12):
            household.clock.advance_s(30)
            await relay.follow()
            states.append(relay.is_on)
        first_s = 120 - GENESIS_TIME_S % 60
        assert states == [first_s <= 30 * (number + 1) < first_s + 120 for number in range(12)]
        assert household.reasons()[-1] == (1, False, "the hour: supplyAllowed is false by now in block 1")


async def test_meter_removed_by_its_supplier(household: Household) -> None:
    relay = household.relay()
    await relay.start()
    household.node.transact(SUPPLIER, REGISTRY_ADDRESS, REGISTRY.encode_call("removeMeter", (METER,)))
    await relay.follow()
    assert household.reasons()[-1] == (1, False, "supplyAllowed is false in block 1")


async def test_postpaid_meter_follows_what_its_bills_say(household: Household) -> None:
    """Installed while the relay runs, then removed: the contract that bills it is found in the registry."""
    relay = household.relay(meter=POSTPAID_METER)
    await relay.start()
    assert not relay.is_on
    agreed = compact_signature(*sign(consent_hash(CHAIN_ID, POSTPAID_METER, SUPPLIER), POSTPAID_KEY))
    installation = (POSTPAID_METER, OWNER, BILLING_ADDRESS, 1, bytes(32), 0, 0, agreed)
    install = REGISTRY.encode_call("installMeter", installation)
    household.node.transact(SUPPLIER, REGISTRY_ADDRESS, install)
    await relay.follow()
    assert relay.is_on
    household.node.transact(SUPPLIER, REGISTRY_ADDRESS, REGISTRY.encode_call("removeMeter", (POSTPAID_METER,)))
    await relay.follow()
    assert household.told == [False, True, False]


@pytest.mark.parametrize(("fail_safe", "expected"), [("keep", True), ("on", True), ("off", False)])
async def test_silence_of_the_ledger(household: Household, fail_safe: FailSafe, expected: bool) -> None:
    relay = household.relay(fail_safe)
    await relay.start()
    household.node.is_down = True
    household.clock.advance_s(599)
    await relay.follow()
    assert relay.is_on
    household.clock.advance_s(1)
    await relay.follow()
    await relay.follow()
    assert relay.is_on is expected
    household.node.is_down = False
    await relay.follow()
    assert relay.is_on
    if fail_safe == "off":
        assert household.reasons()[1:] == [
            (None, False, "no ledger for 600 s: the node is down"),
            (0, True, "the ledger is in reach again: supplyAllowed is true in block 0"),
        ]


async def test_restart_keeps_the_last_state_until_the_ledger_answers(household: Household) -> None:
    household.journal.record(Switching(1, 1, True, "before"))
    household.node.is_down = True
    relay = household.relay("off")
    await relay.start()
    assert household.told == [True]


@pytest.mark.parametrize(("fail_safe", "expected"), [("keep", False), ("on", True), ("off", False)])
async def test_relay_that_never_heard_of_a_ledger(household: Household, fail_safe: FailSafe, expected: bool) -> None:
    household.node.is_down = True
    relay = household.relay(fail_safe)
    await relay.start()
    assert household.told == [expected]


async def test_quiet_blocks_write_nothing(household: Household) -> None:
    relay = household.relay()
    await relay.start()
    for _ in range(20):
        household.node.mine()
        await relay.follow()
    assert len(household.journal.newest(99)) == 1
    household.node.calls.clear()
    for _ in range(3):
        await relay.follow()
    assert household.node.calls == ["block"] * 3, "an old block is not asked about again"


async def test_switch_that_takes_its_time_does_not_hold_the_meter_up(
    household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "START_PATIENCE_S", 0.01)
    may_go_on = asyncio.Event()

    class SlowSwitch(SimulatedSwitch):
        async def set(self, is_on: bool) -> None:
            await may_go_on.wait()
            await super().set(is_on)

    monkeypatch.setattr("tests.meter.test_relay.SimulatedSwitch", SlowSwitch)
    relay = household.relay()
    await relay.start()
    assert household.told == []
    task = asyncio.ensure_future(relay.run())
    may_go_on.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert household.told == [True]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_newest_block_is_obeyed_only_where_its_owner_wants_it(household: Household) -> None:
    """final: as deep as the settings say; a top-up counts two blocks later."""
    household.use(1000, 1)
    household.node.mine(2)
    patient, eager = household.relay(confirmations=2), household.relay(confirmations=2, finality="latest")
    await patient.start()
    await eager.start()
    assert (patient.is_on, eager.is_on) == (False, False)
    states = []
    household.node.top_up(METER, RATE_WEI_PER_WH)
    for _ in range(3):
        await patient.follow()
        await eager.follow()
        states.append((patient.is_on, eager.is_on))
        household.node.mine()
    assert states == [(False, True), (False, True), (True, True)]


async def test_node_that_has_lost_the_others_is_no_ledger_in_reach(household: Household) -> None:
    relay = household.relay("off")
    await relay.start()
    household.clock.advance_s(600)
    await relay.follow()
    assert relay.is_on
    household.clock.advance_s(600)
    await relay.follow()
    assert not relay.is_on
    assert household.reasons()[-1] == (None, False, "no ledger for 600 s: the node's newest block 0 is 1200 s old")
