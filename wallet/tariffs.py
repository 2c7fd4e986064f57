"""Tariffs as the wallet knows them: what energy costs by which version, and the contract's refusals in words.

How a version is charged is the contract's to decide (contracts/src/Tariffs.sol, TariffMath.sol).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.addresses import TARIFFS_ADDRESS
from contracts.tariff_format import TariffVersion
from primitives.errors import UserError
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask, ask_one

MAX_LISTED = 256
"""Tariffs that are listed where no supplier is named: each takes three questions to the node."""


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version and the Unix time in s from which it holds."""

    from_s: int
    version: TariffVersion


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff as of one moment."""

    number: int
    name: str
    supplier: bytes
    holding: HeldVersion | None
    """None where no version holds yet."""
    announced: HeldVersion | None
    """A version that is to hold later."""


async def read_tariff(client: RpcClient, number: int, time_s: int, block: BlockTag = "latest") -> Tariff:
    """The tariff of that number, with the version that holds at a time. Raises UserError where there is none."""
    supplier = await ask_one(client, TARIFFS, "supplierOf", [number], block)
    if not any(supplier):
        raise UserError(f"There is no tariff number {number} on this network. `wattchain tariff list` shows which are.")
    name = await ask_one(client, TARIFFS, "nameOf", [number], block)
    from_s, values = await ask(client, TARIFFS, "versionOf", [number, time_s], block)
    latest_from_s, latest = await ask(client, TARIFFS, "latestVersion", [number], block)
    holding = HeldVersion(from_s, TariffVersion.from_result(values)) if values[7] else None
    announced = HeldVersion(latest_from_s, TariffVersion.from_result(latest)) if latest_from_s > time_s else None
    return Tariff(number, shown_name(name), supplier, holding, announced)


async def list_numbers(client: RpcClient, supplier: bytes | None, block: BlockTag = "latest") -> list[int]:
    """Numbers of a supplier's tariffs, or of the first MAX_LISTED of all."""
    if supplier is not None:
        return list(await ask_one(client, TARIFFS, "tariffsOf", [supplier], block))
    count = await ask_one(client, TARIFFS, "tariffCount", block=block)
    return list(range(1, min(count, MAX_LISTED) + 1))


def shown_name(name: bytes) -> str:
    """A tariff's name from its 32 bytes, which may hold anything."""
    text = name.rstrip(b"\0").decode("utf-8", "replace")
    return "".join([letter if letter.isprintable() else "?" for letter in text])


def _slab_bound(values: Mapping[str, Any]) -> str:
    return (
        f"Step {values['index'] + 1} ends wrongly, at {{upToWh}}: each step ends above the one before it, and the last "
        "one has no end."
    )


def _window(values: Mapping[str, Any]) -> str:
    number, start, end = values["index"] + 1, clock_text(values["fromMinute"]), clock_text(values["untilMinute"])
    return f"Window {number}, {start} to {end}, needs a weekday, and must begin before it ends on the same day."


def _window_prices(values: Mapping[str, Any]) -> str:
    return f"Window {values['index'] + 1} has {{count}} prices; it needs one for each of the {{slabs}} steps."


def clock_text(minute: int) -> str:
    """A minute of the day as a clock shows it: 1320 is "22:00"."""
    return f"{minute // 60:02}:{minute % 60:02}"


TARIFFS = Contract(
    name="Tariffs",
    address=TARIFFS_ADDRESS,
    title="the tariffs' contract",
    missing="This network has no contract for tariffs: its genesis file lacks it.",
    refusals={
        "AllowanceDearer": (
            "The allowance must not cost more than any other energy of the tariff: {allowancePriceWeiPerWh} is above "
            "{lowestPriceWeiPerWh}, or there is a price without an allowance."
        ),
        "NameMissing": "A tariff needs a name; give one with --name.",
        "NotSupplier": (
            "{caller} is not a supplier, and only suppliers have tariffs. A regulator makes it one with `wattchain "
            "registry add supplier {caller}`."
        ),
        "NotTariffOwner": "The tariff number {tariff} is another supplier's, not that of {caller}.",
        "PeriodInvalid": (
            "A billing period is the calendar month, or has from 1 to {maximumDays} days and a day on which it begins; "
            "{periodDays} days from day {anchorDay} on is neither."
        ),
        "SlabBoundInvalid": _slab_bound,
        "SlabCountInvalid": "A tariff has from 1 to {maximum} steps, not {count}.",
        "StorageFailed": "Version {number} could not be stored; nothing has changed.",
        "TariffUnknown": "There is no tariff number {tariff} on this network.",
        "TimeTooLarge": "The time {from} is too far ahead: a version can hold from {maximum} on at the latest.",
        "TooManyTariffs": "{supplier} has {maximum} tariffs, the most that one supplier can have; change one of those.",
        "VersionTooSoon": (
            "This can hold from {earliest} on at the earliest, not from {from}: what could make any reading dearer "
            "needs a day's notice, so that customers can react."
        ),
        "WindowCountInvalid": "A tariff has at most {maximum} times of use, not {count}.",
        "WindowInvalid": _window,
        "WindowPricesInvalid": _window_prices,
        "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
    },
)
