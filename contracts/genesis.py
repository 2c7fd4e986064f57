"""The contracts as part of the genesis state: runtime code and storage, in geth's `alloc` form.

What a constructor or the first transactions would write is written into the storage directly, at the slots that the
compiler's layout names. Events of these first registrations do not exist: an index reads the state for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from contracts.addresses import (
    AUCTION_ADDRESS,
    BILLING_ADDRESS,
    CALIBRATIONS_ADDRESS,
    EXHAUSTION_ADDRESS,
    MARKET_ADDRESS,
    METER_ADDRESS,
    PAYMENT_CHANNEL_ADDRESS,
    POLICY_ADDRESS,
    REGISTRY_ADDRESS,
    TARIFFS_ADDRESS,
    VALIDATORS_ADDRESS,
)
from contracts.auction import AuctionRules, auction_storage
from contracts.binding import load_artifact
from contracts.market import MarketRules, market_storage
from contracts.reading_format import MAX_REGISTER_WH, MAX_ZONE_S, MIN_ZONE_S, ZONE_STEP_S, MeterStatus
from contracts.roles import Role
from contracts.tariff_format import (
    GenesisTariff,
    TariffVersion,
    genesis_tariffs_nonce,
    genesis_tariffs_storage,
    genesis_version_codes,
)
from primitives.errors import InvalidGenesis, UserError

Alloc = dict[str, dict[str, object]]
"""Address in hexadecimal -> balance, nonce, code and storage, as in geth's genesis files."""

ADDRESS_BYTES = 20
MAX_RATE_WEI_PER_WH = 2**64 - 1
MAX_LOW_CREDIT_WEI = 2**128 - 1
MAX_HELD_WEI = 10**33
"""Of all credits together, as of all money in Exhaustion."""
RATE_TARIFF_NAME = "one price"
MAX_VALIDATORS = 128
MAX_VOUCHERS = 8
"""Suppliers that vouch for one owner of meters, so that the owner is admitted where there are no fees."""
EXHAUSTION_SINK_NUMBER = 1
CONTRACT_NONCE = 1  # EIP-161, as if the contract had been created by a transaction


@dataclass(frozen=True, slots=True)
class GenesisMeter:
    """A prepaid meter that is installed from the start."""

    meter: bytes
    owner: bytes
    supplier: bytes
    opening_import_wh: int = 0
    opening_export_wh: int = 0
    credit_wei: int = 0
    low_credit_wei: int = 0
    tariff: int = 0
    """Its number; 0 for the first one of the supplier, or for none where the supplier has none."""
    point_of_supply: bytes = bytes(32)
    """Hash of the physical address."""


