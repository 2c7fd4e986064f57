"""The settings of a market agent, in a file of its own (agent.toml): it needs the owner's key, which the meter has not.

docs/metering/agent.md describes each of them. Names of files are taken from the folder of the settings file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from meter.agent.limits import MARKETS, PERMILLE, Limits
from primitives.errors import UserError, mended_by_a_person
from wallet.amounts import WEI_PER_WATT
from wallet.quantities import WH_PER_KWH
from wallet.settings_file import ClockSettings, Range, check_ranges, parse_sections, read_document
from wallet.transfer import DEFAULT_MAX_FEE_WEI

MAX_PRICE_WATT = 10_000
"""A kWh. The contracts' own bound; above it a price is a mistake."""
MAX_KWH = 10**6
MAX_WATT = 10**9


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """[account]: whose energy and money it is; registered as a producer or a consumer."""

    key: Path
    """Key file (Web3 Secret Storage)."""
    password_file: Path | None = None
    """Without it the password is systemd's credential account-password, or asked at the terminal."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """[ledger]"""

    chain_id: int
    node: str = "http://127.0.0.1:8545"
    spare_nodes: tuple[str, ...] = ()
    confirmations: int = 6
    """Blocks on top of a transaction's before it is not looked for any more; 0 where blocks are final."""
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI


@dataclass(frozen=True, slots=True)
class TradeSettings:
    """[agent]: what it may do."""

    meter: bytes
    """The owner's meter, whose energy is traded."""
    state: Path = Path("agent.sqlite")
    """What it has done, and why; made where it is missing."""
    dry_run: bool = True
    """Only say what would be done. The owner sets it to false after having read that for a while."""
    markets: tuple[str, ...] = MARKETS
    least_ask_price: Decimal = Decimal(0)
    """WATT a kWh."""
    greatest_bid_price: Decimal = Decimal(0)
    greatest_energy_per_day: Decimal = Decimal(0)
    """kWh."""
    greatest_spend_per_day: Decimal = Decimal(0)
    """WATT."""
    greatest_fees_per_day: Decimal = Decimal(1)
    """WATT that all transactions of 24 hours can cost in fees."""
    reserve_percent: Decimal = Decimal(20)
    least_days: int = 7
    payout_from: Decimal = Decimal(1)
    """WATT."""
    interval_s: int = 300
    """How often it looks. Below half of the time in which sealed orders are revealed."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    account: OwnerSettings
    ledger: NodeSettings
    agent: TradeSettings
    clock: ClockSettings = field(default_factory=ClockSettings)

    def greatest_fees_wei(self) -> int:
        """Raises UserError for what is no whole number of wei."""
        return _whole("agent.greatest_fees_per_day", self.agent.greatest_fees_per_day * WEI_PER_WATT, "wei")

    def limits(self) -> Limits:
        """In the contracts' units. Raises UserError for what is no whole number of them."""
        agent = self.agent
        return Limits(
            _whole("agent.least_ask_price", agent.least_ask_price * WEI_PER_WATT / WH_PER_KWH, "wei a Wh"),
            _whole("agent.greatest_bid_price", agent.greatest_bid_price * WEI_PER_WATT / WH_PER_KWH, "wei a Wh"),
            _whole("agent.greatest_energy_per_day", agent.greatest_energy_per_day * WH_PER_KWH, "Wh"),
            _whole("agent.greatest_spend_per_day", agent.greatest_spend_per_day * WEI_PER_WATT, "wei"),
            _whole("agent.reserve_percent", agent.reserve_percent * PERMILLE / 100, "thousandths"),
            agent.markets,
            _whole("agent.payout_from", agent.payout_from * WEI_PER_WATT, "wei"),
            agent.least_days,
        )


_SECTIONS: dict[str, Any] = {
    "account": OwnerSettings,
    "ledger": NodeSettings,
    "agent": TradeSettings,
    "clock": ClockSettings,
}


def load_agent_settings(path: Path) -> AgentSettings:
    """Raises UserError naming what is wrong."""
    try:
        document = read_document(path)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no settings file {path}: write one (docs/metering/agent.md has an example), or name it with "
            "--settings"
        ) from error
    return _parse(document, path)


@mended_by_a_person()
def _parse(document: Mapping[str, Any], path: Path) -> AgentSettings:
    sections = parse_sections(document, _SECTIONS, path)
    for name in ("account", "ledger", "agent"):
        if name not in sections:
            raise UserError(
                f"The settings file {path} lacks the section [{name}]: docs/metering/agent.md has an example."
            )
    if "state" not in document.get("agent", {}):
        sections["agent"] = _beside(sections["agent"], path)
    settings = AgentSettings(**sections)
    _check(settings, path)
    return settings


def _beside(agent: TradeSettings, path: Path) -> TradeSettings:
    """With the default name of the state's file taken from the folder of the settings, as a given one is."""
    values = {name: getattr(agent, name) for name in TradeSettings.__slots__}
    return TradeSettings(**{**values, "state": path.parent / agent.state})


def _check(settings: AgentSettings, path: Path) -> None:
    agent = settings.agent
    rows: tuple[Range, ...] = (
        ("ledger.chain_id", settings.ledger.chain_id, 1, 2**53 - 1),
        ("ledger.confirmations", settings.ledger.confirmations, 0, 1000),
        ("ledger.max_fee_wei", settings.ledger.max_fee_wei, 0, 2**63 - 1),
        ("agent.least_ask_price", agent.least_ask_price, 0, MAX_PRICE_WATT),
        ("agent.greatest_bid_price", agent.greatest_bid_price, 0, MAX_PRICE_WATT),
        ("agent.greatest_energy_per_day", agent.greatest_energy_per_day, 0, MAX_KWH),
        ("agent.greatest_spend_per_day", agent.greatest_spend_per_day, 0, MAX_WATT),
        ("agent.greatest_fees_per_day", agent.greatest_fees_per_day, 0, MAX_WATT),
        ("agent.reserve_percent", agent.reserve_percent, 0, 100),
        ("agent.least_days", agent.least_days, 3, 28),
        ("agent.payout_from", agent.payout_from, 0, MAX_WATT),
        # Sealed orders are revealed within 15 minutes: that leaves three attempts.
        ("agent.interval_s", agent.interval_s, 10, 300),
        *settings.clock.ranges(),
    )
    check_ranges(rows)
    unknown = [name for name in agent.markets if name not in MARKETS]
    if unknown or not agent.markets or len(set(agent.markets)) != len(agent.markets):
        raise UserError(
            f'In {path}, agent.markets must name one or both of "market" and "auction", the preferred one first.'
        )
    settings.limits()
    settings.greatest_fees_wei()


def _whole(name: str, value: Decimal, unit: str) -> int:
    if value != int(value):
        raise UserError(f"The setting {name} is no whole number of {unit}; give fewer digits.")
    return int(value)
