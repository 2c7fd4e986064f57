"""Tariffs on a ledger, with a registry that knows some suppliers, and a model of its prices in plain Python.

The model gets there by other ways than the contract: the marginal cost is the difference of two cumulative costs,
months and weekdays are those of the standard library's calendar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from contracts.addresses import EXHAUSTION_ADDRESS, REGISTRY_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc
from contracts.tariff_format import (
    GenesisTariff,
    Slab,
    TariffVersion,
    TimeOfUse,
    genesis_tariffs_nonce,
    genesis_tariffs_storage,
    genesis_version_codes,
)
from tests.contracts.ledgers import Ledger, Result, make_ledger

TARIFFS = load_artifact("Tariffs")
SUPPLIER, RIVAL, OWNER, STRANGER = (bytes([number]) * 20 for number in (0x51, 0x52, 0x53, 0x54))
KWH = 1_000
WATT = 10**18
EPOCH = date(1970, 1, 1)

EL_DAPP_SLABS = tuple(
    Slab(price_milli_watt * WATT // 100 // KWH, up_to_wh)
    for price_milli_watt, up_to_wh in ((296, 100 * KWH), (556, 300 * KWH), (916, 500 * KWH), (1_061, 2**64 - 1))
)
"""El DApp, listing 4: 2.96, 5.56, 9.16 and 10.61 a kWh with steps at 100, 300 and 500 kWh."""

# The answer to every call: what the slot of the address in its first argument holds.
_ROLES_CODE = bytes.fromhex("600435545f5260205ff3")
_SUPPLIER_ROLE, _REGULATOR_ROLE = 2, 1
_DEAF_CODE = b"\0"


def tariff_accounts(tariffs: Sequence[GenesisTariff]) -> Alloc:
    """Tariffs and the accounts of its versions, as a genesis file has them."""
    alloc: Alloc = {
        "0x" + address.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + code.hex()}
        for address, code in genesis_version_codes(tariffs).items()
    }
    alloc["0x" + TARIFFS_ADDRESS.hex()] = {
        "balance": "0x0",
        "nonce": hex(genesis_tariffs_nonce(tariffs)),
        "code": "0x" + TARIFFS.runtime_code.hex(),
        "storage": {hex(slot): hex(value) for slot, value in genesis_tariffs_storage(tariffs).items() if value},
    }
    return alloc


class TariffStage:
    """Tariffs alone: its registry knows two suppliers, and nobody listens."""

    def __init__(self, *tariffs: GenesisTariff) -> None:
        roles = {SUPPLIER: _SUPPLIER_ROLE, RIVAL: _SUPPLIER_ROLE, OWNER: _REGULATOR_ROLE}
        self.ledger: Ledger = make_ledger(
            tariff_accounts(tariffs)
            | {
                "0x" + REGISTRY_ADDRESS.hex(): {
                    "balance": "0x0",
                    "nonce": "0x1",
                    "code": "0x" + _ROLES_CODE.hex(),
                    "storage": {"0x" + address.hex(): hex(role) for address, role in roles.items()},
                },
                "0x" + EXHAUSTION_ADDRESS.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + _DEAF_CODE.hex()},
            }
        )

    def create(self, version: TariffVersion, from_s: int = 0, sender: bytes = SUPPLIER) -> Result:
        return self.send(sender, "createTariff", b"house".ljust(32, b"\0"), from_s, version.argument())

    def announce(self, tariff: int, version: TariffVersion, from_s: int = 0, sender: bytes = SUPPLIER) -> Result:
        return self.send(sender, "announceVersion", tariff, from_s, version.argument())

    def send(self, sender: bytes, function: str, *arguments: object) -> Result:
        return self.ledger.transact(sender, TARIFFS_ADDRESS, TARIFFS.abi.encode_call(function, arguments))

    def ask(self, function: str, *arguments: object) -> tuple[object, ...]:
        result = self.ledger.call(STRANGER, TARIFFS_ADDRESS, TARIFFS.abi.encode_call(function, arguments))
        assert result.success, TARIFFS.abi.revert_reason(result.output)
        return TARIFFS.abi.decode_result(function, result.output)

    def held_at(self, tariff: int, time_s: int) -> tuple[int, TariffVersion | None]:
        """(time from which it holds, version) at a time."""
        if self.ask("versionAt", tariff, time_s) == (bytes(20),):
            return 0, None
        from_s, values = self.ask("versionOf", tariff, time_s)
        assert isinstance(from_s, int)
        assert isinstance(values, tuple)
        return from_s, TariffVersion.from_result(values)


@dataclass
class RunningModel:
    """Where a meter stands: as TariffMath.Running, computed independently."""

    used_wh: int = 0
    end_day: int = 0
    charged_day: int = 0

    def charge(
        self,
        version: TariffVersion,
        imported_wh: int,
        exported_wh: int,
        previous_s: int,
        time_s: int,
        zone_s: int,
    ) -> tuple[int, int, int]:
        """(for energy, for days, for export) in wei."""
        moment = local_moment(time_s, zone_s)
        day = (moment.date() - EPOCH).days
        if day >= self.end_day:
            self.used_wh = 0
            self.end_day = period_end(version, moment.date())
        days = 0
        if previous_s:
            before = (local_moment(previous_s, zone_s).date() - EPOCH).days
            days = max(0, day - max(before, self.charged_day))
        self.charged_day = max(day, self.charged_day)
        total = self.used_wh + imported_wh
        energy_wei = energy_cost(version, self.used_wh, total, moment)
        self.used_wh = total
        return energy_wei, days * version.standing_wei_per_day, exported_wh * version.export_price_wei_per_wh


def energy_cost(version: TariffVersion, used_wh: int, total_wh: int, moment: datetime) -> int:
    prices = [slab.price_wei_per_wh for slab in version.slabs]
    for window in version.windows:
        minute = 60 * moment.hour + moment.minute
        if window.weekdays >> moment.weekday() & 1 and window.from_minute <= minute < window.until_minute:
            prices = list(window.prices_wei_per_wh)
            break
    allowed_wh = max(0, min(total_wh, version.allowance_wh) - used_wh)
    cost = allowed_wh * version.allowance_price_wei_per_wh
    if version.whole:
        (price, *_) = [price for slab, price in zip(version.slabs, prices, strict=True) if total_wh <= slab.up_to_wh]
        return cost + (total_wh - used_wh - allowed_wh) * price

    def cumulative(amount_wh: int) -> int:
        bottoms = [0, *(slab.up_to_wh for slab in version.slabs)]
        return sum(
            max(0, min(amount_wh, slab.up_to_wh) - bottom) * price
            for slab, bottom, price in zip(version.slabs, bottoms, prices, strict=False)
        )

    return cost + cumulative(total_wh) - cumulative(used_wh + allowed_wh)


def local_moment(time_s: int, zone_s: int) -> datetime:
    """The last second that a reading of this time covers, on the supplier's clock."""
    return datetime.fromtimestamp(max(0, time_s + zone_s - 1), UTC)


def period_end(version: TariffVersion, day: date) -> int:
    if version.period_days:
        end = version.anchor_day
        number = (day - EPOCH).days
        while end > number:
            end -= version.period_days
        end += (number - end) // version.period_days * version.period_days
        return end + version.period_days
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (next_month - EPOCH).days


def time_of_use(weekdays: int, start_hour: int, end_hour: int, *prices: int) -> TimeOfUse:
    return TimeOfUse(weekdays, 60 * start_hour, 60 * end_hour, prices)
