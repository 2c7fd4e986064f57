"""A process is killed (SIGKILL) while it puts a fetched state in place: what is opened again is the old ledger with the
fetch as it was, or the new one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chain.account import Account, StateChanges
from tests.chain.fetch_world import Server, Side, aim, assert_same, everything, fetch_all
from tests.chain.store.state_model import Model

PROGRAM = """
import sys
from pathlib import Path
from tests.chain.test_state_fetch_killed import finish_and_die
finish_and_die(Path(sys.argv[1]), sys.argv[2])
"""


def finish_and_die(directory: Path, moment: str) -> None:
    """At the statement that begins so, before it is carried out, or else at the end."""
    side = Side(directory)

    def watch(statement: str) -> None:
        if statement.startswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    side.database.connection.execute("PRAGMA cache_size = -64")  # so that much is on the disk before the end
    side.database.connection.set_trace_callback(watch)
    side.fetch.finish()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "is_done"), [("DROP TABLE fetched_accounts", False), ("COMMIT", False), ("at the end", True)]
)
def test_a_killed_node_has_the_old_ledger_or_the_new(tmp_path, moment, is_done):
    theirs, ours = Side(tmp_path / "theirs"), Side(tmp_path / "ours")
    model = Model({bytes(20): Account(0, 1)})
    theirs.begin(model)
    ours.begin(model)
    many = {number.to_bytes(20, "big"): Account(1, number) for number in range(1_500)}
    theirs.commit(StateChanges(many, {bytes(20): dict.fromkeys(range(500), 1)}))
    server = Server(theirs.database, 5_000)
    aim(ours, theirs, 1)
    fetch_all(ours.fetch, server, 1)
    before = everything(ours)
    ours.database.close()
    killed = subprocess.run([sys.executable, "-c", PROGRAM, str(ours.directory), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    ours.open()
    if not is_done:
        assert everything(ours) == before
        ours.fetch.finish()
    assert_same(ours, theirs, 1)
    server.past.close()
    theirs.database.close()
    ours.database.close()