def genesis_alloc(
    operator: bytes,
    suppliers: Iterable[bytes] = (),
    rates_wei_per_wh: Mapping[bytes, int] | None = None,
    meters: Iterable[GenesisMeter] = (),
    validators: Iterable[bytes] = (),
    *,
    regulators: Iterable[bytes] | None = None,
    members: Mapping[bytes, Role] | None = None,
    zones_s: Mapping[bytes, int] | None = None,
    time_s: int = 0,
    market_rules: MarketRules | None = None,
    tariffs: Iterable[GenesisTariff] = (),
    auction_rules: AuctionRules | None = None,
) -> Alloc:
    """The accounts of the contracts, Validators only where there are any, to be merged into a genesis file's `alloc`.

    `operator` owns the registry. It is the first regulator as well unless `regulators` are named, or it is a supplier
    itself. `suppliers` are known from the start. `tariffs` are numbered from 1; after them, each supplier in
    `rates_wei_per_wh` has one with a single price. Their first versions hold for all readings from then on.
    `members` are producers, consumers and relays. `zones_s`: seconds east of UTC of a supplier's local time. `time_s`
    is that of the first block, when the meters were installed. `market_rules` and `auction_rules` are the first ones
    of market and auction. `validators` make the first block, and decide who makes the others. Raises InvalidGenesis for
    values that the contracts themselves would refuse.
    """
    supplier_list, meter_list, validator_list = list(suppliers), list(meters), list(validators)
    zones = dict(zones_s or {})
    tariff_list = _tariffs(tariffs, rates_wei_per_wh or {}, supplier_list)
    meter_list = [_with_tariff(meter, tariff_list) for meter in meter_list]
    if regulators is None:
        regulators = () if operator in supplier_list else (operator,)
    _check(operator, supplier_list, tariff_list, meter_list)
    roles = _roles(regulators, supplier_list, members or {})
    _check_zones(zones, supplier_list)
    _check_validators(validator_list)
    alloc: Alloc = {
        "0x" + REGISTRY_ADDRESS.hex(): _account("Registry", _registry_storage(operator, roles, meter_list, time_s), 0),
        "0x" + METER_ADDRESS.hex(): _account("Meter", _meter_storage(meter_list, zones, time_s), 0),
        "0x" + EXHAUSTION_ADDRESS.hex(): _account(
            "Exhaustion", _exhaustion_storage(tariff_list, meter_list), sum(meter.credit_wei for meter in meter_list)
        ),
        "0x" + TARIFFS_ADDRESS.hex(): _account(
            "Tariffs", genesis_tariffs_storage(tariff_list), 0, genesis_tariffs_nonce(tariff_list)
        ),
        "0x" + MARKET_ADDRESS.hex(): _account("Market", market_storage(market_rules), 0),
        "0x" + AUCTION_ADDRESS.hex(): _account("Auction", auction_storage(auction_rules), 0),
        "0x" + PAYMENT_CHANNEL_ADDRESS.hex(): _account("PaymentChannel", {}, 0),
    }
    alloc["0x" + POLICY_ADDRESS.hex()] = _account("Policy", _policy_storage(), 0)
    alloc["0x" + BILLING_ADDRESS.hex()] = _account("Billing", _billing_storage(), 0)
    alloc["0x" + CALIBRATIONS_ADDRESS.hex()] = _account("Calibrations", _calibrations_storage(), 0)
    for address, code in genesis_version_codes(tariff_list).items():
        alloc["0x" + address.hex()] = {"balance": "0x0", "nonce": hex(CONTRACT_NONCE), "code": "0x" + code.hex()}
    if validator_list:
        storage = load_artifact("Validators").storage_layout.assign_list("_validators", validator_list)
        alloc["0x" + VALIDATORS_ADDRESS.hex()] = _account("Validators", storage, 0)
    return alloc


def _roles(regulators: Iterable[bytes], suppliers: Iterable[bytes], members: Mapping[bytes, Role]) -> dict[bytes, Role]:
    """Raises InvalidGenesis where an address would have two roles."""
    pairs = [(address, Role.REGULATOR) for address in regulators]
    pairs += [(address, Role.SUPPLIER) for address in suppliers]
    pairs += members.items()
    roles: dict[bytes, Role] = {}
    for address, role in pairs:
        _check_address(address)
        if address in roles:
            raise InvalidGenesis(
                f"0x{address.hex()} cannot be {role.name.lower()} and {roles[address].name.lower()} at once"
            )
        if role is Role.NONE:
            raise InvalidGenesis(f"0x{address.hex()} is a member without a role")
        roles[address] = role
    return roles


def _registry_storage(
    owner: bytes, roles: Mapping[bytes, Role], meters: list[GenesisMeter], time_s: int
) -> dict[int, int]:
    layout = load_artifact("Registry").storage_layout
    storage = layout.assign("owner", value=owner)
    storage |= layout.assign("meterContract", value=METER_ADDRESS)
    storage |= layout.assign("tariffs", value=TARIFFS_ADDRESS)
    storage |= layout.assign("isApprovedSink", EXHAUSTION_ADDRESS, value=1)
    storage |= layout.assign("isApprovedSink", BILLING_ADDRESS, value=1)
    vouchers: dict[bytes, list[bytes]] = {}
    known: dict[bytes, dict[str, int]] = {address: {"role": int(role)} for address, role in roles.items()}
    for meter in meters:
        known.setdefault(meter.meter, {})["isActiveMeter"] = 1
        suppliers = vouchers.setdefault(meter.owner, [])
        if meter.supplier not in suppliers and len(suppliers) < MAX_VOUCHERS:
            suppliers.append(meter.supplier)
        known.setdefault(meter.supplier, {})["suppliedMeter"] = 1
        record = {
            "owner": meter.owner,
            "status": int(MeterStatus.ACTIVE),
            "installedAt": time_s,
            "supplier": meter.supplier,
            "tariff": meter.tariff,
            "sink": EXHAUSTION_ADDRESS,
            "pointOfSupply": meter.point_of_supply,
        }
        storage |= layout.assign("_records", meter.meter, value=record)
    for owner_of_meters, suppliers in vouchers.items():
        storage |= layout.assign_list("_vouchers", suppliers, owner_of_meters)
    for address, member in known.items():
        storage |= layout.assign("_members", address, value=member)
    return storage


