"""What a light client trusts: a genesis file, and of a node's settings what decides about the chain."""

import json
from pathlib import Path

import pytest

from chain.config import ValidatorOverride
from chain.consensus.qbft.validators import ValidatorSet
from chain.trie.root import state_root
from primitives.clock import AcceleratedClock, ManualClock, SystemClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from tests.chain.ledger_world import world_genesis
from tests.chain.qbft.authority_world import VALIDATORS, authority_document, authority_genesis
from wallet.light.trust import Trust, load_trust

NAMES = ", ".join(f'"{to_checksum_address(one)}"' for one in VALIDATORS[:2])
OVERRIDE = f"[consensus]\nvalidate = false\nvalidator_overrides = [{{ block = 7, validators = [{NAMES}] }}]\n"


def folder_with(path: Path, settings: str = "", **changes: object) -> Path:
    (path / "genesis.json").write_text(json.dumps(authority_document(**changes)))  # type: ignore[arg-type]
    if settings:
        (path / "wattchain.toml").write_text(settings)
    return path


def test_a_genesis_file_or_a_folder_with_one(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    for path in (folder, folder / "genesis.json"):
        trust = load_trust(path)
        assert trust.is_qbft
        assert trust.config == authority_genesis().config
        assert trust.first_validators() == ValidatorSet.of(VALIDATORS)
        assert isinstance(trust.clock, SystemClock)


def test_overrides_and_the_clock_come_from_the_settings_beside_it(tmp_path: Path) -> None:
    clock = "[clock]\nrate = 10\norigin_s = 5\nwall_origin_s = 6\n[rpc]\nport = 1\n[unknown]\n"
    trust = load_trust(folder_with(tmp_path, OVERRIDE + clock, network="development"))
    assert trust.config.validator_overrides == (ValidatorOverride(7, ValidatorSet.of(VALIDATORS[:2])),)
    assert isinstance(trust.clock, AcceleratedClock)


def test_settings_from_elsewhere(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "[consensus]\nvalidate = true\n")
    assert load_trust(folder).config.validator_overrides == ()
    settings = tmp_path / "rescue.toml"
    settings.write_text(OVERRIDE)
    assert len(load_trust(folder, settings).config.validator_overrides) == 1
    with pytest.raises(UserError, match="There is no settings file"):
        load_trust(folder, tmp_path / "absent.toml")


def entry(block: object, validators: str = f"[{NAMES}]") -> str:
    return f"{{ block = {block}, validators = {validators} }}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (f"[consensus]\nvalidator_overrides = [{entry(0)}]", "from 1 on"),
        (f"[consensus]\nvalidator_overrides = [{entry(2**64)}]", "from 1 on"),
        (f"[consensus]\nvalidator_overrides = [{entry(5)}, {entry(5)}]", "names a block twice"),
        (f"[consensus]\nvalidator_overrides = [{entry(5, '[]')}]", "block 5: 0 validators"),
        (f"[consensus]\nvalidator_overrides = [{entry(5, f'[{NAMES}, {NAMES}]')}]", "named twice"),
        ("[consensus]\nvalidator_overrides = 7", "must be a list"),
        ("[consensus]\nvalidator_overrides = [{ block = 1 }]", "lacks the setting"),
        (f"[consensus]\nvalidator_overrides = [{', '.join(entry(one) for one in range(1, 70))}]", "more than 64"),
        ("[clock]\nrate = 2", "accelerated clock is for development"),
        ("[clock", "not valid TOML"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, settings: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_trust(folder_with(tmp_path, settings))


def test_overrides_are_for_qbft(tmp_path: Path) -> None:
    document = {"config": {"chainId": 5}, "difficulty": "0x1", "alloc": {}}
    (tmp_path / "genesis.json").write_text(json.dumps(document))
    assert load_trust(tmp_path).first_validators() is None
    (tmp_path / "wattchain.toml").write_text(OVERRIDE)
    with pytest.raises(UserError, match="one of proof of work"):
        load_trust(tmp_path)


def test_no_genesis_file_is_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json"):
        with pytest.raises(UserError, match="in a way that you trust"):
            load_trust(path)
    (tmp_path / "genesis.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be used"):
        load_trust(tmp_path)


def test_a_chain_is_told_from_others_without_its_state_root() -> None:
    clock = ManualClock()
    identities = set()
    files = (authority_genesis(), authority_genesis(VALIDATORS[:3]), world_genesis(), world_genesis(fees="zero"))
    for genesis in files:
        trust = Trust(genesis, clock)
        identities.add(trust.identity)
        assert trust.identity != genesis.header(state_root(genesis.state.accounts, genesis.state.storage)).hash
        assert trust.identity == Trust(genesis, clock).identity
    assert len(identities) == len(files)
