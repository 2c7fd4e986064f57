"""The books of a meter's year: what must be on the ledger, worked out plainly from what the meter was told.

No code of the meter's is used. A sample is what the daemon's observers saw: when it was in real time, the time of day
that the meter gave it, and what the home said. Energy of a home that tells power is the sum of power times the time
since the sample before it; a longer time than three intervals is a gap and counts for nothing, and so does what a power
cut has taken, which is a minute at most. A home with a register loses nothing. Every gap has to be marked.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.reading_format import StatusFlag
from meter.gaps import Gap
from tests.soak.year_node import AcceptedReading

SILENT = -(2**62)
"""In place of a measurement: the meter noticed that there is none."""
LONGEST_MS = 15_000
"""Three intervals; longer without a sample is a gap."""
CONFIRMATIONS = 2
LONGEST_LOSS_MS = 130_000
"""The card is written once a minute; the page that is being written when the power fails is lost, too."""
ROUNDING_S = 1
UNSURE_WH = 50
"""Used between two looks, at most, without a ledger."""
MWMS_PER_WH = 3_600_000_000


_Sums = tuple["array[int]", "array[int]"]

LONGEST_REIGN_S = 7_200
"""So long a reading is the last one at most: they are hourly."""


class BooksDiffer(AssertionError):
    """A promise was not kept."""


@dataclass(frozen=True, slots=True)
class Start:
    """Why the daemon starts here: first, kill, power cut or restart."""

    kind: str


class Log:
    """All samples of a year, 32 bytes each."""

    def __init__(self) -> None:
        self.elapsed_ms = array("q")
        """Real time, which never stands still."""
        self.time_s = array("q")
        """What the meter believes the time of day to be; -1 where it does not know."""
        self.first = array("q")
        """Power in mW, or the register of what was taken in mWh; SILENT for none."""
        self.second = array("q")
        """The register of what was given."""
        self.starts: dict[int, Start] = {}
        """Before which sample the daemon was started."""

    def __len__(self) -> int:
        return len(self.time_s)

    def start(self, start: Start) -> None:
        self.starts[len(self)] = start

    def add(self, elapsed_ms: int, time_s: int, first: int, second: int) -> None:
        self.elapsed_ms.append(elapsed_ms)
        self.time_s.append(time_s)
        self.first.append(first)
        self.second.append(second)


@dataclass(frozen=True, slots=True)
class Signing:
    """A reading at the moment when it is signed."""

    sequence: int
    time_s: int
    block_time_s: int
    """Of the newest block that the meter has heard of since it was started."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """Credit, in the Wh that it buys at the home's one price."""

    block_number: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class SupplyLook:
    """The relay, when nothing had changed for so long that it must have followed."""

    block_number: int
    """The newest block that the meter has heard of."""
    is_on: bool
    is_in_reach: bool
    """Whether the ledger was, for at least two blocks; otherwise it was not, for as long."""
    import_wh: int
    """The meter's own register."""


@dataclass(frozen=True, slots=True)
class Books:
    """What was found in order."""

    readings: int
    flagged: int
    """Readings with the flag for a gap."""
    import_wh: int
    export_wh: int


def check_sequences(accepted: Sequence[AcceptedReading], signed: int) -> None:
    """Each reading that was signed is on the ledger, once, in order. Raises BooksDiffer."""
    found = [one.sequence for one in accepted]
    if found != list(range(1, signed + 1)):
        wrong = next((place for place, sequence in enumerate(found, 1) if place != sequence), len(found) + 1)
        raise BooksDiffer(f"{signed} readings were signed, {len(found)} accepted; the first that differs is {wrong}")


def check_times(signings: Sequence[Signing]) -> None:
    """No reading is older than the newest block, or the one before it, when it is signed. Raises BooksDiffer."""
    last_s = 0
    for one in signings:
        if one.time_s < max(one.block_time_s, last_s):
            raise BooksDiffer(
                f"reading {one.sequence} is of Unix time {one.time_s}, the one before it of {last_s}, the newest block "
                f"that was known of {one.block_time_s}"
            )
        last_s = one.time_s


def check_energy(log: Log, accepted: Sequence[AcceptedReading], *, has_register: bool) -> Books:
    """To the Wh, at every single reading. Raises BooksDiffer."""
    sums = _register_sums(log) if has_register else _power_sums(log)
    cuts = _power_cuts(log)
    missing = _missing(log)
    # What power cuts may have taken from both sums so far, and the earliest sample that the last reading can then be
    # of: a card was written up to a minute ago, and where the time stands still a reading may be of any sample.
    explained: dict[tuple[int, int], int] = {(0, 0): 0}
    latest, marked, flagged = 0, 0, 0
    for reading in accepted:
        since = latest
        explained, latest = _explain(log, sums, cuts, reading, explained, has_register=has_register)
        is_flagged = bool(reading.flags & StatusFlag.GAP)
        flagged += is_flagged
        if not is_flagged and bisect_right(missing, min(explained.values())) > bisect_right(
            missing, max(since, marked)
        ):
            raise BooksDiffer(f"reading {reading.sequence} follows on a gap that it does not mark")
        marked = _last_of_time(log, latest) if is_flagged else latest
    last = accepted[-1]
    return Books(len(accepted), flagged, last.import_wh, last.export_wh)


