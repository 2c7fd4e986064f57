"""The wallet's commands against a whole node that runs as a process of its own.

A network is made with one funded key; WATT is sent, with and without fees; balances add up to the wei.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli import main

OTHER = "0x2222222222222222222222222222222222222222"
MINER = "0x1111111111111111111111111111111111111111"
WATT = 10**18
REPOSITORY = Path(__file__).resolve().parents[2]


class Person:
    """Runs `wattchain` with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.password_file = folder / "password"
        self.password_file.write_text("secret\n")
        self.password_file.chmod(0o600)
        self.environment = {"WATTCHAIN_KEYSTORE": str(folder / "keys"), "WATTCHAIN_DATA": str(folder / "node")}

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env=self.environment)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def send(self, to: str, amount: str, *more: str) -> Any:
        return self.json("wallet", "send", to, amount, "--yes", "--password-file", str(self.password_file), *more)

    def balance_wei(self, account: str) -> int:
        return int(self.json("wallet", "balance", account)[0]["wei"])


@contextmanager
def running_node(person: Person) -> Iterator[None]:
    """A node that mines; the person's commands know its address."""
    ports = ("--rpc-port", "0", "--p2p-port", "0", "--no-discovery")
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "node", "--mine", "--coinbase", MINER, *ports, "--json"],
        cwd=REPOSITORY,
        env={**os.environ, **person.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        person.environment["WATTCHAIN_NODE"] = json.loads(process.stdout.readline())["rpc"]
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=60)
        process.stdout.close()
    assert status == 0


@pytest.mark.slow
@pytest.mark.parametrize("fees", ["zero", "eip1559"])
def test_watt_is_sent_and_adds_up(tmp_path: Path, fees: str) -> None:
    person = Person(tmp_path)
    key = person.json("wallet", "new", "--name", "home", "--light", "--password-file", str(person.password_file))
    network = ["--operator", key["address"], "--fund", f"{key['address']}=100", "--fees", fees, "--development"]
    person.json("init", *network, "--block-time", "1", "--difficulty", "1", "--difficulty-rule", "fixed")
    with running_node(person):
        assert person.balance_wei("home") == 100 * WATT
        sent = person.send(OTHER, "1.5")
        assert sent["block"] >= 1
        assert person.balance_wei(OTHER) == 15 * 10**17
        assert person.balance_wei("home") == 100 * WATT - 15 * 10**17 - int(sent["fee_wei"])
        assert (sent["fee_wei"] == "0") is (fees == "zero")

        # The next nonce, and what is refused leaves everything as it was.
        assert person.send(OTHER, "1wei", "--from", "home")["block"] > 0
        refused = person.run("wallet", "send", OTHER, "99", "--yes", "--password-file", str(person.password_file))
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "less than 99 WATT" in refused.stderr
        wrong = tmp_path / "wrong"
        wrong.write_text("guess\n")
        wrong.chmod(0o600)
        refused = person.run("wallet", "send", OTHER, "1", "--yes", "--password-file", str(wrong))
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.splitlines()[-1].startswith("Error: The password does not open")
        assert person.balance_wei(OTHER) == 15 * 10**17 + 1
