"""A prepaid meter's account, out of the contracts' storage by proofs instead of asking a node to run the contracts.

What the storage means is the compiler's layout of the code that this installation knows; so the code that stands at the
contracts' addresses has to be that very code. A test compares with what the contracts answer themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.addresses import EXHAUSTION_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import MeterStatus
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.keccak import keccak256
from wallet.light.proofs import ProvedAccount

_VARIABLES = ("_accounts", "_dues", "_lowCredit")


@dataclass(frozen=True, slots=True)
class MeterCredit:
    """What Exhaustion and Registry hold about one meter."""

    credit_wei: int
    """Prepaid money that is left."""
    overdrawn_wei: int
    """Charged beyond the credit: emergency credit in use, or more."""
    debt_wei: int
    """Charged in friendly hours beyond the credit."""
    energy_wh: int
    """Charged in the billing period so far."""
    low_credit_wei: int
    """The owner's threshold; 0 for none."""
    status: MeterStatus
    supplier: bytes
    owner: bytes
    is_prepaid: bool
    """Whether its readings are charged here."""

    @property
    def supply_allowed(self) -> bool | None:
        """As Exhaustion.supplyAllowed answers; None where it depends on the supplier's emergency credit and friendly
        hours, which are not among what is proved.
        """
        if self.status is not MeterStatus.ACTIVE or not self.is_prepaid:
            return False
        return True if self.credit_wei > 0 else None


def wanted_slots(meter: bytes) -> dict[bytes, tuple[int, ...]]:
    """Contract -> slots that have to be proved."""
    exhaustion, registry = load_artifact("Exhaustion").storage_layout, load_artifact("Registry").storage_layout
    return {
        EXHAUSTION_ADDRESS: tuple(slot for name in _VARIABLES for slot in exhaustion.slots(name, meter)),
        REGISTRY_ADDRESS: registry.slots("_records", meter),
    }


def read_credit(meter: bytes, accounts: Mapping[bytes, ProvedAccount]) -> MeterCredit:
    """From the proved slots. Raises UserError where the contracts are not those that are known here."""
    for name, address in (("Exhaustion", EXHAUSTION_ADDRESS), ("Registry", REGISTRY_ADDRESS)):
        _check_code(name, accounts[address])
    exhaustion, registry = load_artifact("Exhaustion").storage_layout, load_artifact("Registry").storage_layout
    slots = accounts[EXHAUSTION_ADDRESS].slots
    account = exhaustion.read_struct("_accounts", meter, contents=slots)
    dues = exhaustion.read_struct("_dues", meter, contents=slots)
    record = registry.read_struct("_records", meter, contents=accounts[REGISTRY_ADDRESS].slots)
    balance = account["balanceWei"]
    return MeterCredit(
        credit_wei=max(balance, 0),
        overdrawn_wei=max(-balance, 0),
        debt_wei=dues["debtWei"],
        energy_wh=account["usedWh"],
        low_credit_wei=slots[exhaustion.slot("_lowCredit", meter)],
        status=MeterStatus(record["status"]),
        supplier=record["supplier"].to_bytes(20, "big"),
        owner=record["owner"].to_bytes(20, "big"),
        is_prepaid=record["sink"] == int.from_bytes(EXHAUSTION_ADDRESS, "big"),
    )


def _check_code(name: str, account: ProvedAccount) -> None:
    if account.code_hash == keccak256(load_artifact(name).runtime_code):
        return
    where = to_checksum_address(account.address)
    if not account.exists:
        raise UserError(f"This ledger has no contract {name}: there is nothing at {where}.")
    raise UserError(
        f"The contract at {where} is not the {name} that this installation knows, so its storage cannot be read; "
        "install the version of Wattchain that this ledger began with."
    )
