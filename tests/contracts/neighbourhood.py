"""The people, meters and contracts of the contract tests: a genesis state, and short ways to act in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import Artifact, load_artifact
from contracts.consent_format import consent_hash
from contracts.genesis import Alloc, GenesisMeter, genesis_alloc
from contracts.reading_format import READING_FIELDS, Outcome, compact_signature, reading_typed_data
from contracts.tariff_format import GenesisTariff
from primitives.secp256k1 import address_of, sign
from tests.contracts.ledgers import CHAIN_ID, Ledger, Result, make_ledger

WATT = 10**18
POINT_OF_SUPPLY = b"\x50" * 32
RATE_WEI_PER_WH = WATT // 5000  # 0.2 WATT a kWh
TYPED_DATA = reading_typed_data(CHAIN_ID)
REGISTRY, METER, EXHAUSTION, TARIFFS = (load_artifact(name) for name in ("Registry", "Meter", "Exhaustion", "Tariffs"))
CONTRACTS = {
    REGISTRY_ADDRESS: REGISTRY,
    METER_ADDRESS: METER,
    EXHAUSTION_ADDRESS: EXHAUSTION,
    TARIFFS_ADDRESS: TARIFFS,
}


def key_of(name: str) -> bytes:
    return name.encode().rjust(32, b"\x01")


OPERATOR, REGULATOR, SUPPLIER, RIVAL, OWNER, STRANGER, PAYER = (
    address_of(key_of(name)) for name in ("operator", "regulator", "supplier", "rival", "owner", "stranger", "payer")
)
"""The operator owns the registry and has no role in it."""

ACCOUNT_FIELDS = ("creditWei", "overdrawnWei", "debtWei", "owedWei", "lowCreditWei", "periodWh", "periodEndDay")

CONSENT_AT = {"installMeter": (0, 7), "swapMeter": (1, 6)}
"""Where the new meter is among the arguments, and how many there are before its consent."""

_KEYS: dict[bytes, bytes] = {}
"""Of all devices, by address."""

SignedReading = tuple[tuple[object, ...], bytes, bytes]


@dataclass(slots=True)
class Device:
    """A meter: its key and registers, and the chain of what it has signed."""

    name: str
    time_s: int = 1_699_999_000
    sequence: int = 0
    import_wh: int = 0
    export_wh: int = 0
    previous_hash: bytes = bytes(32)
    address: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.address = address_of(key_of(self.name))
        _KEYS[self.address] = key_of(self.name)

    def measure(self, import_wh: int = 0, export_wh: int = 0, power_w: int = 0, flags: int = 0) -> SignedReading:
        """The next honest reading, 900 s later unless the ledger's time is to be kept: time_s is set by the test."""
        self.sequence += 1
        self.import_wh += import_wh
        self.export_wh += export_wh
        reading = self.fields(powerW=power_w, flags=flags)
        self.previous_hash = TYPED_DATA.struct_hash(reading)
        return self.sign(reading)

    def fields(self, **changed: object) -> dict[str, object]:
        """The state of the device as the fields of a reading, some of them changed."""
        values: dict[str, object] = {
            "meter": self.address,
            "sequence": self.sequence,
            "time": self.time_s,
            "importWh": self.import_wh,
            "exportWh": self.export_wh,
            "powerW": 0,
            "flags": 0,
            "previousHash": self.previous_hash,
        }
        return values | changed

    def sign(self, reading: dict[str, object], key: bytes | None = None) -> SignedReading:
        r, vs = compact_signature(*sign(TYPED_DATA.hash(reading), key or key_of(self.name)))
        return tuple(reading[name] for name, _ in READING_FIELDS), r, vs


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    arguments: dict[str, object]


