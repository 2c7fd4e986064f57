"""The policy of a meter as the wallet knows it: read, and the contract's refusals in words.

What its values mean is in contracts/policy.py.
"""

from collections.abc import Mapping
from typing import Any

from contracts.addresses import POLICY_ADDRESS
from contracts.policy import MeterPolicy, decode_policy
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask
from wallet.registry import REGISTRY


async def read_policy(client: RpcClient, meter: bytes, block: BlockTag = "latest") -> MeterPolicy:
    """The policy that a meter follows; version 0 where there is none. Raises UserError, InvalidAnswer."""
    return decode_policy(await ask(client, POLICY, "policyOf", [meter], block))


def _off_time(values: Mapping[str, Any]) -> str:
    return (
        f"Off-time {values['index'] + 1} cannot be: it needs a circuit from 1 to 255, a weekday, and an end after its "
        "beginning on the same day."
    )


POLICY = Contract(
    name="Policy",
    address=POLICY_ADDRESS,
    title="the policies' contract",
    missing="This network has no contract for policies of meters: its genesis file lacks it.",
    refusals={
        "AlreadyAppointed": "{person} may write the policy of the meter {meter} already.",
        "EnergyOutOfRange": "An energy of {energyWh} a day is more than any register can show, {maximumWh}.",
        "MeterNotActive": "The meter {meter} was removed, or replaced by another; name the one that is there now.",
        "MeterUnknown": "No meter {meter} was ever installed on this network.",
        "NotAppointed": "{person} is not appointed to write the policy of the meter {meter}.",
        "NotOwner": "{caller} is not the owner of the meter {meter}, who alone may do this; sign with the owner's key.",
        "NotOwnerOrAppointed": (
            "{caller} is neither the owner of the meter {meter} nor appointed by the owner, which is done with "
            "`wattchain policy appoint`."
        ),
        "OffTimeInvalid": _off_time,
        "TooManyOffTimes": "A policy has at most {maximum} off-times, not {count}; one that passes midnight is two.",
        "VersionChanged": (
            "Somebody else has changed the policy of the meter {meter} meanwhile: it has version {version} now, not "
            "{expectedVersion}. Look at it with `wattchain policy show`, and set yours again."
        ),
        "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
    },
    passes_on=(REGISTRY,),
)
