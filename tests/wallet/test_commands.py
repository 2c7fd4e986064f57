"""`wattchain wallet`: each command as a person runs it, with its result, its JSON and its plain errors."""

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from tests.wallet.toy_node import ToyNode, serve
from wallet.commands import wallet
from wallet.keystore import ScryptCost, decrypt_key, encrypt_key

KEY = b"\x11" * 32
SENDER = address_of(KEY)
OTHER = "0x" + "22" * 20
WATT = 10**18
REPOSITORY = Path(__file__).resolve().parents[2]


class Wallet:
    """The commands with a key folder and a password file of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keystore = folder / "keystore"
        self.password_file = folder / "password"
        self.password_file.write_text("secret\nsecond line\n")
        self.password_file.chmod(0o600)
        self.environment = {"WATTCHAIN_KEYSTORE": str(self.keystore), "WATTCHAIN_NODE": "http://127.0.0.1:1"}

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(wallet, list(arguments), env=self.environment, input=stdin)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self.ok(*arguments, "--json", stdin=stdin))

    def error(self, *arguments: str, stdin: str | None = None) -> str:
        result = self.run(*arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert "Traceback" not in result.output
        return result.stderr

    @property
    def password(self) -> list[str]:
        return ["--password-file", str(self.password_file)]

    def add_home(self) -> None:
        self.keystore.mkdir(exist_ok=True)
        (self.keystore / "home.json").write_text(encrypt_key(KEY, "secret", ScryptCost(2, 1, 1)))


@pytest.fixture
def mine(tmp_path: Path) -> Wallet:
    return Wallet(tmp_path)


@pytest.fixture
def node(mine: Wallet) -> Iterator[ToyNode]:
    with serve(ToyNode(balances={SENDER: 5 * WATT})) as running:
        mine.environment["WATTCHAIN_NODE"] = running.url
        yield running


def test_a_new_key_is_there_to_be_listed_and_opened(mine: Wallet) -> None:
    made = mine.json("new", "--name", "home", "--light", *mine.password)
    assert made["name"] == "home"
    assert mine.json("list") == [made]
    assert mine.ok("list") == f"{made['address']}  home\n"
    private_key = decrypt_key(Path(made["file"]).read_text(), "secret")
    assert to_checksum_address(address_of(private_key)) == made["address"]
    assert stat.S_IMODE(Path(made["file"]).stat().st_mode) == 0o600


def test_no_two_new_keys_are_alike_and_text_says_what_happened(mine: Wallet) -> None:
    first = mine.ok("new", "--light", *mine.password)
    second = mine.ok("new", "--light", *mine.password)
    assert first.startswith("Made the key 0x")
    assert first != second
    assert len(mine.json("list")) == 2


def test_without_keys_the_next_step_is_named(mine: Wallet) -> None:
    assert "wattchain wallet new" in mine.ok("list")
    assert mine.json("list") == []
    assert "wattchain wallet new" in mine.error("balance")
    assert "wattchain wallet new" in mine.error("balance", "home")


def test_a_private_key_is_brought_in_from_a_pipe_or_a_file(mine: Wallet) -> None:
    raw = mine.folder / "raw"
    raw.write_text("0x" + KEY.hex() + "\n")
    from_file = mine.json("import", str(raw), "--name", "a", "--light", *mine.password)
    from_pipe = mine.json("import", "-", "--name", "b", "--light", *mine.password, stdin="22" * 32)
    assert from_file["address"] == to_checksum_address(SENDER)
    assert from_pipe["address"] == to_checksum_address(address_of(b"\x22" * 32))
    assert "is here already, as a" in mine.error("import", str(raw), "--light", *mine.password)


def test_a_key_file_is_brought_in_with_its_own_password(mine: Wallet) -> None:
    document = json.loads(encrypt_key(KEY, "secret", ScryptCost(2, 1, 1)))
    del document["address"]
    text = json.dumps(document)
    assert mine.json("import", "-", *mine.password, stdin=text)["address"] == to_checksum_address(SENDER)
    (file,) = mine.keystore.iterdir()
    assert decrypt_key(file.read_text(), "secret") == KEY
    assert json.loads(file.read_text())["crypto"] == document["crypto"]


@pytest.mark.parametrize("text", ["", "11" * 31, "zz" * 32, "00" * 32, "ff" * 32, "11" * 32 + " 11"])
def test_other_texts_are_no_private_keys_and_are_not_repeated(mine: Wallet, text: str) -> None:
    error = mine.error("import", "-", *mine.password, stdin=text)
    assert "no private key" in error
    assert not text or text not in error


def test_files_that_are_no_keys_are_refused(mine: Wallet) -> None:
    assert "cannot be read" in mine.error("import", str(mine.folder / "none"), *mine.password)
    assert "version" in mine.error("import", "-", *mine.password, stdin="{}")
    assert "too large" in mine.error("import", "-", *mine.password, stdin=" " * 100_000)
    assert not mine.keystore.exists()


def test_balances_are_shown_exactly(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    node.balances[bytes.fromhex(OTHER[2:])] = 1
    home = {"name": "home", "address": to_checksum_address(SENDER), "wei": str(5 * WATT), "watt": "5"}
    assert mine.json("balance") == mine.json("balance", "home") == [home]
    assert mine.ok("balance", "home", OTHER).splitlines() == [
        f"{to_checksum_address(SENDER)}  5 WATT  home",
        f"{to_checksum_address(bytes.fromhex(OTHER[2:]))}  0.000000000000000001 WATT  {OTHER}",
    ]


def test_a_transfer_is_shown_sent_and_reported(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    node.gas_price = 10**9
    result = mine.run("send", OTHER, "1.5", "--yes", *mine.password)
    assert result.exit_code == 0, result.output
    (transaction,) = node.transactions
    assert (transaction.sender, transaction.value) == (SENDER, 15 * 10**17)
    assert "Amount  1.5 WATT" in result.stderr
    assert "Fee     at most 0.000021 WATT" in result.stderr
    assert result.stdout == f"Sent 1.5 WATT in block 7, transaction 0x{transaction.hash.hex()}.\n"


def test_an_absurd_fee_is_not_paid_unless_it_is_allowed(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    node.gas_price = 10**14  # 2.1 WATT for a transfer
    send = ["send", OTHER, "1", "--yes", *mine.password]
    assert "could be 2.1 WATT, more than 1 WATT: nothing was sent" in mine.error(*send)
    assert "more than 2 WATT" in mine.error(*send, "--max-fee", "2")
    assert "is no amount" in mine.error(*send, "--max-fee=-1")
    assert node.transactions == []
    mine.ok(*send, "--max-fee", "2.1")
    assert len(node.transactions) == 1


def test_a_transfer_is_reported_as_json(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    sent = mine.json("send", OTHER, "20mWATT", "--from", "home", "--yes", *mine.password)
    assert sent == {
        "transaction": "0x" + node.transactions[0].hash.hex(),
        "from": to_checksum_address(SENDER),
        "to": to_checksum_address(bytes.fromhex(OTHER[2:])),
        "wei": str(2 * 10**16),
        "block": 7,
        "fee_wei": "0",
    }


def test_without_waiting_there_is_no_block_yet(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    node.mines = False
    assert mine.json("send", OTHER, "1", "--yes", "--wait", "0", *mine.password)["block"] is None
    assert "not in a block yet" in mine.ok("send", OTHER, "1", "--yes", "--wait", "0", *mine.password)


def test_a_refused_transfer_is_an_error(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    node.status = 0
    assert "The recipient refused the transfer 0x" in mine.error("send", OTHER, "1", "--yes", *mine.password)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["0x1234", "1"], "0x1234 is no address"),
        (["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "1"], "mistyped"),
        (["nobody", "1"], "No key for 'nobody'"),
        ([OTHER, "much"], "'much' is no amount"),
        ([OTHER, "1.5wei"], "digits behind the point"),
        ([OTHER, "6"], "has 5 WATT, less than 6 WATT"),
        ([OTHER, "1", "--from", "away"], "No key for 'away'"),
    ],
)
def test_what_cannot_be_sent_is_refused_plainly(mine: Wallet, node: ToyNode, arguments: list[str], reason: str) -> None:
    mine.add_home()
    assert reason in mine.error("send", *arguments, "--yes", *mine.password)
    assert node.transactions == []


def test_with_several_keys_the_paying_one_must_be_named(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    mine.ok("new", "--name", "other", "--light", *mine.password)
    assert "--from" in mine.error("send", OTHER, "1", "--yes", *mine.password)
    mine.ok("send", "other", "1", "--from", "home", "--yes", *mine.password)
    assert mine.json("balance", "other")[0]["watt"] == "1"


def test_a_wrong_password_sends_and_exports_nothing(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    mine.password_file.write_text("wrong")
    assert "password does not open" in mine.error("send", OTHER, "1", "--yes", *mine.password)
    assert node.transactions == []
    result = mine.run("export", "home", "--private-key", "--yes", *mine.password)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "password does not open" in result.stderr


def test_a_node_that_is_not_there_is_said_plainly(mine: Wallet) -> None:
    mine.add_home()
    assert "No node answers at http://127.0.0.1:1" in mine.error("balance", "home")
    assert "No node answers" in mine.error("send", OTHER, "1", "--yes", *mine.password)


def test_nobody_to_ask_is_said_plainly(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    assert "--password-file" in mine.error("new")
    assert "name a file" in mine.error("import")
    assert "--yes" in mine.error("send", OTHER, "1", *mine.password)
    assert node.transactions == []


def test_a_key_file_is_exported_locked(mine: Wallet) -> None:
    mine.add_home()
    assert decrypt_key(mine.ok("export", "home"), "secret") == KEY
    assert mine.json("export", "home")["version"] == 3
    copy = mine.folder / "copy.json"
    mine.ok("export", to_checksum_address(SENDER), "--output", str(copy))
    assert decrypt_key(copy.read_text(), "secret") == KEY
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "File exists" in mine.error("export", "home", "--output", str(copy))


def test_the_private_key_comes_out_with_a_warning_only(mine: Wallet) -> None:
    mine.add_home()
    result = mine.run("export", "home", "--private-key", "--yes", *mine.password)
    assert result.stdout == f"0x{KEY.hex()}\n"
    assert "Warning" in result.stderr
    assert mine.json("export", "home", "--private-key", "--yes", *mine.password)["private_key"] == f"0x{KEY.hex()}"
    refused = mine.run("export", "home", "--private-key", *mine.password)
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("content", [b"", b"\nsecret", b"\xff\xfe", b"x" * 5000])
def test_password_files_without_a_password_are_refused(mine: Wallet, content: bytes) -> None:
    mine.password_file.write_bytes(content)
    assert "password file" in mine.error("new", *mine.password)
    assert "cannot be read" in mine.error("new", "--password-file", str(mine.folder / "none"))


def test_a_password_file_that_others_may_read_is_warned_about(mine: Wallet) -> None:
    mine.password_file.chmod(0o644)
    assert "chmod 600" in mine.run("new", "--light", *mine.password).stderr


def at_a_terminal(mine: Wallet, arguments: list[str], typed: str) -> tuple[int, str]:
    """Run a command with a terminal as its standard input and error; its exit status and all that it showed."""
    ours, theirs = pty.openpty()
    program = "from wallet.commands import wallet; wallet(prog_name='wallet')"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **mine.environment, "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    lines = iter(typed.splitlines(keepends=True))
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the terminal is gone with the process
            break
        if not chunk:
            break
        shown += chunk
        if shown.endswith(b": "):
            os.write(ours, next(lines).encode())
    os.close(ours)
    return process.wait(timeout=30), shown.decode()


def test_at_a_terminal_a_new_password_is_asked_twice_and_not_shown(mine: Wallet) -> None:
    status, shown = at_a_terminal(mine, ["new", "--name", "home", "--light"], "one\ntwo\npass word\npass word\n")
    assert status == 0, shown
    assert "do not match" in shown
    assert "pass word" not in shown
    assert decrypt_key((mine.keystore / "home.json").read_text(), "pass word")


def test_at_a_terminal_a_transfer_is_confirmed_first(mine: Wallet, node: ToyNode) -> None:
    mine.add_home()
    status, shown = at_a_terminal(mine, ["send", OTHER, "1"], "n\n")
    assert status == 1, shown
    assert "Amount  1 WATT" in shown
    assert node.transactions == []
    status, shown = at_a_terminal(mine, ["send", OTHER, "1"], "y\nsecret\n")
    assert status == 0, shown
    assert "secret" not in shown
    assert "Sent 1 WATT in block 7" in shown
