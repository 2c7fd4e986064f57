"""Short codes that are typed on a meter's keypad: OpenPAYGO tokens (https://enaccess.github.io/OpenPAYGO-docs).

A code says "add so many units" or "set to so many", and which of a meter's codes it is: its count. Both sides know the
meter's key and starting code; each count has its own hash, so a code works on one meter and once. What a unit is worth
and what is kept on the disk is for others (wallet/short_code_book.py, meter/keypad.py): here are values only.

A code is the last element of a chain of hashes of `count` steps that begins with the starting code; its last digits (3,
or 6 in a long code) are the starting code's plus the value. Adding takes even counts, everything else odd ones.
"""

from dataclasses import dataclass, replace
from enum import Enum

from primitives.errors import Invalid
from primitives.siphash import siphash_2_4

KEY_BYTES = 16
MAX_STARTING_CODE = 999_999_999
MAX_VALUE = 995
"""Units in a short code; above it are codes with a meaning of their own."""
MAX_LONG_VALUE = 999_999
MAX_COUNT = 20_000
"""Ten thousand codes of a meter. Checking a code walks the chain from its beginning: a second or so on a Pi at most."""
COUNTS_AHEAD = 64
"""How many counts a code may be ahead of the last one: others may never have been typed."""
SYNC_COUNTS_AHEAD = 100
COUNTS_BEHIND = 16
"""Among so many counts behind the last one, codes that add may still be typed, each once: customers keep them."""

_DISABLE_VALUE, _SYNC_VALUE = 998, 999


class InvalidCode(Invalid):
    """Not one of this meter's codes, or one too far away."""


class CodeUsed(InvalidCode):
    """One of this meter's codes that counts no more."""


class CodeKind(Enum):
    """What a code does; named as in the specification."""

    ADD_TIME = "add"
    """More units."""
    SET_TIME = "set"
    """So many units, whatever there were."""
    DISABLE_PAYG = "unlock"
    """The meter is paid for: units do not matter any more."""
    COUNTER_SYNC = "sync"
    """Only the count: codes before it count no more."""


@dataclass(frozen=True, slots=True)
class CodeSecret:
    """What a meter and its supplier share."""

    key: bytes
    starting_code: int
    keypad_1_to_4: bool = False
    """The keypad has only the digits 1 to 4: codes are longer (15 digits instead of 9, 20 instead of 12)."""

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES or not 0 <= self.starting_code <= MAX_STARTING_CODE:
            raise InvalidCode(f"a code needs a key of {KEY_BYTES} bytes and a starting code of at most 9 digits")


@dataclass(frozen=True, slots=True)
class CodeCounts:
    """Which codes a meter has taken."""

    last: int
    """The greatest count so far."""
    used: frozenset[int] = frozenset()
    """Counts up to `last` that were used or are void, of the last COUNTS_BEHIND."""


@dataclass(frozen=True, slots=True)
class ReadCode:
    """A code that counts, and the counts after it."""

    kind: CodeKind
    value: int
    """Units; 0 where the kind has none."""
    count: int
    counts: CodeCounts


@dataclass(frozen=True, slots=True)
class _Form:
    """Short or long code."""

    base: int
    digits: int
    bits: int
    largest_value: int


_SHORT = _Form(1_000, 9, 30, MAX_VALUE)
_LONG = _Form(1_000_000, 12, 40, MAX_LONG_VALUE)


def starting_code_of(key: bytes) -> int:
    """The starting code that goes with a key where none is chosen."""
    return _folded(siphash_2_4(key, key))


def next_count(count: int, kind: CodeKind) -> int:
    """The count of a code of this kind after `count`: the next even one to add, the next odd one for the others."""
    is_odd = 0 if kind is CodeKind.ADD_TIME else 1
    return count + 1 if (count + 1) % 2 == is_odd else count + 2


def make_code(
    secret: CodeSecret, count: int, kind: CodeKind, value: int = 0, *, is_long: bool = False
) -> tuple[str, int]:
    """The code after the one with this count, and its own count. Raises InvalidCode for values that do not fit."""
    form = _LONG if is_long else _SHORT
    number = next_count(count, kind)
    if not 0 <= count < number <= MAX_COUNT:
        raise InvalidCode(f"a meter has codes up to count {MAX_COUNT}; give it a new key")
    code = _chain_value(secret, number, _encoded_value(form, kind, value), form)
    if secret.keypad_1_to_4:
        pairs = range(form.bits - 2, -1, -2)
        return "".join([str((code >> shift & 3) + 1) for shift in pairs]), number
    return str(code).zfill(form.digits), number


