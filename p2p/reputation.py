"""Points for misbehaviour, forgiven with time, and bans for those who collect too many. Pure bookkeeping on a Clock.

A node is held to account by its id; whoever never showed one, by the address. Bans live in memory: after a restart
everybody has another chance. What an attacker on the way could have done costs its victim nothing (see AlteredFrame).
"""

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv6Address

from p2p.fields import IpAddress
from p2p.identity import NodeId
from p2p.limits import BAN_POINTS, BAN_TIME_S, BANNED_PREFIX_IPV6, MAX_REMEMBERED_OFFENDERS, POINT_DECAY_S
from p2p.subnet import Reach, Subnet, enclosing, reach
from primitives.clock import Clock


class Offence(Enum):
    """What a peer can do wrong."""

    INVALID_BLOCK = auto()
    """A block or header that breaks a rule, wrong seals included: no honest node passes one on."""
    INVALID_FRAME = auto()
    """An authentic frame that is no frame, or of a message beyond its size."""
    INVALID_MESSAGE = auto()
    WRONG_ANSWER = auto()
    """Headers, bodies or transactions other than those asked for."""
    INVALID_TRANSACTION = auto()
    """One that can be valid in no state: malformed, wrong signature, another chain."""
    FLOOD = auto()
    """More messages, requests or announcements than a limit allows."""
    UNSOLICITED_ANSWER = auto()
    """Perhaps to a request that was given up meanwhile."""
    FAILED_HANDSHAKE = auto()
    STALLED_REQUEST = auto()
    """Promised by announcement, or within its range, and never answered."""
    TOO_SLOW = auto()
    UNKNOWN_MESSAGE = auto()
    """Perhaps a newer version."""


POINTS: dict[Offence, int] = {
    Offence.INVALID_BLOCK: 100,
    Offence.INVALID_FRAME: 100,
    Offence.INVALID_MESSAGE: 50,
    Offence.WRONG_ANSWER: 50,
    Offence.INVALID_TRANSACTION: 25,
    Offence.FLOOD: 20,
    Offence.UNSOLICITED_ANSWER: 10,
    Offence.FAILED_HANDSHAKE: 10,
    Offence.STALLED_REQUEST: 10,
    Offence.TOO_SLOW: 5,
    Offence.UNKNOWN_MESSAGE: 2,
}


class Verdict(Enum):
    """What to do with a peer after an offence."""

    KEEP = auto()
    DISCONNECT = auto()
    """And let it come back: a validator or static peer is never banned, its votes may be needed."""
    BAN = auto()
    """Disconnect, and refuse it for the time of a ban."""


@dataclass(slots=True)
class _Record:
    points: int
    since_s: int
    """The points are as of this time."""
    banned_at_s: int | None = None


class Reputation:
    """What each node and address has done. A node id and an address are counted apart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[NodeId | Subnet, _Record] = {}

    def record(self, offender: NodeId | IpAddress, offence: Offence, *, is_reserved: bool = False) -> Verdict:
        """Count an offence. The machine's own address is never banned: all nodes on it would be."""
        key = _key(offender)
        if key is None:
            return Verdict.DISCONNECT if POINTS[offence] >= BAN_POINTS else Verdict.KEEP
        record = self._settled(key) or _Record(0, self._clock.time_s())
        record.points += POINTS[offence]
        if record.points < BAN_POINTS:
            self._keep(key, record)
            return Verdict.KEEP
        if is_reserved:
            self._records.pop(key, None)
            return Verdict.DISCONNECT
        self.ban(offender)
        return Verdict.BAN

    def ban(self, offender: NodeId | IpAddress) -> None:
        """Ban at once."""
        if (key := _key(offender)) is not None:
            now_s = self._clock.time_s()
            self._keep(key, _Record(0, now_s, now_s))

    def pardon(self, offender: NodeId | IpAddress) -> None:
        """Forget everything about an offender."""
        if (key := _key(offender)) is not None:
            self._records.pop(key, None)

    def is_banned(self, offender: NodeId | IpAddress) -> bool:
        key = _key(offender)
        record = None if key is None else self._settled(key)
        return record is not None and record.banned_at_s is not None

    def points(self, offender: NodeId | IpAddress) -> int:
        """What is not forgiven yet."""
        key = _key(offender)
        record = None if key is None else self._settled(key)
        return 0 if record is None else record.points

    def _settled(self, key: NodeId | Subnet) -> _Record | None:
        """The record as of now; None, and forgotten, where nothing is left of it."""
        record = self._records.get(key)
        if record is None:
            return None
        now_s = self._clock.time_s()
        # A Pi without a battery wakes up in the past: a clock set back begins the time anew, it does not extend it.
        if now_s < record.since_s:
            record.since_s = now_s
        if record.banned_at_s is not None:
            record.banned_at_s = min(record.banned_at_s, now_s)
            if now_s - record.banned_at_s >= BAN_TIME_S:
                record.banned_at_s = None
        forgiven = (now_s - record.since_s) // POINT_DECAY_S
        record.points = max(0, record.points - forgiven)
        record.since_s += forgiven * POINT_DECAY_S
        if record.points == 0 and record.banned_at_s is None:
            del self._records[key]
            return None
        return record

    def _keep(self, key: NodeId | Subnet, record: _Record) -> None:
        self._records[key] = record
        if len(self._records) <= MAX_REMEMBERED_OFFENDERS:
            return
        for known in list(self._records):
            self._settled(known)
        # A quarter at once, so that this walk is rare even under attack; bans go last.
        excess = len(self._records) - MAX_REMEMBERED_OFFENDERS * 3 // 4
        if excess > 0:
            by_weight = sorted(self._records, key=lambda known: _weight(self._records[known]))
            for known in by_weight[:excess]:
                del self._records[known]


def _weight(record: _Record) -> tuple[bool, int, int]:
    return record.banned_at_s is not None, record.banned_at_s or 0, record.points


def _key(offender: NodeId | IpAddress) -> NodeId | Subnet | None:
    if isinstance(offender, bytes):
        return offender
    if reach(offender) is Reach.MACHINE:
        return None
    return enclosing(offender, BANNED_PREFIX_IPV6 if isinstance(offender, IPv6Address) else 32)