def _explain(
    log: Log,
    sums: "_Sums",
    cuts: Sequence[int],
    reading: AcceptedReading,
    before: Mapping[tuple[int, int], int],
    *,
    has_register: bool,
) -> tuple[dict[tuple[int, int], int], int]:
    """The losses that explain a reading's registers, each with the earliest sample that it can then be of; and the
    latest sample of all. Raises BooksDiffer where nothing explains them."""
    explained: dict[tuple[int, int], int] = {}
    latest, possible = 0, set[tuple[int, int]]()
    first = _next_place(log, reading, min(before.values()))
    for place in _places_of_time(log, reading.time_s, first):
        if has_register:
            possible = _behind(log, sums, cuts, place)
        else:
            possible = _after_cuts(before, log, sums, cuts, place)
        for lost in possible:
            if _registers_wh(sums, place, lost) == reading.registers_wh:
                explained.setdefault(lost, place)
                latest = place
    if not explained:
        raise BooksDiffer(_difference(log, sums, reading, first, possible))
    return explained, latest


def _places_of_time(log: Log, time_s: int, place: int) -> Iterator[int]:
    """The samples of that time, from one of them on: several where the meter's time stood still.

    A power cut takes the time back to that of the last reading, so later ones may have come in between.
    """
    while place < len(log) and log.time_s[place] <= time_s + LONGEST_REIGN_S:
        if log.time_s[place] == time_s:
            yield place
        place += 1