def _policy_storage() -> dict[int, int]:
    return load_artifact("Policy").storage_layout.assign("registry", value=REGISTRY_ADDRESS)


def _calibrations_storage() -> dict[int, int]:
    return load_artifact("Calibrations").storage_layout.assign("registry", value=REGISTRY_ADDRESS)


def _billing_storage() -> dict[int, int]:
    layout = load_artifact("Billing").storage_layout
    storage = layout.assign("registry", value=REGISTRY_ADDRESS)
    storage |= layout.assign("meterContract", value=METER_ADDRESS)
    return storage | layout.assign("tariffs", value=TARIFFS_ADDRESS)


def _meter_storage(meters: list[GenesisMeter], zones_s: Mapping[bytes, int], time_s: int) -> dict[int, int]:
    layout = load_artifact("Meter").storage_layout
    storage = layout.assign("registry", value=REGISTRY_ADDRESS)
    if meters:
        number = EXHAUSTION_SINK_NUMBER.to_bytes(1, "big")
        storage |= layout.assign("sinkCount", value=EXHAUSTION_SINK_NUMBER)
        storage |= layout.assign("sinkOf", number, value=EXHAUSTION_ADDRESS)
        storage |= layout.assign("_sinkNumbers", EXHAUSTION_ADDRESS, value=EXHAUSTION_SINK_NUMBER)
    storage |= layout.assign("_totals", value={"meters": len(meters)})
    zones: dict[bytes, dict[str, int]] = {supplier: {"offsetS": offset_s} for supplier, offset_s in zones_s.items()}
    for meter in meters:
        zones.setdefault(meter.supplier, {})["hasMeters"] = 1
    for supplier, zone in zones.items():
        storage |= layout.assign("_zones", supplier, value=zone)
    for meter in meters:
        book = {
            "supplier": meter.supplier,
            "status": int(MeterStatus.ACTIVE),
            "sinkNumber": EXHAUSTION_SINK_NUMBER,
            "tariff": meter.tariff,
            "openedAt": time_s,
            "importWh": meter.opening_import_wh,
            "exportWh": meter.opening_export_wh,
            "startImportWh": meter.opening_import_wh,
            "startExportWh": meter.opening_export_wh,
        }
        storage |= layout.assign("_books", meter.meter, value=book)
    return storage


def _exhaustion_storage(tariffs: list[GenesisTariff], meters: list[GenesisMeter]) -> dict[int, int]:
    layout = load_artifact("Exhaustion").storage_layout
    storage = layout.assign("meterContract", value=METER_ADDRESS)
    storage |= layout.assign("registry", value=REGISTRY_ADDRESS)
    storage |= layout.assign("tariffs", value=TARIFFS_ADDRESS)
    for number in range(1, len(tariffs) + 1):
        storage |= layout.assign("_tills", number.to_bytes(4, "big"), value={"current": number})
    for meter in meters:
        account = {"balanceWei": meter.credit_wei, "lowBits": _low_bits(meter.low_credit_wei)}
        storage |= layout.assign("_accounts", meter.meter, value=account)
        storage |= layout.assign("_lowCredit", meter.meter, value=meter.low_credit_wei)
    return storage


def _low_bits(low_credit_wei: int) -> int:
    """As Exhaustion.setLowCreditThreshold: credit of 2^bits or more is above the threshold for sure."""
    return min(126, (low_credit_wei - 1).bit_length()) if low_credit_wei else 0


