"""What a light client takes for true without proof: the genesis file, an operator's settings, this computer's clock.

Everything else is checked. Of a node's settings file only what decides about the chain is read: [clock], and the
overrides of validators in [consensus].
"""

from dataclasses import dataclass, replace
from pathlib import Path

from chain.config import DEVELOPMENT, QBFT, ChainConfig, ValidatorOverride
from chain.consensus.engine import Engine, engine_for
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import Genesis, load_genesis
from chain.header import Header
from primitives.clock import Clock
from primitives.errors import InvalidGenesis, UserError
from primitives.keccak import keccak256
from wallet.settings_file import ClockSettings, parse_sections, read_document

GENESIS_FILE = "genesis.json"
SETTINGS_FILE = "wattchain.toml"
"""As they lie in a node's data directory."""
MAX_OVERRIDES = 64
"""As in a node's settings: each is a rescue after most validators were lost."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The root of everything that is proved. `genesis.config` holds the overrides."""

    genesis: Genesis
    clock: Clock

    @property
    def config(self) -> ChainConfig:
        return self.genesis.config

    @property
    def is_qbft(self) -> bool:
        return self.config.consensus == QBFT

    @property
    def identity(self) -> bytes:
        """32 bytes that tell this chain, and the rules by which it is checked, from any other.

        The state's digest stands in for its root, which takes more work. Overrides are left aside: they may come later.
        """
        rules = repr(replace(self.config, validator_overrides=()))
        return keccak256(self.genesis.header(self.genesis.state_digest).hash + rules.encode())

    def first_validators(self) -> ValidatorSet | None:
        """Of block 1, overrides left aside; None with proof of work."""
        return self.genesis.validators() if self.is_qbft else None

    def engine(self, genesis_header: Header) -> Engine:
        return engine_for(self.config, genesis_header.hash)


@dataclass(frozen=True, slots=True)
class _Override:
    block: int
    validators: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Consensus:
    validator_overrides: tuple[_Override, ...] = ()


def load_trust(path: Path, settings_path: Path | None = None) -> Trust:
    """From a genesis file, or a data directory with one; settings from a file of their own, or from beside it.

    Raises UserError.
    """
    genesis_path = path / GENESIS_FILE if path.is_dir() else path
    try:
        genesis = load_genesis(genesis_path)
    except OSError as error:
        raise UserError(
            f"The genesis file {genesis_path} cannot be read: {error.strerror}. It is what this client trusts; "
            "copy it from a node of your network, in a way that you trust, and name it with --genesis."
        ) from error
    except InvalidGenesis as error:
        raise UserError(f"The genesis file {genesis_path} cannot be used: {error}.") from error
    clock, overrides = _read_settings(genesis_path.with_name(SETTINGS_FILE), settings_path)
    if clock.rate != 1 and genesis.config.network != DEVELOPMENT:
        raise UserError("An accelerated clock is for development networks; this one is in production.")
    if overrides and genesis.config.consensus != QBFT:
        raise UserError("The settings override validators, but this chain is one of proof of work.")
    config = replace(genesis.config, validator_overrides=overrides)
    return Trust(replace(genesis, config=config), clock.make())


def _read_settings(beside: Path, named: Path | None) -> tuple[ClockSettings, tuple[ValidatorOverride, ...]]:
    path = named or beside
    try:
        document = read_document(path)
    except FileNotFoundError:
        if named is None:
            return ClockSettings(), ()
        raise UserError(f"There is no settings file {path}.") from None
    wanted = {name: section for name, section in document.items() if name == "clock"}
    consensus = document.get("consensus")
    if isinstance(consensus, dict) and "validator_overrides" in consensus:
        wanted["consensus"] = {"validator_overrides": consensus["validator_overrides"]}
    sections = parse_sections(wanted, {"clock": ClockSettings, "consensus": _Consensus}, path)
    listed: tuple[_Override, ...] = sections.get("consensus", _Consensus()).validator_overrides
    return sections.get("clock", ClockSettings()), _overrides(listed, path)


def _overrides(listed: tuple[_Override, ...], path: Path) -> tuple[ValidatorOverride, ...]:
    if len(listed) > MAX_OVERRIDES or len({one.block for one in listed}) != len(listed):
        raise UserError(f"In {path}, consensus.validator_overrides names a block twice, or more than {MAX_OVERRIDES}.")
    overrides = []
    for one in listed:
        if not 1 <= one.block < 2**63:
            raise UserError(f"In {path}, consensus.validator_overrides must name blocks from 1 on, not {one.block}.")
        try:
            overrides.append(ValidatorOverride(one.block, ValidatorSet.of(one.validators)))
        except ValueError as error:
            raise UserError(f"In {path}, the override of validators for block {one.block}: {error}.") from error
    return tuple(overrides)