def check_gaps(log: Log, gaps: Sequence[Gap], start_s: int) -> int:
    """Wherever the meter's clock was right before and after, its list of gaps has the stretch. How many these are.

    Raises BooksDiffer.
    """
    checked = 0
    last: int | None = None
    for place, kind in _measured(log):
        if last is not None:
            is_long = log.elapsed_ms[place] - log.elapsed_ms[last] > LONGEST_MS
            is_known = all(
                abs(log.time_s[at] - start_s - log.elapsed_ms[at] // 1000) <= ROUNDING_S for at in (last, place)
            )
            if is_known and (is_long or kind == "power cut"):
                checked += 1
                from_s, until_s = log.time_s[last], log.time_s[place]
                if not any(gap.from_s <= from_s and (gap.until_s or until_s) >= until_s for gap in gaps):
                    raise BooksDiffer(
                        f"nothing was measured from Unix time {from_s} to {until_s} ({kind or 'running'}), and no gap "
                        "is listed"
                    )
        last = place
    return checked


def _next_place(log: Log, reading: AcceptedReading, first: int) -> int:
    """The next sample of a reading's time. Raises BooksDiffer where there is none."""
    try:
        return log.time_s.index(reading.time_s, first)
    except ValueError:
        raise BooksDiffer(f"no sample is of Unix time {reading.time_s}, as reading {reading.sequence} is") from None


def _last_of_time(log: Log, place: int) -> int:
    """Where the meter's time stands still, since its clock was set back, a reading may be of any of these samples."""
    last = place
    while last + 1 < len(log) and log.time_s[last + 1] == log.time_s[place]:
        last += 1
    return last


def _registers_wh(sums: "_Sums", place: int, lost: tuple[int, int]) -> tuple[int, int]:
    return (sums[0][place] - lost[0]) // MWMS_PER_WH, (sums[1][place] - lost[1]) // MWMS_PER_WH


def _after_cuts(
    before: Mapping[tuple[int, int], int], log: Log, sums: "_Sums", cuts: Sequence[int], place: int
) -> set[tuple[int, int]]:
    """What the power cuts up to a sample may have taken, those before another one included."""
    taken = set()
    for lost, since in before.items():
        if since <= place:
            possible = {lost}
            for cut in cuts[bisect_right(cuts, since) : bisect_right(cuts, place)]:
                losses = _losses(log, sums, cut, since)
                possible = {(one[0] + loss[0], one[1] + loss[1]) for one in possible for loss in losses}
            taken |= possible
    return taken


def _behind(log: Log, sums: "_Sums", cuts: Sequence[int], place: int) -> set[tuple[int, int]]:
    """By how much a register may be behind the home's: by nothing, unless nothing was measured since a power cut.

    What is measured before the time of day is known waits for it: only then it is known how far a register can have
    gone meanwhile.
    """
    measured = place
    while measured and (log.first[measured] == SILENT or log.time_s[measured] < 0):
        measured -= 1
    first = bisect_right(cuts, measured)
    if first == bisect_right(cuts, place):
        return {(0, 0)}
    last = cuts[first] - 1
    since_cut = sums[0][place] - sums[0][last], sums[1][place] - sums[1][last]
    held = {(lost[0] + since_cut[0], lost[1] + since_cut[1]) for lost in _losses(log, sums, cuts[first], 0)}
    return {(0, 0)} | held


def _losses(log: Log, sums: "_Sums", cut: int, since: int) -> set[tuple[int, int]]:
    """What a power cut may have taken: all that came behind one of the samples of the last minute or two."""
    last = kept = cut - 1
    losses = set()
    while kept >= since and log.elapsed_ms[last] - log.elapsed_ms[kept] <= LONGEST_LOSS_MS:
        losses.add((sums[0][last] - sums[0][kept], sums[1][last] - sums[1][kept]))
        kept -= 1
    return losses


def _difference(log: Log, sums: "_Sums", reading: AcceptedReading, place: int, possible: set[tuple[int, int]]) -> str:
    own = sorted({_registers_wh(sums, place, lost) for lost in possible})
    return (
        f"reading {reading.sequence} of Unix time {reading.time_s} says {reading.registers_wh} Wh, the home's own are "
        f"{own[:1]} to {own[-1:]} at sample {place}, {_story(log, place)}"
    )


def _story(log: Log, place: int) -> str:
    starts = [(at, start.kind) for at, start in log.starts.items() if at <= place][-3:]
    return f"after the starts {starts}"


def _register_sums(log: Log) -> "_Sums":
    """What the home's register went on by since the first sample, in mW * ms; nothing is ever missing."""
    sums = array("q"), array("q")
    first: tuple[int, int] | None = None
    last = (0, 0)
    for place in range(len(log)):
        if log.first[place] != SILENT:
            now = log.first[place], log.second[place]
            first = first or now
            last = (now[0] - first[0]) * 3_600_000, (now[1] - first[1]) * 3_600_000
        sums[0].append(last[0])
        sums[1].append(last[1])
    return sums


def _power_sums(log: Log) -> "_Sums":
    """Power times the time since the sample before, where that is no gap, in mW * ms.

    After a power cut nothing is known of the time before, however short it was.
    """
    sums = array("q"), array("q")
    taken = given = 0
    last_ms: int | None = None
    cuts = frozenset(_power_cuts(log))
    for place in range(len(log)):
        power_mw, now_ms = log.first[place], log.elapsed_ms[place]
        if place in cuts:
            last_ms = None
        if power_mw != SILENT:
            if last_ms is not None and now_ms - last_ms <= LONGEST_MS:
                if power_mw >= 0:
                    taken += power_mw * (now_ms - last_ms)
                else:
                    given -= power_mw * (now_ms - last_ms)
            last_ms = now_ms
        sums[0].append(taken)
        sums[1].append(given)
    return sums


def _power_cuts(log: Log) -> list[int]:
    """Places of the first samples after power cuts."""
    return sorted({place for place, start in log.starts.items() if start.kind == "power cut" and place < len(log)})


def _measured(log: Log) -> list[tuple[int, str]]:
    """Places of samples with a measurement, and why the daemon was started since the one before, if it was."""
    found, kind = [], ""
    for place in range(len(log)):
        start = log.starts.get(place)
        if start is not None:
            kind = "power cut" if "power cut" in (kind, start.kind) else start.kind
        if log.first[place] != SILENT:
            found.append((place, kind))
            kind = ""
    return found


def _missing(log: Log) -> list[int]:
    """Places of the samples before which something is missing."""
    found = []
    last_ms: int | None = None
    for place in range(len(log)):
        if log.first[place] != SILENT:
            if last_ms is not None and log.elapsed_ms[place] - last_ms > LONGEST_MS:
                found.append(place)
            last_ms = log.elapsed_ms[place]
    return found


def check_relay(
    looks: Sequence[SupplyLook], accepted: Sequence[AcceptedReading], top_ups: Sequence[TopUp]
) -> tuple[int, int]:
    """The supply is on while there is credit: by final blocks, or without a ledger in reach by what was used since.

    How many looks there were, and how many of them without a ledger. Raises BooksDiffer.
    """
    credit_blocks = [top_up.block_number for top_up in top_ups]
    blocks = [reading.block_number for reading in accepted]
    alone = 0
    for look in looks:
        final = max(look.block_number - CONFIRMATIONS, 0)
        credit_wh = sum(top_up.energy_wh for top_up in top_ups[: bisect_right(credit_blocks, final)])
        charged = bisect_right(blocks, final)
        used_wh = accepted[charged - 1].import_wh if charged else 0
        if not look.is_in_reach:
            alone += 1
            used_wh = look.import_wh
            # Which was the last block that the meter asked about, the one at hand or the one before?
            if any(final - 2 <= block <= final + 2 for block in credit_blocks) or abs(credit_wh - used_wh) < UNSURE_WH:
                continue
        if look.is_on != (credit_wh > used_wh):
            raise BooksDiffer(
                f"the supply was {'on' if look.is_on else 'off'} behind block {look.block_number}, with {credit_wh} Wh "
                f"paid for and {used_wh} Wh used ({'a' if look.is_in_reach else 'no'} ledger in reach)"
            )
    return len(looks), alone
