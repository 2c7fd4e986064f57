"""Energy in whole mW * ms, so that power over time adds up exactly: nothing is rounded before a register is shown.

A register is the floor of its sum in Wh; what is left over stays in the sum and goes on with it, over restarts too.
Power of a measurement holds since the one before it (rectangle rule).
"""

from dataclasses import dataclass

MWMS_PER_MWH = 3_600 * 1_000
MWMS_PER_WH = 1_000 * MWMS_PER_MWH


@dataclass(slots=True)
class EnergySums:
    """What was taken from the grid and what was given to it, apart."""

    import_mwms: int = 0
    export_mwms: int = 0

    @property
    def import_wh(self) -> int:
        return self.import_mwms // MWMS_PER_WH

    @property
    def export_wh(self) -> int:
        return self.export_mwms // MWMS_PER_WH

    def add_power(self, power_mw: int, duration_ms: int) -> None:
        """Power that held for a time; negative power is given to the grid."""
        if power_mw >= 0:
            self.import_mwms += power_mw * duration_ms
        else:
            self.export_mwms -= power_mw * duration_ms

    def add_energy(self, import_mwh: int, export_mwh: int) -> None:
        """What a device's own registers have gone on by; neither is below 0."""
        self.import_mwms += import_mwh * MWMS_PER_MWH
        self.export_mwms += export_mwh * MWMS_PER_MWH

    def raise_to(self, import_wh: int, export_wh: int) -> None:
        """Go on from registers that are further, such as the ledger's; a sum that is there already keeps its rest."""
        if self.import_wh < import_wh:
            self.import_mwms = import_wh * MWMS_PER_WH
        if self.export_wh < export_wh:
            self.export_mwms = export_wh * MWMS_PER_WH