def _tariffs(
    tariffs: Iterable[GenesisTariff], rates: Mapping[bytes, int], suppliers: list[bytes]
) -> list[GenesisTariff]:
    """All tariffs in order of their numbers. Raises InvalidGenesis where one is wrong or nobody's."""
    for supplier, rate in rates.items():
        if supplier not in suppliers:
            raise InvalidGenesis(f"a rate for 0x{supplier.hex()}, which is not among the suppliers")
        _check_range("rate", rate, MAX_RATE_WEI_PER_WH)
    listed = list(tariffs)
    listed += [GenesisTariff(supplier, RATE_TARIFF_NAME, TariffVersion.flat(rate)) for supplier, rate in rates.items()]
    for tariff in listed:
        if tariff.supplier not in suppliers:
            raise InvalidGenesis(f"a tariff of 0x{tariff.supplier.hex()}, which is not among the suppliers")
    try:
        genesis_tariffs_storage(listed)
        genesis_version_codes(listed)
    except UserError as error:
        raise InvalidGenesis(str(error)) from error
    return listed


def _with_tariff(meter: GenesisMeter, tariffs: list[GenesisTariff]) -> GenesisMeter:
    """The meter with the number of its tariff."""
    own = [number for number, tariff in enumerate(tariffs, 1) if tariff.supplier == meter.supplier]
    return replace(meter, tariff=own[0]) if own and not meter.tariff else meter


def _account(
    contract: str, storage: Mapping[int, int], balance_wei: int, nonce: int = CONTRACT_NONCE
) -> dict[str, object]:
    return {
        "balance": hex(balance_wei),
        "nonce": hex(nonce),
        "code": "0x" + load_artifact(contract).runtime_code.hex(),
        "storage": {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in sorted(storage.items()) if value},
    }


def _check(operator: bytes, suppliers: list[bytes], tariffs: list[GenesisTariff], meters: list[GenesisMeter]) -> None:
    addresses = [operator, *suppliers, *(address for one in meters for address in (one.meter, one.owner))]
    for address in addresses:
        _check_address(address)
    known = set(suppliers)
    if len({one.meter for one in meters}) != len(meters):
        raise InvalidGenesis("a meter is registered twice")
    for one in meters:
        if one.supplier not in known:
            raise InvalidGenesis(f"the meter 0x{one.meter.hex()} has an unknown supplier 0x{one.supplier.hex()}")
        _check_range("opening import register", one.opening_import_wh, MAX_REGISTER_WH)
        _check_range("opening export register", one.opening_export_wh, MAX_REGISTER_WH)
        if one.tariff and (one.tariff > len(tariffs) or tariffs[one.tariff - 1].supplier != one.supplier):
            raise InvalidGenesis(f"the meter 0x{one.meter.hex()} has a tariff {one.tariff} that is not its supplier's")
        if len(one.point_of_supply) != 32:
            raise InvalidGenesis(f"a point of supply is a hash of 32 bytes, got 0x{one.point_of_supply.hex()}")
        _check_range("low credit threshold", one.low_credit_wei, MAX_LOW_CREDIT_WEI)
        _check_range("credit", one.credit_wei, MAX_HELD_WEI)
        if one.credit_wei and not one.tariff:
            raise InvalidGenesis(f"the meter 0x{one.meter.hex()} has credit, but its supplier has no tariff")
    _check_range("sum of all credits", sum(one.credit_wei for one in meters), MAX_HELD_WEI)


def _check_zones(zones_s: Mapping[bytes, int], suppliers: list[bytes]) -> None:
    for supplier, offset_s in zones_s.items():
        if supplier not in suppliers:
            raise InvalidGenesis(f"a time zone for 0x{supplier.hex()}, which is not among the suppliers")
        if offset_s % ZONE_STEP_S or not MIN_ZONE_S <= offset_s <= MAX_ZONE_S:
            raise InvalidGenesis(
                f"a time zone is a multiple of {ZONE_STEP_S} s from {MIN_ZONE_S} to {MAX_ZONE_S}, got {offset_s}"
            )


def _check_validators(validators: list[bytes]) -> None:
    if len(validators) > MAX_VALIDATORS:
        raise InvalidGenesis(f"{len(validators)} validators; at most {MAX_VALIDATORS} are possible")
    for address in validators:
        _check_address(address)
    if len(set(validators)) != len(validators):
        raise InvalidGenesis("a validator is named twice")


def _check_address(address: bytes) -> None:
    if len(address) != ADDRESS_BYTES or not any(address):
        raise InvalidGenesis(f"not an address of {ADDRESS_BYTES} bytes, or zero: 0x{address.hex()}")


def _check_range(name: str, value: int, maximum: int) -> None:
    if not 0 <= value <= maximum:
        raise InvalidGenesis(f"a {name} must be from 0 to {maximum}, got {value}")