def read_code(secret: CodeSecret, counts: CodeCounts, text: str) -> ReadCode:
    """What a typed code says; spaces and dashes do not matter. Raises CodeUsed, or InvalidCode."""
    form, code = _parse(secret, text)
    value = (code - secret.starting_code) % form.base
    was_used = False
    reach = SYNC_COUNTS_AHEAD if value == _SYNC_VALUE else COUNTS_AHEAD
    element = _first_element(secret, value, form)
    for count in range(counts.last + reach + 1):
        if count and element - element % form.base + code % form.base == code:
            kind = _kind_of(count, value)
            if _counts_still(kind, count, counts):
                has_value = kind in (CodeKind.ADD_TIME, CodeKind.SET_TIME)
                if has_value and value > form.largest_value:
                    raise InvalidCode("this is none of the meter's codes")
                return ReadCode(kind, value if has_value else 0, count, _counts_after(kind, count, counts))
            was_used = True
        element = _next_element(secret.key, element, form)
    if was_used:
        raise CodeUsed("this code was used already, or a later one has replaced it")
    raise InvalidCode("this is none of the meter's codes; look at each digit and type it again")


def _counts_still(kind: CodeKind, count: int, counts: CodeCounts) -> bool:
    """The count is never set back, not even by a code for the counter: what was used would count again."""
    if count > counts.last:
        return count <= counts.last + (SYNC_COUNTS_AHEAD if kind is CodeKind.COUNTER_SYNC else COUNTS_AHEAD)
    is_near = count > counts.last - COUNTS_BEHIND
    return kind is CodeKind.ADD_TIME and is_near and count not in counts.used


def _counts_after(kind: CodeKind, count: int, counts: CodeCounts) -> CodeCounts:
    last = max(counts.last, count)
    near = range(max(1, last - COUNTS_BEHIND + 1), last + 1)
    if kind is not CodeKind.ADD_TIME:
        return CodeCounts(last, frozenset(near))
    # Those that fell behind the window need no mark: they do not count in any case.
    return replace(counts, last=last, used=frozenset(one for one in near if one == count or one in counts.used))


def _kind_of(count: int, value: int) -> CodeKind:
    if count % 2 == 0:
        return CodeKind.ADD_TIME
    return {_DISABLE_VALUE: CodeKind.DISABLE_PAYG, _SYNC_VALUE: CodeKind.COUNTER_SYNC}.get(value, CodeKind.SET_TIME)


def _encoded_value(form: _Form, kind: CodeKind, value: int) -> int:
    if kind is CodeKind.DISABLE_PAYG:
        return _DISABLE_VALUE
    if kind is CodeKind.COUNTER_SYNC:
        return _SYNC_VALUE
    if not 0 <= value <= form.largest_value:
        raise InvalidCode(f"the code holds from 0 to {form.largest_value} units, got {value}")
    if kind is CodeKind.SET_TIME and value in (_DISABLE_VALUE, _SYNC_VALUE):
        raise InvalidCode(f"a code that sets to {value} units would be read as another kind of code")
    return value


def _chain_value(secret: CodeSecret, count: int, value: int, form: _Form) -> int:
    element = first = _first_element(secret, value, form)
    for _ in range(count):
        element = _next_element(secret.key, element, form)
    return element - element % form.base + first % form.base


def _first_element(secret: CodeSecret, value: int, form: _Form) -> int:
    """The starting code with the value in its last digits."""
    start = secret.starting_code
    return start - start % form.base + (start + value) % form.base


def _next_element(key: bytes, element: int, form: _Form) -> int:
    if form is _SHORT:
        return _folded(siphash_2_4(key, element.to_bytes(4, "big") * 2))
    upper = siphash_2_4(key, element.to_bytes(8, "big")) >> 24
    return upper if upper < 10**12 else upper - 99_511_627_777


def _folded(hash_: int) -> int:
    """64 bits folded into at most nine digits."""
    folded = (hash_ >> 32 ^ hash_ & 2**32 - 1) >> 2
    return folded if folded < 10**9 else folded - 73_741_825


def _parse(secret: CodeSecret, text: str) -> tuple[_Form, int]:
    typed = "".join([letter for letter in text[:100] if letter not in " -*#\n"])
    allowed = set("1234") if secret.keypad_1_to_4 else set("0123456789")
    for form in (_SHORT, _LONG):
        length = form.bits // 2 if secret.keypad_1_to_4 else form.digits
        if len(typed) == length and set(typed) <= allowed:
            if not secret.keypad_1_to_4:
                return form, int(typed)
            code = 0
            for digit in typed:
                code = code << 2 | int(digit) - 1
            if code < 10**form.digits:
                return form, code
    lengths = "15 or 20 digits from 1 to 4" if secret.keypad_1_to_4 else "9 or 12 digits"
    raise InvalidCode(f"a code has {lengths}; look at it and type it again")
