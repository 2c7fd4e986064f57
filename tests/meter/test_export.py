"""Readings and gaps as a table: from a ledger with the real contracts, and an outbox beside it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import meter.log_stretches as stretches_module
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.commands import meter as meter_command
from meter.export import COLUMNS, ExportRow, Span, export_rows
from meter.gaps import Gap, GapJournal
from meter.head import first_head
from meter.ledger import MeterLedger
from meter.outbox import Outbox
from meter.reading import NO_HASH, Reading
from meter.signer import KeySigner
from tests.meter.fake_node import GENESIS_TIME_S, METER, METER_KEY, Failure, FakeNode
from tests.meter.submitter_scene import DOMAIN, Scene
from wallet.answers import Log
from wallet.client import BlockTag, RpcError
from wallet.keystore import ScryptCost, encrypt_key

HOUR_S = 3600
EVERYTHING = Span(0, 2**40)


async def made_scene(folder: Path) -> Scene:
    """Five hourly readings on the ledger, each accepted in the hour after its own."""
    made = Scene(folder)
    made.node.block_time_s = 1800
    await made.submitter.adopt()
    for hour in range(5):
        made.node.mine(2)
        made.clock.now_s = made.node.blocks[-1].time_s
        made.measure(time_s=GENESIS_TIME_S + hour * HOUR_S)
        await made.settle()
    return made


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """To look at only."""
    made = asyncio.run(made_scene(tmp_path_factory.mktemp("settled")))
    yield made
    made.outbox.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = await made_scene(tmp_path)
    yield made
    made.outbox.close()


async def rows_of(
    node: FakeNode | None, outbox: Outbox | None, span: Span = EVERYTHING, gaps: Sequence[Gap] = ()
) -> list[ExportRow]:
    ledger = None if node is None else MeterLedger(node, METER_ADDRESS, EXHAUSTION_ADDRESS)
    return [row async for row in export_rows(ledger, outbox, gaps, METER, span)]


async def test_all_that_the_ledger_has(settled: Scene) -> None:
    rows = await rows_of(settled.node, settled.outbox)
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert {row.where for row in rows} == {"ledger"}
    assert [row.taken_wh for row in rows] == ["", 1000, 1000, 1000, 1000]
    assert rows[0].time_s == GENESIS_TIME_S
    assert rows[1].import_wh == 2000


async def test_a_span_holds_its_beginning_and_not_its_end(settled: Scene) -> None:
    span = Span(GENESIS_TIME_S + HOUR_S, GENESIS_TIME_S + 3 * HOUR_S)
    assert [row.sequence for row in await rows_of(settled.node, settled.outbox, span)] == [2, 3]
    assert await rows_of(settled.node, settled.outbox, Span(2**39, 2**40)) == []


async def test_what_waits_and_what_was_set_aside_stand_where_they_belong(scene: Scene) -> None:
    scene.measure(3, time_s=GENESIS_TIME_S + 10 * HOUR_S)
    scene.outbox.quarantine(7, "the ledger will not take it")
    rows = await rows_of(scene.node, scene.outbox)
    assert [(row.sequence, row.where) for row in rows][4:] == [
        (5, "ledger"),
        (6, "waiting"),
        (7, "set aside"),
        (8, "waiting"),
    ]
    assert rows[6].remark == "the ledger will not take it"
    here = await rows_of(None, scene.outbox)
    assert [row.sequence for row in here] == [6, 7, 8]


async def test_a_reading_in_both_places_is_told_once(scene: Scene) -> None:
    scene.measure(time_s=GENESIS_TIME_S + 6 * HOUR_S)
    await scene.submitter.step()
    scene.node.mine()  # accepted, but not deep enough to leave the outbox
    assert scene.outbox.count() == 1
    rows = await rows_of(scene.node, scene.outbox)
    assert [(row.sequence, row.where) for row in rows][4:] == [(5, "ledger"), (6, "ledger")]


async def test_gaps_stand_between_the_readings(settled: Scene) -> None:
    gaps = [
        Gap(GENESIS_TIME_S + HOUR_S + 5, GENESIS_TIME_S + HOUR_S + 65, "the board was silent"),
        Gap(GENESIS_TIME_S + 9 * HOUR_S, None, "unplugged"),
    ]
    rows = await rows_of(settled.node, settled.outbox, gaps=gaps)
    assert [row.row for row in rows] == ["reading", "reading", "gap", "reading", "reading", "reading", "gap"]
    assert (rows[2].remark, rows[2].until_s) == ("the board was silent", GENESIS_TIME_S + HOUR_S + 65)
    assert (rows[6].until, rows[6].until_s) == ("", "")


class StingyNode(FakeNode):
    """Answers about so many blocks at most."""

    greatest = 3
    asked: list[int]

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        assert isinstance(from_block, int)
        assert isinstance(to_block, int)
        count = to_block - from_block + 1
        if count > self.greatest:
            raise RpcError("eth_getLogs", -32005, "too much")
        return await super().logs(addresses, topics, from_block, to_block)


async def test_a_node_that_answers_little_is_asked_for_less(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled.node, "__class__", StingyNode)
    assert [row.sequence for row in await rows_of(settled.node, settled.outbox)] == [1, 2, 3, 4, 5]
    monkeypatch.setattr(StingyNode, "greatest", 0)
    with pytest.raises(RpcError, match="too much"):
        await rows_of(settled.node, settled.outbox)


class ForgetfulNode(FakeNode):
    """Says everything twice, and what it said before again."""

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        return 2 * await super().logs(addresses, topics, 0, to_block)


async def test_a_table_never_tells_a_reading_twice(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled.node, "__class__", ForgetfulNode)
    monkeypatch.setattr(stretches_module, "MAX_LOG_BLOCKS", 5)
    assert [row.sequence for row in await rows_of(settled.node, settled.outbox)] == [1, 2, 3, 4, 5]


async def test_what_is_read_of_the_ledger_is_bounded(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks before the span are not asked for, nor those behind its end."""
    monkeypatch.setattr(stretches_module, "MAX_LOG_BLOCKS", 6)
    told: list[tuple[int, int]] = []
    ledger = MeterLedger(settled.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
    span = Span(GENESIS_TIME_S + HOUR_S, GENESIS_TIME_S + 2 * HOUR_S)
    settled.node.calls.clear()
    rows = [
        row async for row in export_rows(ledger, None, (), METER, span, lambda done, total: told.append((done, total)))
    ]
    assert [row.sequence for row in rows] == [2]
    assert told[0][0] == 0
    assert told[0][1] < len(settled.node.blocks)
    assert told[-1][0] < told[-1][1] / 2
    assert settled.node.calls.count("logs") == len(told) <= 3


async def test_trouble_is_told(settled: Scene) -> None:
    settled.node.failures.append(Failure("logs", RpcError("eth_getLogs", 4444, "pruned history unavailable")))
    settled.node.failures.append(Failure("logs", RpcError("eth_getLogs", 4444, "pruned history unavailable")))
    assert [row.sequence for row in await rows_of(settled.node, None)] == [1, 2, 3, 4, 5]


SETTINGS = """
[meter]
key = "meter.json"
outbox = "outbox.sqlite"
[ledger]
chain_id = 4711
node = "http://127.0.0.1:9"
[driver]
kind = "simulated-home"
"""


@pytest.fixture(scope="module")
def key_file() -> str:
    return encrypt_key(METER_KEY, "secret", ScryptCost(2**10, 8, 1))


@pytest.fixture
def folder(tmp_path: Path, key_file: str) -> Path:
    (tmp_path / "meter.toml").write_text(SETTINGS)
    (tmp_path / "meter.json").write_text(key_file)
    with closing(Outbox.open(tmp_path / "outbox.sqlite", DOMAIN, METER)) as outbox:
        outbox.adopt(first_head(), bytes(32), 0)
        previous = NO_HASH
        for sequence in (1, 2):
            reading = Reading(METER, sequence, 1_780_000_000, 1000 * sequence, 0, 5, 0, previous)
            previous = reading.hash
            outbox.append(DOMAIN.sign(reading, KeySigner(METER_KEY)), b"")
        journal = GapJournal(outbox.database)
        journal.begin(1_780_000_010, "the board was silent")
        journal.end(1_780_000_070)
        journal.flush()
    return tmp_path


def invoke(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(meter_command, ["export", "--settings", str(folder / "meter.toml"), *arguments])


def test_the_command_writes_a_table(folder: Path) -> None:
    target = folder / "table.csv"
    result = invoke(folder, str(target), "--here", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["readings"], answer["gaps"], answer["last_s"]) == (2, 1, 1_780_000_000)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["row"] for row in rows] == ["reading", "reading", "gap"]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["time"] == "2026-05-28T20:26:40Z"
    assert invoke(folder, str(target), "--here").exit_code == 2  # not overwritten
    assert invoke(folder, str(target), "--here", "--overwrite").exit_code == 0
    assert sorted(path.name for path in folder.glob("*table*")) == ["table.csv"]


def test_the_command_writes_to_standard_output(folder: Path) -> None:
    result = invoke(folder, "--here", "--from", "2026-05-28", "--to", "2026-05-29")
    assert len(list(csv.reader(io.StringIO(result.stdout)))) == 4
    outside = invoke(folder, "--here", "--to", "2026-05-28")
    assert len(outside.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "With --here, what is on this computer"),
        (("--from", "2026-06-02", "--to", "2026-06-01"), "--to must be later"),
        (("--from", "soon"), "soon"),
        (("--json",), "name one"),
        (("/nowhere/at/all.csv", "--here"), "cannot be written"),
    ],
)
def test_refusals(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(folder, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
