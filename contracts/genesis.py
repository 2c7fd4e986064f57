"""The contracts as part of the genesis state: runtime code and storage, in geth's `alloc` form.

What a constructor or the first transactions would write is written into the storage directly, at the slots that the
compiler's layout names. Events of these first registrations do not exist: an index reads the state for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import MAX_REGISTER_WH, MeterStatus
from primitives.errors import InvalidGenesis

Alloc = dict[str, dict[str, object]]
"""Address in hexadecimal -> balance, nonce, code and storage, as in geth's genesis files."""

ADDRESS_BYTES = 20
MAX_RATE_WEI_PER_WH = 2**64 - 1
MAX_LOW_CREDIT_WEI = 2**72 - 1
MAX_CREDIT_WEI = 10**36
MAX_VALIDATORS = 128
EXHAUSTION_SINK_NUMBER = 1
CONTRACT_NONCE = 1  # EIP-161, as if the contract had been created by a transaction


@dataclass(frozen=True, slots=True)
class GenesisMeter:
    """A prepaid meter that is registered from the start."""

    meter: bytes
    owner: bytes
    supplier: bytes
    opening_import_wh: int = 0
    opening_export_wh: int = 0
    credit_wei: int = 0
    low_credit_wei: int = 0


def genesis_alloc(
    operator: bytes,
    suppliers: Iterable[bytes] = (),
    rates_wei_per_wh: Mapping[bytes, int] | None = None,
    meters: Iterable[GenesisMeter] = (),
    validators: Iterable[bytes] = (),
) -> Alloc:
    """The accounts of Meter and Exhaustion, and of Validators where there are any, to be merged into a genesis file's
    `alloc`.

    `operator` names suppliers later; `suppliers` are known from the start, their rates (in wei per Wh) hold for all
    readings from then on. `validators` make the first block, and decide who makes the others. Raises InvalidGenesis for
    values that the contracts themselves would refuse.
    """
    supplier_list, meter_list, validator_list = list(suppliers), list(meters), list(validators)
    rates = dict(rates_wei_per_wh or {})
    _check(operator, supplier_list, rates, meter_list)
    _check_validators(validator_list)
    alloc: Alloc = {
        "0x" + METER_ADDRESS.hex(): _account("Meter", _meter_storage(operator, supplier_list, meter_list), 0),
        "0x" + EXHAUSTION_ADDRESS.hex(): _account(
            "Exhaustion", _exhaustion_storage(rates, meter_list), sum(meter.credit_wei for meter in meter_list)
        ),
    }
    if validator_list:
        storage = load_artifact("Validators").storage_layout.assign_list("_validators", validator_list)
        alloc["0x" + VALIDATORS_ADDRESS.hex()] = _account("Validators", storage, 0)
    return alloc


def _meter_storage(operator: bytes, suppliers: list[bytes], meters: list[GenesisMeter]) -> dict[int, int]:
    layout = load_artifact("Meter").storage_layout
    storage = layout.assign("operator", value=operator)
    storage |= layout.assign("sinkCount", value=EXHAUSTION_SINK_NUMBER)
    storage |= layout.assign("sinkOf", EXHAUSTION_SINK_NUMBER.to_bytes(2, "big"), value=EXHAUSTION_ADDRESS)
    storage |= layout.assign("_sinks", EXHAUSTION_ADDRESS, value={"number": EXHAUSTION_SINK_NUMBER, "approved": 1})
    storage |= layout.assign("_totals", value={"meters": len(meters)})
    for supplier in suppliers:
        storage |= layout.assign("isSupplier", supplier, value=1)
    for meter in meters:
        registration = {
            "supplier": meter.supplier,
            "status": int(MeterStatus.ACTIVE),
            "sinkNumber": EXHAUSTION_SINK_NUMBER,
            "owner": meter.owner,
        }
        state = {"importWh": meter.opening_import_wh, "exportWh": meter.opening_export_wh}
        storage |= layout.assign("_registrations", meter.meter, value=registration)
        storage |= layout.assign("_states", meter.meter, value=state)
    return storage


def _exhaustion_storage(rates: Mapping[bytes, int], meters: list[GenesisMeter]) -> dict[int, int]:
    layout = load_artifact("Exhaustion").storage_layout
    storage = layout.assign("meterContract", value=METER_ADDRESS)
    for supplier, rate in rates.items():
        storage |= layout.assign("_suppliers", supplier, value={"rateWeiPerWh": rate, "hasRate": 1})
    for meter in meters:
        account = {"balanceWei": meter.credit_wei, "lowCreditWei": meter.low_credit_wei}
        storage |= layout.assign("_accounts", meter.meter, value=account)
    return storage


def _account(contract: str, storage: Mapping[int, int], balance_wei: int) -> dict[str, object]:
    return {
        "balance": hex(balance_wei),
        "nonce": hex(CONTRACT_NONCE),
        "code": "0x" + load_artifact(contract).runtime_code.hex(),
        "storage": {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in sorted(storage.items()) if value},
    }


def _check(operator: bytes, suppliers: list[bytes], rates: Mapping[bytes, int], meters: list[GenesisMeter]) -> None:
    addresses = [operator, *suppliers, *(address for one in meters for address in (one.meter, one.owner))]
    for address in addresses:
        _check_address(address)
    known = set(suppliers)
    for supplier, rate in rates.items():
        if supplier not in known:
            raise InvalidGenesis(f"a rate for 0x{supplier.hex()}, which is not among the suppliers")
        _check_range("rate", rate, MAX_RATE_WEI_PER_WH)
    if len({one.meter for one in meters}) != len(meters):
        raise InvalidGenesis("a meter is registered twice")
    for one in meters:
        if one.supplier not in known:
            raise InvalidGenesis(f"the meter 0x{one.meter.hex()} has an unknown supplier 0x{one.supplier.hex()}")
        _check_range("opening import register", one.opening_import_wh, MAX_REGISTER_WH)
        _check_range("opening export register", one.opening_export_wh, MAX_REGISTER_WH)
        _check_range("low credit threshold", one.low_credit_wei, MAX_LOW_CREDIT_WEI)
        _check_range("credit", one.credit_wei, MAX_CREDIT_WEI)
        if one.credit_wei and one.supplier not in rates:
            raise InvalidGenesis(f"the meter 0x{one.meter.hex()} has credit, but its supplier has no rate")


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
