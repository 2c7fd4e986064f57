"""The Registry as the wallet knows it: who is what, which meter is whose, and its refusals in words.

What a role may do is the contract's to decide (contracts/src/Registry.sol).
"""

from dataclasses import dataclass
from typing import Any

from contracts.addresses import BILLING_ADDRESS, EXHAUSTION_ADDRESS, REGISTRY_ADDRESS
from contracts.roles import Role
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_checksum_address
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask, ask_one, require_contract
from wallet.meter_contract import METER

ROLE_WORDS = {
    Role.NONE: "nobody",
    Role.REGULATOR: "a regulator",
    Role.SUPPLIER: "a supplier",
    Role.PRODUCER: "a producer",
    Role.CONSUMER: "a consumer",
    Role.RELAY: "a relay",
}
STATUS_WORDS = {0: "unknown", 1: "active", 2: "removed"}

SINKS = {"prepaid": EXHAUSTION_ADDRESS, "postpaid": BILLING_ADDRESS}
"""What becomes of a meter's readings, by the word for it."""


@dataclass(frozen=True, slots=True)
class RegistryOverview:
    """The registry itself, as of one block."""

    block_number: int
    owner: bytes
    pending_owner: bytes | None
    """To whom its ownership is offered."""
    default_gas_allowance: int
    approved_sinks: tuple[bytes, ...]
    """Of those that stand in every genesis."""


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """A meter in the registry. Times are Unix times in s."""

    owner: bytes
    supplier: bytes
    status: int
    sink: bytes
    tariff: int
    point_of_supply: bytes
    installed_at_s: int
    removed_at_s: int
    predecessor: bytes | None
    successor: bytes | None
    next_tariff: int
    """A tariff that was announced for it; 0 for none."""
    next_tariff_from_s: int

    @property
    def is_active(self) -> bool:
        return self.status == 1


@dataclass(frozen=True, slots=True)
class Member:
    """What the registry knows of an address."""

    address: bytes
    role: Role
    is_owner: bool
    """Of the registry; the owner has no role."""
    is_admitted: bool
    gas_allowance: int
    """A block, on a network without fees; 0 where it is not admitted."""
    meter: MeterRecord | None
    """Where the address is that of a meter."""


async def read_overview(client: RpcClient) -> RegistryOverview:
    """Raises UserError where the network has no registry; InvalidAnswer."""
    block = await client.block_number()
    await require_contract(client, REGISTRY, block)
    owner = await ask_one(client, REGISTRY, "owner", block=block)
    pending = await ask_one(client, REGISTRY, "pendingOwner", block=block)
    allowance = await ask_one(client, REGISTRY, "defaultGasAllowance", block=block)
    sinks = [sink for sink in SINKS.values() if await ask_one(client, REGISTRY, "isApprovedSink", [sink], block)]
    return RegistryOverview(block, owner, _or_none(pending), allowance, tuple(sinks))


async def read_member(client: RpcClient, address: bytes, block: BlockTag = "latest") -> Member:
    """Raises UserError where the network has no registry; InvalidAnswer."""
    role = Role(await ask_one(client, REGISTRY, "roleOf", [address], block))
    is_owner = await ask_one(client, REGISTRY, "owner", block=block) == address
    is_admitted = await ask_one(client, REGISTRY, "isAdmitted", [address], block)
    allowance = await ask_one(client, REGISTRY, "gasAllowanceOf", [address], block)
    return Member(address, role, is_owner, is_admitted, allowance, await find_meter(client, address, block))


async def find_meter(client: RpcClient, meter: bytes, block: BlockTag = "latest") -> MeterRecord | None:
    """The record of a meter; None where it was never installed. Raises UserError, InvalidAnswer."""
    record: tuple[Any, ...] = await ask_one(client, REGISTRY, "meterOf", [meter], block)
    owner, supplier, status, sink, tariff, point, installed_at_s, removed_at_s, predecessor, successor = record
    if status == 0:
        return None
    next_tariff, next_from_s = await ask(client, REGISTRY, "nextTariffOf", [meter], block)
    return MeterRecord(
        owner,
        supplier,
        status,
        sink,
        tariff,
        point,
        installed_at_s,
        removed_at_s,
        _or_none(predecessor),
        _or_none(successor),
        next_tariff,
        next_from_s,
    )


