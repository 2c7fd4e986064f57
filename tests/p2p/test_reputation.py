"""Points, their decay, bans, and who is spared."""

from ipaddress import ip_address

import pytest

from p2p.limits import BAN_POINTS, BAN_TIME_S, MAX_REMEMBERED_OFFENDERS, POINT_DECAY_S
from p2p.reputation import POINTS, Offence, Reputation, Verdict
from primitives.clock import ManualClock

NODE = b"\x01" * 20
OTHER = b"\x02" * 20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reputation(clock: ManualClock) -> Reputation:
    return Reputation(clock)


def test_every_offence_has_points() -> None:
    assert set(POINTS) == set(Offence)
    assert all(0 < points <= BAN_POINTS for points in POINTS.values())


def test_one_grave_offence_is_enough_and_nobody_else_pays(reputation: Reputation) -> None:
    assert reputation.record(NODE, Offence.INVALID_BLOCK) is Verdict.BAN
    assert reputation.is_banned(NODE)
    assert not reputation.is_banned(OTHER)


def test_small_offences_add_up(reputation: Reputation) -> None:
    for _ in range(3):
        assert reputation.record(NODE, Offence.INVALID_TRANSACTION) is Verdict.KEEP
    assert reputation.points(NODE) == 75
    assert reputation.record(NODE, Offence.INVALID_TRANSACTION) is Verdict.BAN


def test_points_are_forgiven_with_time(reputation: Reputation, clock: ManualClock) -> None:
    reputation.record(NODE, Offence.INVALID_MESSAGE)
    clock.advance_s(POINT_DECAY_S - 1)
    assert reputation.points(NODE) == 50
    clock.advance_s(1)
    assert reputation.points(NODE) == 49
    clock.advance_s(49 * POINT_DECAY_S)
    assert reputation.points(NODE) == 0


def test_asking_often_does_not_slow_forgiving_down(reputation: Reputation, clock: ManualClock) -> None:
    reputation.record(NODE, Offence.INVALID_MESSAGE)
    for _ in range(2 * POINT_DECAY_S):
        clock.advance_s(1)
        reputation.points(NODE)
    assert reputation.points(NODE) == 48


def test_rare_mistakes_never_add_up(reputation: Reputation, clock: ManualClock) -> None:
    for _ in range(100):
        assert reputation.record(NODE, Offence.STALLED_REQUEST) is Verdict.KEEP
        clock.advance_s(POINTS[Offence.STALLED_REQUEST] * POINT_DECAY_S)


def test_a_ban_ends(reputation: Reputation, clock: ManualClock) -> None:
    reputation.ban(NODE)
    clock.advance_s(BAN_TIME_S - 1)
    assert reputation.is_banned(NODE)
    clock.advance_s(1)
    assert not reputation.is_banned(NODE)
    assert reputation.record(NODE, Offence.UNKNOWN_MESSAGE) is Verdict.KEEP


def test_a_clock_set_back_neither_extends_a_ban_nor_keeps_points(reputation: Reputation, clock: ManualClock) -> None:
    reputation.ban(NODE)
    reputation.record(OTHER, Offence.INVALID_MESSAGE)
    clock.advance_s(-1_000_000)
    assert reputation.is_banned(NODE)
    assert reputation.points(OTHER) == 50
    clock.advance_s(BAN_TIME_S)
    assert not reputation.is_banned(NODE)
    assert reputation.points(OTHER) == 0


def test_an_operator_can_pardon(reputation: Reputation) -> None:
    reputation.ban(NODE)
    reputation.pardon(NODE)
    reputation.pardon(OTHER)
    assert not reputation.is_banned(NODE)


def test_validators_and_static_peers_are_disconnected_but_never_banned(reputation: Reputation) -> None:
    assert reputation.record(NODE, Offence.INVALID_BLOCK, is_reserved=True) is Verdict.DISCONNECT
    assert not reputation.is_banned(NODE)
    assert reputation.points(NODE) == 0


def test_an_address_stands_for_what_its_owner_surely_has(reputation: Reputation) -> None:
    reputation.ban(ip_address("8.8.8.8"))
    reputation.ban(ip_address("2600:1:2:3::1"))
    assert reputation.is_banned(ip_address("8.8.8.8"))
    assert not reputation.is_banned(ip_address("8.8.8.9"))
    assert reputation.is_banned(ip_address("2600:1:2:3:ffff::9"))
    assert not reputation.is_banned(ip_address("2600:1:2:4::1"))


@pytest.mark.parametrize("text", ["127.0.0.1", "::1"])
def test_the_own_machine_is_never_banned(reputation: Reputation, text: str) -> None:
    loopback = ip_address(text)
    for _ in range(20):
        assert reputation.record(loopback, Offence.FAILED_HANDSHAKE) is Verdict.KEEP
    assert reputation.record(loopback, Offence.INVALID_FRAME) is Verdict.DISCONNECT
    reputation.ban(loopback)
    reputation.pardon(loopback)
    assert not reputation.is_banned(loopback)
    assert reputation.points(loopback) == 0


def test_a_flood_of_offenders_is_bounded_and_does_not_free_the_banned(
    reputation: Reputation, clock: ManualClock
) -> None:
    reputation.ban(NODE)
    for number in range(2 * MAX_REMEMBERED_OFFENDERS):
        reputation.record(number.to_bytes(20, "big"), Offence.UNKNOWN_MESSAGE)
        if number == MAX_REMEMBERED_OFFENDERS // 2:
            reputation.record(OTHER, Offence.INVALID_MESSAGE)
    assert reputation.is_banned(NODE)
    assert reputation.points(OTHER) == 50
    remembered = sum(reputation.points(number.to_bytes(20, "big")) > 0 for number in range(2 * 4_096))
    assert 0 < remembered <= MAX_REMEMBERED_OFFENDERS
