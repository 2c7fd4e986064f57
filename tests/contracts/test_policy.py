"""Policy: the paper's example, who may write, every bound with its values, and what a change of a meter leaves."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.addresses import POLICY_ADDRESS
from contracts.policy import (
    ALL_WEEKDAYS,
    MAX_ENERGY_WH,
    MAX_OFF_TIMES,
    MAX_POWER_W,
    MeterPolicy,
    OffTime,
    PolicyValues,
    decode_values,
)
from tests.contracts.ledgers import GENESIS_TIME_S, Result
from tests.contracts.meter_book import Record, Role, Status
from tests.contracts.policy_stage import POLICY, Policies, reason, the_event

OWNER, OTHER, SUPPLIER, FRIEND, STRANGER = (bytes([number]) * 20 for number in range(1, 6))
METER, NEXT, LAST, FOREIGN = (bytes([number]) * 20 for number in range(0x31, 0x35))
HUNDRED_KWH = 100_000
FULL = PolicyValues(
    saving_above_power_w=MAX_POWER_W,
    saving_above_energy_wh=MAX_ENERGY_WH,
    maximum_load_w=MAX_POWER_W,
    alert_above_power_w=MAX_POWER_W,
    alert_above_energy_wh=MAX_ENERGY_WH,
    off_times=tuple([OffTime(255, ALL_WEEKDAYS, 1_439, 1_440)] * MAX_OFF_TIMES),
)


def shown(address: bytes) -> str:
    return "0x" + address.hex()


@pytest.fixture
def home() -> Policies:
    """A meter of OWNER's, and one of somebody else's."""
    policies = Policies()
    policies.book.set_meter(METER, Record(OWNER, SUPPLIER))
    policies.book.set_meter(FOREIGN, Record(OTHER, SUPPLIER))
    policies.book.set_role(SUPPLIER, Role.SUPPLIER)
    return policies


def replace_meter(home: Policies, old: bytes, new: bytes, owner: bytes = OWNER, before: bytes = bytes(20)) -> None:
    """As the registry does it: the old meter stays known as removed, with its successor."""
    home.book.set_meter(old, Record(owner, SUPPLIER, Status.REMOVED, predecessor=before, successor=new))
    home.book.set_meter(new, Record(owner, SUPPLIER, predecessor=old))


def test_the_papers_example_power_saving_above_100_kwh(home: Policies) -> None:
    values = PolicyValues(saving_above_energy_wh=HUNDRED_KWH)
    assert home.policy(METER) == MeterPolicy(0, 0, PolicyValues())
    written = the_event(home.set(OWNER, METER, 0, values))
    assert written.name == "PolicySet"
    assert (written.arguments["meter"], written.arguments["version"], written.arguments["writer"]) == (METER, 1, OWNER)
    assert decode_values(written.arguments["values"]) == values
    assert home.policy(METER) == MeterPolicy(1, GENESIS_TIME_S, values)
    assert not values.is_saving(power_w=5_000, day_energy_wh=HUNDRED_KWH)
    assert values.is_saving(power_w=5_000, day_energy_wh=HUNDRED_KWH + 1)
    assert home.policy(FOREIGN).version == 0


def test_every_value_is_kept_told_and_replaced(home: Policies) -> None:
    first = the_event(home.set(OWNER, METER, 0, FULL))
    assert decode_values(first.arguments["values"]) == FULL
    assert home.policy(METER).values == FULL
    home.ledger.time_s += 60
    assert home.set(OWNER, METER, 1, PolicyValues()).success
    assert home.policy(METER) == MeterPolicy(2, GENESIS_TIME_S + 60, PolicyValues())
    assert home.version(METER) == 2


def test_a_meter_asks_cheaply_whether_there_is_something_new(home: Policies) -> None:
    home.set(OWNER, METER, 0, FULL)
    data = POLICY.abi.encode_call("versionOf", [METER])
    assert home.ledger.call(bytes(20), POLICY_ADDRESS, data).gas_used < 30_000


def test_every_role_tries_every_function(home: Policies) -> None:
    for person in (SUPPLIER, FRIEND, STRANGER, METER, OTHER):
        who = shown(person)
        assert reason(home.set(person, METER, 0, FULL)) == f"NotOwnerOrAppointed({shown(METER)}, {who})"
        assert reason(home.act(person, "appoint", METER, FRIEND)) == f"NotOwner({shown(METER)}, {who})"
        expected = "NotAppointed" if person == FRIEND else "NotOwner"
        assert reason(home.act(person, "dismiss", METER, FRIEND)) == f"{expected}({shown(METER)}, {who})"
        assert not home.may_write(METER, person)
    assert home.may_write(METER, OWNER)
    assert not home.may_write(STRANGER, bytes(20))
    assert home.version(METER) == 0


def test_a_person_who_is_appointed_writes_until_dismissed(home: Policies) -> None:
    appointed = the_event(home.act(OWNER, "appoint", METER, FRIEND))
    assert appointed.arguments == {"meter": METER, "owner": OWNER, "person": FRIEND}
    assert reason(home.act(OWNER, "appoint", METER, FRIEND)) == f"AlreadyAppointed({shown(METER)}, {shown(FRIEND)})"
    assert the_event(home.set(FRIEND, METER, 0, FULL)).arguments["writer"] == FRIEND
    # Neither another meter, nor appointing others, comes with it.
    assert reason(home.set(FRIEND, FOREIGN, 0, FULL)) == f"NotOwnerOrAppointed({shown(FOREIGN)}, {shown(FRIEND)})"
    assert reason(home.act(FRIEND, "appoint", METER, STRANGER)) == f"NotOwner({shown(METER)}, {shown(FRIEND)})"
    dismissed = the_event(home.act(OWNER, "dismiss", METER, FRIEND))
    assert dismissed.arguments == {"meter": METER, "person": FRIEND, "by": OWNER}
    assert reason(home.set(FRIEND, METER, 1, FULL)) == f"NotOwnerOrAppointed({shown(METER)}, {shown(FRIEND)})"
    assert reason(home.act(OWNER, "dismiss", METER, FRIEND)) == f"NotAppointed({shown(METER)}, {shown(FRIEND)})"


def test_who_was_appointed_may_give_it_up(home: Policies) -> None:
    home.act(OWNER, "appoint", METER, FRIEND)
    assert the_event(home.act(FRIEND, "dismiss", METER, FRIEND)).arguments["by"] == FRIEND
    assert not home.may_write(METER, FRIEND)


def test_an_appointment_is_of_one_owner(home: Policies) -> None:
    home.act(OWNER, "appoint", METER, FRIEND)
    home.book.set_meter(METER, Record(OTHER, SUPPLIER))
    assert not home.may_write(METER, FRIEND)
    assert not home.set(FRIEND, METER, 0, FULL).success
    assert home.act(OTHER, "appoint", METER, FRIEND).success
    assert home.may_write(METER, FRIEND)


def test_two_who_write_at_once_do_not_overwrite_each_other_unseen(home: Policies) -> None:
    home.act(OWNER, "appoint", METER, FRIEND)
    assert home.set(OWNER, METER, 0, FULL).success
    assert reason(home.set(FRIEND, METER, 0, PolicyValues())) == f"VersionChanged({shown(METER)}, 0, 1)"
    assert reason(home.set(FRIEND, METER, 2, PolicyValues())) == f"VersionChanged({shown(METER)}, 2, 1)"
    assert home.policy(METER).values == FULL


def test_meters_that_are_unknown_or_gone_have_no_policy_to_write(home: Policies) -> None:
    for function, arguments in (("setPolicy", (0, FULL.arguments())), ("appoint", (FRIEND,)), ("dismiss", (FRIEND,))):
        assert reason(home.act(OWNER, function, STRANGER, *arguments)) == f"MeterUnknown({shown(STRANGER)})"
    home.act(OWNER, "appoint", METER, FRIEND)
    home.book.set_meter(METER, Record(OWNER, SUPPLIER, Status.REMOVED))
    assert reason(home.set(OWNER, METER, 0, FULL)) == f"MeterNotActive({shown(METER)})"
    assert reason(home.act(OWNER, "appoint", METER, STRANGER)) == f"MeterNotActive({shown(METER)})"
    assert not home.may_write(METER, OWNER)
    assert home.act(OWNER, "dismiss", METER, FRIEND).success


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"saving_above_energy_wh": 2**53}, f"EnergyOutOfRange({2**53}, {MAX_ENERGY_WH})"),
        ({"alert_above_energy_wh": 2**56 - 1}, f"EnergyOutOfRange({2**56 - 1}, {MAX_ENERGY_WH})"),
        ({"off_times": (OffTime(1, 1, 0, 1),) * 17}, "TooManyOffTimes(17, 16)"),
        ({"off_times": (OffTime(1, 1, 0, 1), OffTime(0, 1, 0, 1))}, "OffTimeInvalid(1, 0, 1, 0, 1)"),
        ({"off_times": (OffTime(1, 0, 0, 1),)}, "OffTimeInvalid(0, 1, 0, 0, 1)"),
        ({"off_times": (OffTime(1, 128, 0, 1),)}, "OffTimeInvalid(0, 1, 128, 0, 1)"),
        ({"off_times": (OffTime(1, 1, 60, 60),)}, "OffTimeInvalid(0, 1, 1, 60, 60)"),
        ({"off_times": (OffTime(1, 1, 0, 1_441),)}, "OffTimeInvalid(0, 1, 1, 0, 1441)"),
    ],
)
def test_values_out_of_range_are_refused(home: Policies, changed: dict[str, object], refusal: str) -> None:
    assert reason(home.set(OWNER, METER, 0, replace(PolicyValues(), **changed))) == refusal
    assert home.version(METER) == 0


def test_nobody_is_nobody(home: Policies) -> None:
    assert reason(home.act(OWNER, "appoint", METER, bytes(20))) == "ZeroAddress()"


def test_a_meter_that_takes_anothers_place_goes_on_with_its_policy(home: Policies) -> None:
    home.act(OWNER, "appoint", METER, FRIEND)
    home.set(OWNER, METER, 0, FULL)
    replace_meter(home, METER, NEXT)
    assert home.policy(NEXT) == home.policy(METER) == MeterPolicy(1, GENESIS_TIME_S, FULL)
    assert not home.may_write(NEXT, FRIEND)
    assert reason(home.set(OWNER, NEXT, 0, FULL)) == f"VersionChanged({shown(NEXT)}, 0, 1)"
    assert home.set(OWNER, NEXT, 1, PolicyValues()).success
    assert home.version(NEXT) == 2
    replace_meter(home, NEXT, LAST, before=METER)
    assert home.policy(LAST) == MeterPolicy(2, GENESIS_TIME_S, PolicyValues())


def test_the_policy_of_another_household_is_not_taken_over(home: Policies) -> None:
    home.set(OWNER, METER, 0, FULL)
    replace_meter(home, METER, NEXT)
    home.book.set_meter(NEXT, Record(OTHER, SUPPLIER, predecessor=METER))
    assert home.policy(NEXT).version == 0


@pytest.mark.parametrize(("changes", "version"), [(64, 1), (65, 0)])
def test_a_policy_is_found_over_64_changes(home: Policies, changes: int, version: int) -> None:
    home.set(OWNER, METER, 0, FULL)
    before = METER
    for number in range(changes):
        meter = bytes([0x88, number]) + bytes(18)
        home.book.set_meter(meter, Record(OWNER, SUPPLIER, predecessor=before))
        before = meter
    assert home.version(before) == version


def test_off_times_hold_by_the_local_clock() -> None:
    evening = PolicyValues(off_times=(OffTime(2, 0b0000001, 18 * 60, 22 * 60), OffTime(3, ALL_WEEKDAYS, 0, 1_440)))
    monday = 4 * 86_400  # 1970-01-05
    assert evening.circuits_off(monday + 18 * 3_600 - 1) == {3}
    assert evening.circuits_off(monday + 18 * 3_600) == {2, 3}
    assert evening.circuits_off(monday + 22 * 3_600 - 1) == {2, 3}
    assert evening.circuits_off(monday + 22 * 3_600) == {3}
    assert evening.circuits_off(monday + 86_400 + 18 * 3_600) == {3}
    loads = PolicyValues(saving_above_power_w=2_000, maximum_load_w=3_000)
    assert [loads.is_saving(2_000, 0), loads.is_saving(2_001, 0), loads.is_saving(0, 10**9)] == [False, True, False]
    assert [loads.is_overloaded(3_000), loads.is_overloaded(3_001)] == [False, True]
    assert not PolicyValues().is_overloaded(10**9)


off_times = st.builds(
    lambda circuit, weekdays, first, length: OffTime(circuit, weekdays, first, min(1_440, first + length)),
    st.integers(1, 255),
    st.integers(1, 127),
    st.integers(0, 1_439),
    st.integers(1, 1_440),
)
drawn_values = st.builds(
    PolicyValues,
    st.integers(0, MAX_POWER_W),
    st.integers(0, MAX_ENERGY_WH),
    st.integers(0, MAX_POWER_W),
    st.integers(0, MAX_POWER_W),
    st.integers(0, MAX_ENERGY_WH),
    st.lists(off_times, max_size=MAX_OFF_TIMES).map(tuple),
)
people = st.sampled_from([OWNER, OTHER, FRIEND, STRANGER])
meters = st.sampled_from([METER, FOREIGN])


class AnySequence(RuleBasedStateMachine):
    """Writings and appointments by anybody for any meter leave what a model in Python has, and nothing else."""

    @initialize()
    def open(self) -> None:
        self.policies = Policies()
        self.owners = {METER: OWNER, FOREIGN: OTHER}
        for meter, owner in self.owners.items():
            self.policies.book.set_meter(meter, Record(owner, SUPPLIER))
        self.model = {meter: (0, PolicyValues()) for meter in self.owners}
        self.appointed: set[tuple[bytes, bytes]] = set()

    @rule(writer=people, meter=meters, values=drawn_values, behind=st.sampled_from([0, 0, 0, 1]))
    def write(self, writer: bytes, meter: bytes, values: PolicyValues, behind: int) -> None:
        version = self.model[meter][0]
        result = self.policies.set(writer, meter, version + behind, values)
        allowed = writer == self.owners[meter] or (meter, writer) in self.appointed
        if self._agrees(result, allowed and not behind):
            assert decode_values(the_event(result).arguments["values"]) == values
            self.model[meter] = (version + 1, values)

    @rule(by=people, meter=meters, person=people)
    def appoint(self, by: bytes, meter: bytes, person: bytes) -> None:
        result = self.policies.act(by, "appoint", meter, person)
        if self._agrees(result, by == self.owners[meter] and (meter, person) not in self.appointed):
            self.appointed.add((meter, person))

    @rule(by=people, meter=meters, person=people)
    def dismiss(self, by: bytes, meter: bytes, person: bytes) -> None:
        result = self.policies.act(by, "dismiss", meter, person)
        if self._agrees(result, by in (self.owners[meter], person) and (meter, person) in self.appointed):
            self.appointed.remove((meter, person))

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        for meter, (version, values) in self.model.items():
            found = self.policies.policy(meter)
            assert (found.version, found.values) == (version, values)
            for person in (OWNER, OTHER, FRIEND, STRANGER):
                expected = person == self.owners[meter] or (meter, person) in self.appointed
                assert self.policies.may_write(meter, person) == expected

    @staticmethod
    def _agrees(result: Result, allowed: bool) -> bool:
        assert result.success == allowed, reason(result)
        return allowed


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=25, stateful_step_count=20)
