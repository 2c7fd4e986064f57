"""How a meter is doing, read beside its running daemon: its outbox, its relay, and the ledger if a node answers."""

import contextlib
from dataclasses import dataclass

from meter.alterations import Alteration
from meter.assembly import meter_address, reading_domain
from meter.calibration_state import read_state
from meter.gaps import Gap, GapJournal
from meter.head import Head
from meter.kept_values import KeptValues
from meter.ledger import MeterLedger, NodeTrouble
from meter.outbox import Outbox, StoredReading
from meter.relay_store import RelayStore
from meter.running_page import RunningPage, read_page
from meter.settings import MeterSettings
from meter.supply_status import SupplyStatus, read_supply_status
from meter.switch_journal import Switching, SwitchJournal
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.ledger_identity import LedgerIdentity, WrongLedger

# A person waits for the answer.
NODE_TIMEOUT_S = 5.0
MAX_SHOWN_QUARANTINED = 20
MAX_SHOWN_ALTERATIONS = 20


@dataclass(frozen=True, slots=True)
class MeterStatus:
    meter: bytes
    head: Head | None
    waiting: int
    set_aside: int
    """Readings that the ledger will not take."""
    quarantined: tuple[StoredReading, ...]
    """The oldest MAX_SHOWN_QUARANTINED of them."""
    altered: int
    """How often the outbox was not as this meter wrote it, or another device was seen."""
    alterations: tuple[Alteration, ...]
    """The newest MAX_SHOWN_ALTERATIONS of them."""
    transactions: int
    switching: Switching | None
    supply: SupplyStatus
    gap: Gap | None
    """The last time without measurements; it may last."""
    calibration: str | None
    """Which factors are in force, and what the ledger says of them; None where nothing is calibrated here."""
    running: RunningPage | None
    """What the running meter says of itself; None where none runs, or where there is no folder in memory."""
    ledger_block: int | None
    ledger_sequence: int | None
    trouble: str
    """Why the ledger is not in reach."""

    def to_json(self) -> dict[str, object]:
        head, switching = self.head, self.switching
        return {
            "meter": to_checksum_address(self.meter),
            "last_reading": None
            if head is None
            else {
                "sequence": head.sequence,
                "time_s": head.registers.time_s,
                "import_wh": head.registers.import_wh,
                "export_wh": head.registers.export_wh,
            },
            "waiting": self.waiting,
            "set_aside": self.set_aside,
            "quarantined": [
                {"sequence": stored.signed.reading.sequence, "reason": stored.quarantined}
                for stored in self.quarantined
            ],
            "altered": self.altered,
            "alterations": [
                {
                    "kind": str(one.kind),
                    "first_sequence": one.first_sequence,
                    "last_sequence": one.last_sequence,
                    "what": one.what,
                    "told_in_reading": one.told_sequence,
                }
                for one in self.alterations
            ],
            "transactions": self.transactions,
            "supply": None
            if switching is None
            else {
                "is_on": switching.is_on,
                "time_s": switching.time_s,
                "block": switching.block_number,
                "reason": switching.reason,
            },
            "control": self.supply.to_json(),
            "last_gap": None
            if self.gap is None
            else {"from_s": self.gap.from_s, "until_s": self.gap.until_s, "reason": self.gap.reason},
            "calibration": self.calibration,
            "running": None if self.running is None else self.running.to_json(),
            "ledger": None
            if self.ledger_sequence is None
            else {"block": self.ledger_block, "last_sequence": self.ledger_sequence},
        }


async def read_status(settings: MeterSettings, *, ask_node: bool) -> MeterStatus:
    """Raises UserError where there is no outbox, or it is damaged or of another meter."""
    meter = meter_address(settings)
    outbox = Outbox.open_for_reading(settings.meter.outbox, reading_domain(settings), meter)
    block = sequence = None
    trouble = "not asked"
    with contextlib.closing(outbox):
        if ask_node:
            try:
                identity = LedgerIdentity(settings.ledger.chain_id, outbox.genesis_hash())
                section = settings.ledger
                async with RpcClient(
                    section.node, NODE_TIMEOUT_S, spare_urls=section.spare_nodes, ledger=identity
                ) as node:
                    ledger = MeterLedger(node, section.meter_contract, section.exhaustion_contract)
                    block = await node.block_number()
                    sequence = (await ledger.last_reading(meter)).sequence
            except (*NodeTrouble, WrongLedger) as error:
                trouble = str(error)
        set_aside = outbox.count_quarantined()
        return MeterStatus(
            meter,
            outbox.head(),
            outbox.count() - set_aside,
            set_aside,
            tuple(outbox.quarantined(MAX_SHOWN_QUARANTINED)),
            outbox.alterations.count(),
            tuple(outbox.alterations.newest(MAX_SHOWN_ALTERATIONS)),
            len(outbox.transactions()),
            SwitchJournal(outbox.database).last(),
            read_supply_status(RelayStore(outbox.database, is_writable=False)),
            next(iter(GapJournal(outbox.database).newest(1)), None),
            read_state(KeptValues(outbox.database)),
            read_page(settings.meter.outbox, settings.meter.runtime_folder),
            block,
            sequence,
            trouble,
        )
