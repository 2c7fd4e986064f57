"""What `wattchain meter status` tells of relay and policy: what the running meter has left of them in its database."""

import json
from dataclasses import dataclass
from typing import Any

from meter import policies, relay
from meter.relay_store import RelayStore


@dataclass(frozen=True, slots=True)
class SupplyStatus:
    decider: str
    """Who decides on the supply now; empty where no meter has run yet."""
    reason: str
    """Of an override or an overload."""
    waits_to_be: str
    """on or off, while the relay waits for its minimum time."""
    trouble: str
    """Why the relay could not be switched."""
    policy_version: int
    is_saving: bool
    circuits_off: tuple[int, ...]
    troubles: tuple[tuple[str, str], ...]
    """Of circuits and of power-saving mode: (which, why)."""

    def to_json(self) -> dict[str, object]:
        return {
            "decider": self.decider,
            "reason": self.reason,
            "waits_to_be": self.waits_to_be,
            "trouble": self.trouble,
            "policy": {
                "version": self.policy_version,
                "is_saving": self.is_saving,
                "circuits_off": list(self.circuits_off),
                "troubles": dict(self.troubles),
            },
        }

    def lines(self) -> list[str]:
        """For people; what is as usual is not told."""
        lines = []
        if self.decider:
            told = f": {self.reason}" if self.reason else ""
            waits = f", to be switched {self.waits_to_be} when its minimum time is over" if self.waits_to_be else ""
            lines.append(f"Relay     follows the {self.decider}{told}{waits}")
        if self.trouble:
            lines.append(f"RELAY FAILS and is tried again: {self.trouble}")
        if self.policy_version:
            circuits = ", ".join(str(number) for number in self.circuits_off)
            lines.append(
                f"Policy    version {self.policy_version}"
                f"{', power-saving mode' if self.is_saving else ''}{f', circuits off: {circuits}' if circuits else ''}"
            )
        lines += [f"FAILS     {name}: {trouble}" for name, trouble in self.troubles]
        return lines


def read_supply_status(store: RelayStore) -> SupplyStatus:
    """Nothing where nothing was left, or something that this program does not understand."""
    state, policy = _object(store.get(relay.STATUS_KEY)), _object(store.get(policies.STATUS_KEY))
    circuits, troubles = policy.get("circuits_off"), policy.get("troubles")
    version = policy.get("version")
    return SupplyStatus(
        str(state.get("decider", "")),
        str(state.get("reason", "")),
        str(state.get("waits_to_be", "")),
        str(state.get("trouble", "")),
        version if isinstance(version, int) else 0,
        policy.get("is_saving") is True,
        tuple(circuits) if isinstance(circuits, list) else (),
        tuple([(str(name), str(why)) for name, why in troubles.items()]) if isinstance(troubles, dict) else (),
    )


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
