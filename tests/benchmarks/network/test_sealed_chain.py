"""A chain that one process seals with all its validators' keys: good for any node, made once, read from disk again."""

from pathlib import Path

import pytest

from benchmarks.network.final_chain import Losses, find_losses, read_chain
from benchmarks.network.sealed_chain import ChainPlan, chain_folder, import_plainly, read_sealed
from chain.block import decode_block
from node.settings import GENESIS_FILE

PLAN = ChainPlan(blocks=3, transfers=2, validators=4, senders=2, recipients=3)


def quiet(phase: str, done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain_folder(PLAN, tmp_path_factory.mktemp("chains"), quiet)


def test_it_can_be_imported_by_anybody(folder: Path, tmp_path: Path) -> None:
    sealed = list(read_sealed(folder))
    assert [len(decode_block(encoded).transactions) for encoded, _ in sealed] == [2, 2, 2]
    assert all(certificate for _, certificate in sealed)
    assert import_plainly(sealed, tmp_path / "new", folder / GENESIS_FILE, quiet).blocks_per_s > 0
    assert not (tmp_path / "new").exists()


def test_what_is_on_disk_is_told(folder: Path) -> None:
    chain = read_chain(folder)
    assert [header.number for header in chain.headers] == [0, 1, 2, 3]
    assert [number for _, number in chain.transactions] == [1, 1, 2, 2, 3, 3]
    assert (chain.certificates, chain.missing_bodies) == (3, 0)
    assert chain.state_root == chain.headers[-1].state_root
    accepted = [transaction for transaction, _ in chain.transactions]
    assert find_losses(accepted, chain) == Losses((), ())
    assert find_losses([*accepted, bytes(32)], chain).missing == (bytes(32),)


def test_it_is_made_once(folder: Path) -> None:
    def fails(phase: str, done: int, total: int) -> None:
        raise AssertionError("it is made again")

    assert chain_folder(PLAN, folder.parent, fails) == folder
    assert folder.name == "qbft-1-3blocks-2transfers-4validators-2senders-3recipients"