class Neighbourhood:
    """Registry, Meter and Exhaustion with one regulator, one supplier and its rate, and the given meters installed and,
    where asked, paid for."""

    def __init__(
        self,
        *devices: Device,
        credit_wei: int = 0,
        low_credit_wei: int = 0,
        rate_wei_per_wh: int = RATE_WEI_PER_WH,
        tariffs: Sequence[GenesisTariff] = (),
        zone_s: int = 0,
        installed_at_s: int = 0,
        others: Alloc | None = None,
    ) -> None:
        meters = [
            GenesisMeter(
                device.address,
                OWNER,
                SUPPLIER,
                device.import_wh,
                device.export_wh,
                credit_wei=credit_wei,
                point_of_supply=POINT_OF_SUPPLY,
                low_credit_wei=low_credit_wei,
            )
            for device in devices
        ]
        alloc = genesis_alloc(
            OPERATOR,
            [SUPPLIER],
            {} if tariffs else {SUPPLIER: rate_wei_per_wh},
            meters,
            regulators=[REGULATOR],
            zones_s={SUPPLIER: zone_s},
            time_s=installed_at_s,
            tariffs=tariffs,
        )
        for person in (OPERATOR, REGULATOR, SUPPLIER, RIVAL, OWNER, STRANGER, PAYER):
            alloc["0x" + person.hex()] = {"balance": hex(10**40)}
        self.ledger: Ledger = make_ledger(alloc | (others or {}))

    def submit(self, signed: SignedReading, sender: bytes = STRANGER) -> Result:
        return self.meter(sender, "submit", signed)

    def submit_batch(self, signed: Sequence[SignedReading], sender: bytes = STRANGER) -> Result:
        return self.meter(sender, "submitBatch", list(signed))

    def top_up(self, device: Device, value_wei: int, sender: bytes = PAYER) -> Result:
        data = EXHAUSTION.abi.encode_call("topUp", [device.address])
        return self.ledger.transact(sender, EXHAUSTION_ADDRESS, data, value_wei)

    def meter(self, sender: bytes, function: str, *arguments: object) -> Result:
        return self.ledger.transact(sender, METER_ADDRESS, METER.abi.encode_call(function, arguments))

    def registry(self, sender: bytes, function: str, *arguments: object) -> Result:
        """With a device's consent to be the sender's meter, where one is needed and none given."""
        arguments = with_consent(sender, function, arguments)
        return self.ledger.transact(sender, REGISTRY_ADDRESS, REGISTRY.abi.encode_call(function, arguments))

    def install(
        self, device: Device, supplier: bytes = SUPPLIER, sink: bytes = EXHAUSTION_ADDRESS, tariff: int = 0
    ) -> Result:
        """Its readings are of this time on, as they have to be."""
        device.time_s = max(device.time_s, self.ledger.time_s)
        arguments = (device.address, OWNER, sink, tariff, POINT_OF_SUPPLY, device.import_wh, device.export_wh)
        return self.registry(supplier, "installMeter", *arguments)

    def exhaustion(self, sender: bytes, function: str, *arguments: object) -> Result:
        return self.ledger.transact(sender, EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call(function, arguments))

    def tariffs(self, sender: bytes, function: str, *arguments: object) -> Result:
        return self.ledger.transact(sender, TARIFFS_ADDRESS, TARIFFS.abi.encode_call(function, arguments))

    def ask_meter(self, function: str, *arguments: object) -> tuple[object, ...]:
        return self._ask(METER_ADDRESS, METER, function, arguments)

    def ask_registry(self, function: str, *arguments: object) -> tuple[object, ...]:
        return self._ask(REGISTRY_ADDRESS, REGISTRY, function, arguments)

    def ask_exhaustion(self, function: str, *arguments: object) -> tuple[object, ...]:
        return self._ask(EXHAUSTION_ADDRESS, EXHAUSTION, function, arguments)

    def account(self, device: Device) -> tuple[int, int, int]:
        """(credit in wei, overdrawn in wei, energy charged in the billing period in Wh)."""
        seen = self.account_view(device)
        return seen["creditWei"], seen["overdrawnWei"], seen["periodWh"]

    def account_view(self, device: Device) -> dict[str, int]:
        """All that accountOf answers, by name."""
        (values,) = self.ask_exhaustion("accountOf", device.address)
        assert isinstance(values, tuple)
        return dict(zip(ACCOUNT_FIELDS, values, strict=True))

    def supplier_account(self, supplier: bytes = SUPPLIER) -> int:
        return int(str(self.ask_exhaustion("supplierAccountOf", supplier)[0]))

    def supply_allowed(self, device: Device) -> bool:
        return self.supply_allowed_at(device, self.ledger.time_s)

    def supply_allowed_at(self, device: Device, time_s: int) -> bool:
        return bool(self.ask_exhaustion("supplyAllowed", device.address, time_s)[0])

    def _ask(
        self, address: bytes, artifact: Artifact, function: str, arguments: tuple[object, ...]
    ) -> tuple[object, ...]:
        result = self.ledger.call(STRANGER, address, artifact.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        return artifact.abi.decode_result(function, result.output)


def consent(meter: bytes, supplier: bytes, registry: bytes = REGISTRY_ADDRESS) -> tuple[bytes, bytes]:
    """Signed by a device's key; for another address nothing but zeros."""
    if meter not in _KEYS:
        return bytes(32), bytes(32)
    return compact_signature(*sign(consent_hash(CHAIN_ID, meter, supplier, registry), _KEYS[meter]))


def with_consent(supplier: bytes, function: str, arguments: tuple[object, ...]) -> tuple[object, ...]:
    """The arguments of a function of the registry, and where it is needed and missing the device's consent."""
    place, count = CONSENT_AT.get(function, (0, 0))
    if not count or len(arguments) != count:
        return arguments
    meter = arguments[place]
    assert isinstance(meter, bytes)
    return *arguments, consent(meter, supplier)


def events(result: Result) -> list[Event]:
    """All events of a successful transaction, in order."""
    assert result.success, reason(result)
    found = []
    for log in result.logs:
        decoded = CONTRACTS[log.address].abi.decode_log(log.topics, log.data)
        assert decoded is not None
        found.append(Event(decoded.event, dict(decoded.arguments)))
    return found


def event_names(result: Result) -> list[str]:
    return [event.name for event in events(result)]


def only(result: Result, name: str) -> dict[str, object]:
    """The arguments of the one event of this name."""
    (event,) = [event for event in events(result) if event.name == name]
    return event.arguments


def outcomes(result: Result) -> list[Outcome]:
    """What submitBatch said of each reading."""
    assert result.success, reason(result)
    (codes,) = METER.abi.decode_result("submitBatch", result.output)
    assert isinstance(codes, (list, tuple))
    return [Outcome(code) for code in codes]


def reason(result: Result) -> str | None:
    """Why a transaction reverted: the contracts' own error with its values. None where it did not revert."""
    if result.success:
        return None
    for artifact in CONTRACTS.values():
        if (text := artifact.abi.revert_reason(result.output)) is not None:
            return text
    return "0x" + result.output.hex()
