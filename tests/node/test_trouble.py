"""What goes wrong around a node ends it with one plain sentence; a bug in it ends it with its traceback."""

from pathlib import Path

import pytest

from node.application import POOL_JOURNAL_FILE, run_node
from node.new_network import NetworkPlan, genesis_document, write_genesis
from node.service import LedgerService
from node.settings import MiningSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.errors import UserError, plain_cause

OPERATOR = "0x" + "0a" * 20


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    write_genesis(tmp_path / "node", genesis_document(NetworkPlan(operator=b"\x0a" * 20, chain_id=5, difficulty=1)))
    mining = MiningSettings(enabled=True, coinbase=OPERATOR)
    return NodeSettings(tmp_path / "node", rpc=RpcSettings(port=0), mining=mining, p2p=P2pSettings(enabled=False))


async def test_a_full_disk_ends_the_node_with_a_sentence(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def build(_: LedgerService) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(LedgerService, "build", build)
    with pytest.raises(UserError, match="the disk is full"):
        await run_node(settings, lambda _: None)


async def test_a_bug_in_a_task_ends_the_node_loudly(settings: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def build(_: LedgerService) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LedgerService, "build", build)
    with pytest.raises(ExceptionGroup) as caught:
        await run_node(settings, lambda _: None)
    assert caught.group_contains(ZeroDivisionError)


def test_a_bug_beside_a_message_for_a_person_stays_loud() -> None:
    trouble = UserError("the disk is full")
    assert plain_cause(ExceptionGroup("", [ExceptionGroup("", [trouble]), UserError("as well")])) is trouble
    assert plain_cause(ExceptionGroup("", [trouble, ZeroDivisionError()])) is None


async def test_a_journal_that_cannot_be_opened(settings: NodeSettings) -> None:
    (settings.data_directory / POOL_JOURNAL_FILE).mkdir()
    with pytest.raises(UserError, match="journal of submitted transactions, cannot be opened"):
        await run_node(settings, lambda _: None)


async def test_a_journal_that_cannot_be_written(settings: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: object, __: object) -> None:
        raise UserError("the journal cannot be written")

    async def build(_: LedgerService) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(LedgerService, "build", build)
    monkeypatch.setattr("chain.pool.journal.PoolJournal._write", write)
    with pytest.raises(UserError, match="the journal cannot be written"):
        await run_node(settings, lambda _: None)
