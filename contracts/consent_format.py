"""By which a meter's key agrees to be a supplier's meter (contracts/src/Consents.sol), as EIP-712 typed data.

The supplier brings the signature when it installs the meter, or puts the key in another one's place.
"""

from functools import lru_cache

from contracts.addresses import REGISTRY_ADDRESS
from primitives.eip712 import TypedData

DOMAIN_NAME = "Wattchain Registry"
DOMAIN_VERSION = "1"
CONSENT_BYTES = 64
"""r and vs of ERC-2098."""


def consent_hash(chain_id: int, meter: bytes, supplier: bytes, registry: bytes = REGISTRY_ADDRESS) -> bytes:
    """The 32 bytes that the meter's key signs."""
    return _typed_data(chain_id, registry).hash({"meter": meter, "supplier": supplier})


@lru_cache(maxsize=4)
def _typed_data(chain_id: int, registry: bytes) -> TypedData:
    domain = {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": registry}
    fields = [{"name": name, "type": "address"} for name in ("meter", "supplier")]
    return TypedData(domain, {"Consent": fields}, "Consent")