async def read_meter(client: RpcClient, meter: bytes, block: BlockTag = "latest") -> MeterRecord:
    """The record of a meter. Raises UserError where it was never installed; InvalidAnswer."""
    record = await find_meter(client, meter, block)
    if record is None:
        raise UserError(
            f"No meter {to_checksum_address(meter)} was ever installed on this network. Look at the address again; a "
            "supplier installs meters with `wattchain meter install`."
        )
    return record


def parse_sink(text: str) -> bytes:
    """The contract that bills a meter, by its word or its address. Raises UserError."""
    try:
        return SINKS.get(text.lower()) or parse_address(text)
    except InvalidHex as error:
        raise UserError(
            f"{text[:80]!r} is no way of billing; write prepaid, postpaid, or the address of another contract."
        ) from error


def sink_word(sink: bytes) -> str:
    """ "prepaid", "postpaid", or the address of another contract."""
    for word, address in SINKS.items():
        if address == sink:
            return word
    return to_checksum_address(sink)


def _or_none(address: bytes) -> bytes | None:
    return address if any(address) else None


REGISTRY = Contract(
    name="Registry",
    address=REGISTRY_ADDRESS,
    title="the registry",
    missing="This network has no registry: its genesis file lacks the contract.",
    refusals={
        "NotOwner": (
            "{caller} is not the owner of the registry, who alone makes and unmakes regulators and hands the registry "
            "over. `wattchain registry show` says who is; sign with that key: --from or --key-file."
        ),
        "NotPendingOwner": (
            "The registry was not offered to {caller}; its owner does that with `wattchain registry hand-over`."
        ),
        "NotRegulator": "{caller} is not a regulator, and only one may do this. Sign with a regulator's key.",
        "NotSupplier": (
            "{caller} is not a supplier, and only one may do this. A regulator makes it one with `wattchain registry "
            "add supplier {caller}`."
        ),
        "NotRegulatorOrSupplier": "{caller} is neither a regulator nor a supplier; only they name relays.",
        "NotSupplierOf": "{caller} is not the supplier of the meter {meter}; sign with the supplier's key.",
        "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
        "AlreadyConnected": "The registry knows its contracts already; that is settled once for all.",
        "ContractWithoutCode": "There is no contract at {target}.",
        "RoleTaken": (
            "{account} is {role} already, and nobody has two roles. Take that one away first, with `wattchain registry "
            "remove {account}`."
        ),
        "RoleMissing": "{account} has no such role: it is {role}.",
        "RoleNotAssignable": "Nobody is made or unmade {role} this way: only the owner of the registry does that.",
        "SupplierHasRole": (
            "{supplier} is {role}. Take that away first, with `wattchain registry remove {supplier}`: it cannot bring "
            "anybody then."
        ),
        "SupplierIsDistrusted": (
            "A regulator distrusts {supplier}. `wattchain registry trust {supplier}` takes that back."
        ),
        "SupplierNotDistrusted": "Nobody distrusts {supplier}; there is nothing to take back.",
        "SinkNotApproved": (
            "No regulator has approved {sink} for the readings of meters; one does so with `wattchain registry "
            "approve-sink`."
        ),
        "ConsentInvalid": (
            "The key of {meter} has not agreed to be a meter of {supplier}: the consent is signed by {recovered}, or "
            "for another supplier or network. `wattchain meter key consent {supplier}` at the meter makes the "
            "right one."
        ),
        "GasAllowanceInvalid": "A gas allowance is from {minimum} to {maximum} gas a block; {gas} is not.",
        "MeterAlreadyInstalled": (
            "{meter} was installed before. A key is installed once; a meter that moves to another place gets a new key."
        ),
        "MeterUnknown": "No meter {meter} was ever installed on this network.",
        "MeterInactive": "The meter {meter} was removed.",
        "MeterNotRemoved": "The meter {meter} is not a removed one.",
        "MeterHasSuccessor": "The meter {meter} cannot come back: {successor} has taken its place.",
        "TariffNotOfSupplier": (
            "The tariff number {tariff} is not one of the supplier {supplier}. `wattchain tariff list` shows which are."
        ),
        "TariffNotAnnounced": (
            "The tariff number {tariff} was not announced for the meter {meter}. `wattchain meter show {meter}` says "
            "whether another was."
        ),
        "TariffTooSoon": (
            "The tariff that was announced for the meter {meter} can be put in force from {from} on; before that only "
            "by the owner of the meter."
        ),
    },
    words={"role": {int(role): word for role, word in ROLE_WORDS.items()}},
    passes_on=(METER,),
)
