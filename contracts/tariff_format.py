"""Versions of tariffs: as arguments of calls to Tariffs, as the bytes that TariffMath reads, and in a genesis state.

The layout of the bytes is described in contracts/src/TariffMath.sol. Prices are wei per Wh, energy Wh. What is
wrong with a version is said before a transaction says it: the checks are those of Tariffs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS, REGISTRY_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import load_artifact
from primitives.errors import UserError
from primitives.keccak import keccak256
from primitives.rlp import encode as rlp_encode

MAX_SLABS = 16
MAX_WINDOWS = 16
MAX_PERIOD_DAYS = 366
MAX_TARIFFS = 64
"""Of one supplier."""
NOTICE_S = 86_400
"""What may be dearer holds that long after its announcement at the earliest."""
OPEN_BOUND_WH = 2**64 - 1
"""Upper bound of the last slab."""
MAX_PRICE_WEI_PER_WH = 2**64 - 1
MAX_STANDING_WEI_PER_DAY = 2**80 - 1
MAX_ALLOWANCE_WH = 2**56 - 1
NAME_BYTES = 32
DAY_MINUTES = 1_440
ALL_WEEKDAYS = 127
STOP = b"\0"
FLAG_WHOLE = 1


@dataclass(frozen=True, slots=True)
class Slab:
    """Energy of a billing period up to a total (inclusive; the last slab has OPEN_BOUND_WH), and what it costs."""

    price_wei_per_wh: int
    up_to_wh: int = OPEN_BOUND_WH


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """Prices, one for each slab, that hold instead on these weekdays (bit 0: Monday) between two minutes of the day."""

    weekdays: int
    from_minute: int
    until_minute: int
    prices_wei_per_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """All of a version. `period_days` 0 is the calendar month; see ITariffs.sol for each member."""

    slabs: tuple[Slab, ...]
    windows: tuple[TimeOfUse, ...] = ()
    whole: bool = False
    period_days: int = 0
    anchor_day: int = 0
    export_price_wei_per_wh: int = 0
    standing_wei_per_day: int = 0
    allowance_wh: int = 0
    allowance_price_wei_per_wh: int = 0

    @classmethod
    def flat(cls, price_wei_per_wh: int) -> "TariffVersion":
        """One price for everything."""
        return cls((Slab(price_wei_per_wh),))

    @classmethod
    def from_result(cls, values: Sequence[Any]) -> "TariffVersion":
        """Of a Version as the contract returns it."""
        whole, period_days, anchor_day, export_price, standing, allowance, allowance_price, slabs, windows = values
        return cls(
            slabs=tuple(Slab(price, bound) for bound, price in slabs),
            windows=tuple(TimeOfUse(days, start, end, tuple(prices)) for days, start, end, prices in windows),
            whole=whole,
            period_days=period_days,
            anchor_day=anchor_day,
            export_price_wei_per_wh=export_price,
            standing_wei_per_day=standing,
            allowance_wh=allowance,
            allowance_price_wei_per_wh=allowance_price,
        )

    def argument(self) -> tuple[object, ...]:
        """As the contract takes a Version."""
        return (
            self.whole,
            self.period_days,
            self.anchor_day,
            self.export_price_wei_per_wh,
            self.standing_wei_per_day,
            self.allowance_wh,
            self.allowance_price_wei_per_wh,
            [(slab.up_to_wh, slab.price_wei_per_wh) for slab in self.slabs],
            [
                (window.weekdays, window.from_minute, window.until_minute, list(window.prices_wei_per_wh))
                for window in self.windows
            ],
        )

    def encode(self, from_s: int) -> bytes:
        """The code of the account that keeps it, with the time from which it holds. Raises UserError as `check`."""
        self.check()
        parts = [
            STOP,
            (FLAG_WHOLE if self.whole else 0).to_bytes(1, "big"),
            len(self.slabs).to_bytes(1, "big"),
            len(self.windows).to_bytes(1, "big"),
            self.period_days.to_bytes(2, "big"),
            self.anchor_day.to_bytes(3, "big"),
            self.export_price_wei_per_wh.to_bytes(8, "big"),
            self.allowance_price_wei_per_wh.to_bytes(8, "big"),
            self.allowance_wh.to_bytes(7, "big"),
            self.standing_wei_per_day.to_bytes(10, "big"),
            from_s.to_bytes(5, "big"),
            bytes(1),
            *(slab.up_to_wh.to_bytes(8, "big") for slab in self.slabs),
            *(slab.price_wei_per_wh.to_bytes(8, "big") for slab in self.slabs),
        ]
        for window in self.windows:
            parts.append(window.weekdays.to_bytes(1, "big") + window.from_minute.to_bytes(2, "big"))
            parts.append(window.until_minute.to_bytes(2, "big") + bytes(3))
            parts += [price.to_bytes(8, "big") for price in window.prices_wei_per_wh]
        return b"".join(parts)

    def check(self) -> None:
        """Raises UserError for what Tariffs would refuse."""
        _check_count("steps", len(self.slabs), 1, MAX_SLABS)
        _check_count("times of use", len(self.windows), 0, MAX_WINDOWS)
        bounds = [slab.up_to_wh for slab in self.slabs]
        if bounds != sorted(set(bounds)) or bounds[0] <= 0 or bounds[-1] != OPEN_BOUND_WH:
            raise UserError("the steps of a tariff must rise, and the last one must be open")
        prices = [slab.price_wei_per_wh for slab in self.slabs]
        for window in self.windows:
            self._check_window(window)
            prices += window.prices_wei_per_wh
        for price in (*prices, self.export_price_wei_per_wh, self.allowance_price_wei_per_wh):
            _check_count("a price in wei per Wh", price, 0, MAX_PRICE_WEI_PER_WH)
        _check_count("the standing charge in wei a day", self.standing_wei_per_day, 0, MAX_STANDING_WEI_PER_DAY)
        _check_count("the days of a billing period", self.period_days, 0, MAX_PERIOD_DAYS)
        _check_count("the day on which a period begins", self.anchor_day, 0, 2**24 - 1 if self.period_days else 0)
        _check_count("the social allowance in Wh", self.allowance_wh, 0, MAX_ALLOWANCE_WH)
        if self.allowance_price_wei_per_wh > (min(prices) if self.allowance_wh else 0):
            raise UserError("the price of the social allowance must not be above any other price of the tariff")

    def _check_window(self, window: TimeOfUse) -> None:
        if not 0 < window.weekdays <= ALL_WEEKDAYS:
            raise UserError("a time of use needs a weekday")
        if not 0 <= window.from_minute < window.until_minute <= DAY_MINUTES:
            raise UserError("a time of use must begin before it ends, both on the same day")
        if len(window.prices_wei_per_wh) != len(self.slabs):
            raise UserError("a time of use needs a price for each step")


@dataclass(frozen=True, slots=True)
class GenesisTariff:
    """A tariff that is there from the start; its number is its place in the list, counted from 1."""

    supplier: bytes
    name: str
    version: TariffVersion = field(default_factory=lambda: TariffVersion.flat(0))


def tariff_name(name: str) -> bytes:
    """The name as the contract keeps it. Raises UserError where it is empty or too long."""
    data = name.encode()
    if not data or len(data) > NAME_BYTES or not name.isprintable():
        raise UserError(f"the name of a tariff must have from 1 to {NAME_BYTES} bytes")
    return data.ljust(NAME_BYTES, b"\0")


def version_address(number: int, creator: bytes = TARIFFS_ADDRESS) -> bytes:
    """The account that keeps the version of this number: Tariffs creates them with its nonces 1, 2, 3..."""
    return keccak256(rlp_encode([creator, number.to_bytes((number.bit_length() + 7) // 8, "big")]))[12:]


def genesis_version_codes(tariffs: Sequence[GenesisTariff]) -> dict[bytes, bytes]:
    """Address -> code of the accounts (nonce 1) that keep the first versions, which hold for all readings."""
    return {version_address(number): one.version.encode(0) for number, one in enumerate(tariffs, 1)}


def genesis_tariffs_nonce(tariffs: Sequence[GenesisTariff]) -> int:
    """The nonce of Tariffs, so that the next version that it creates gets a free number."""
    return 1 + len(tariffs)


def genesis_tariffs_storage(tariffs: Sequence[GenesisTariff]) -> dict[int, int]:
    """Slot -> content of Tariffs. Raises UserError for what the contract would refuse."""
    layout = load_artifact("Tariffs").storage_layout
    storage = layout.assign("registry", value=REGISTRY_ADDRESS) | layout.assign("listener", value=EXHAUSTION_ADDRESS)
    storage |= layout.assign("_counts", value={"tariffs": len(tariffs), "versions": len(tariffs)})
    own: dict[bytes, list[int]] = {}
    for number, one in enumerate(tariffs, 1):
        key = number.to_bytes(4, "big")
        storage |= layout.assign("_tariffs", key, value={"supplier": one.supplier, "number": number})
        storage |= layout.assign("nameOf", key, value=tariff_name(one.name))
        own.setdefault(one.supplier, []).append(number)
    for supplier, numbers in own.items():
        if len(numbers) > MAX_TARIFFS:
            raise UserError(f"a supplier has at most {MAX_TARIFFS} tariffs")
        storage |= layout.assign_list("_tariffsOf", numbers, supplier)
    return storage


def _check_count(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UserError(f"{what} must be from {least} to {most}, got {value}")
