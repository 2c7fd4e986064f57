"""[relay] and [[circuits]] in the meter's settings: which switches there are, and how the supply relay decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from contracts.policy import MAX_CIRCUIT
from meter.override import MAX_DURATION_S
from meter.relay_rules import FAIL_SAFE_STATES, FINALITIES, RelaySettings
from meter.switches.catalogue import SwitchSettings, check_switch, used_pins
from primitives.errors import UserError
from wallet.settings_file import DAY_S, check_ranges

# Off-times name circuits by a number of 8 bits; a home has a dozen.
MAX_CIRCUITS = 32


@dataclass(frozen=True, slots=True)
class RelaySection(SwitchSettings):
    """[relay]: what obeys the ledger's word on the supply."""

    enabled: bool = True
    fail_safe: str = "keep"
    """With no ledger in reach for fail_safe_after_s: keep (the meter's own account decides), on or off."""
    fail_safe_after_s: Decimal = Decimal(3600)
    poll_interval_s: Decimal = Decimal(5)
    minimum_on_s: Decimal = Decimal(60)
    minimum_off_s: Decimal = Decimal(60)
    allowance_wei: int = 0
    """Used beyond the credit, with no ledger in reach, before the meter's own account cuts the supply."""
    finality: str = "final"
    """final: ledger.confirmations deep; latest: the newest block."""
    longest_override_s: int = 86_400
    """An order by hand holds this long at most; 0: nobody may give any."""

    def rules(self, confirmations: int) -> RelaySettings:
        return RelaySettings(
            next(state for state in FAIL_SAFE_STATES if state == self.fail_safe),
            float(self.fail_safe_after_s),
            float(self.poll_interval_s),
            float(self.minimum_on_s),
            float(self.minimum_off_s),
            self.allowance_wei,
            next(finality for finality in FINALITIES if finality == self.finality),
            confirmations,
        )

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges(
            (
                ("relay.fail_safe_after_s", self.fail_safe_after_s, 0, 365 * DAY_S),
                ("relay.poll_interval_s", self.poll_interval_s, Decimal("0.01"), DAY_S),
                ("relay.minimum_on_s", self.minimum_on_s, 0, DAY_S),
                ("relay.minimum_off_s", self.minimum_off_s, 0, DAY_S),
                ("relay.allowance_wei", self.allowance_wei, 0, 10**30),
                ("relay.longest_override_s", self.longest_override_s, 0, MAX_DURATION_S),
            )
        )
        for name, value, known in (
            ("fail_safe", self.fail_safe, FAIL_SAFE_STATES),
            ("finality", self.finality, FINALITIES),
        ):
            if value not in known:
                raise UserError(f"relay.{name} is {value!r}; choose one of {', '.join(known)}")
        check_switch(self, "relay")


@dataclass(frozen=True, slots=True)
class CircuitSection(SwitchSettings):
    """One of [[circuits]]: a part of the home that off-times of the policy switch."""

    number: int = 0
    """As the policy's off-times name it."""
    name: str = ""


def check_switches(
    relay: RelaySection,
    circuits: Sequence[CircuitSection],
    saving: SwitchSettings | None,
    inputs: Mapping[str, int],
    *,
    has_mqtt: bool,
) -> None:
    """All switches of a meter together, and the pins that it listens to, by their settings. Raises UserError."""
    relay.check()
    if len(circuits) > MAX_CIRCUITS:
        raise UserError(f"there are {len(circuits)} circuits; {MAX_CIRCUITS} at most")
    switches: dict[str, SwitchSettings] = {"relay": relay} if relay.enabled else {}
    for place, circuit in enumerate(circuits, start=1):
        where = f"circuits[{place}]"
        check_ranges(((f"{where}.number", circuit.number, 1, MAX_CIRCUIT),))
        if circuit.number in [other.number for other in circuits[: place - 1]]:
            raise UserError(f"{where}.number is {circuit.number} again: each circuit has a number of its own")
        check_switch(circuit, where)
        switches[where] = circuit
    if saving is not None:
        check_switch(saving, "saving")
        switches["saving"] = saving
    used_pins(switches, inputs)
    for where, settings in switches.items():
        if settings.needs_mqtt and not has_mqtt:
            raise UserError(f'{where}.kind is "{settings.kind}", which needs the section [mqtt] with the broker')
