"""anvil (Foundry) as the second EVM of the contract tests: one process for all tests, asked over loopback HTTP.

It keeps the state of one ledger at a time, and gets a whole state anew when another ledger is used, when the state was
changed from outside and when time goes back. Everything is mined at once, each transaction in a block of its own.
Methods: https://getfoundry.sh/anvil/reference, "Custom methods".
"""

import http.client
import json
import platform
import re
import subprocess
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chain.account import EMPTY_ACCOUNT, EMPTY_CODE_HASH, StateChanges
from tests.contracts.second_evm import (
    BLOCK_GAS_LIMIT,
    CHAIN_ID,
    COINBASE,
    TRANSACTION_GAS_LIMIT,
    Log,
    Request,
    Result,
)

FOLDER = Path(__file__).parent / "portable"
ANSWER_TIMEOUT_S = 60
BATCH_REQUESTS = 500
"""anvil takes 2 MB in one request; the code of one account has 50 KB at most and is rare."""
_DIFFERENCES = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
KEPT_STATES = 4
"""Only the last block is asked about; with fewer than this anvil has no trace of it either."""

Call = tuple[str, Sequence[object]]
Contents = tuple[int, int, bytes, dict[int, int]]
_PARTS = ("nonce", "balance", "code", "storage")
Told = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By the prestate tracer in its mode of differences: `pre` and `post`, and in each the changed parts of accounts."""
_EMPTY: Contents = (0, 0, b"", {})


class Anvil:
    """The process and the connection to it."""

    def __init__(self) -> None:
        self.holder: weakref.ref[AnvilState] | None = None
        self.transactions = 0
        self.calls = 0
        self._number = 0
        # Ends with this process, however that ends.
        command = ["setpriv", "--pdeathsig", "TERM", str(_program()), "--port", "0", "--accounts", "0"]
        command += ["--hardfork", "cancun", "--chain-id", str(CHAIN_ID), "--gas-limit", str(BLOCK_GAS_LIMIT)]
        command += [
            "--gas-price",
            "0",
            "--block-base-fee-per-gas",
            "0",
            "--disable-min-priority-fee",
            "--timestamp",
            "1",
        ]
        command += ["--no-mining", "--auto-impersonate", "--disable-default-create2-deployer", "--threads", "1"]
        command += ["--prune-history", str(KEPT_STATES)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=ANSWER_TIMEOUT_S)
        # Or it would stop when nobody reads what it writes.
        self.ask("anvil_setLoggingEnabled", False)
        self.version = self.ask("web3_clientVersion")
        self.ask("anvil_setCoinbase", _hex(COINBASE))
        self._empty = self.ask("evm_snapshot")

    def ask(self, method: str, *parameters: object) -> Any:
        (answer,) = self.ask_all([(method, parameters)])
        return answer

    def ask_all(self, calls: Sequence[Call]) -> list[Any]:
        """The answers in the order of the calls, which anvil may carry out in any order."""
        requests = []
        for method, parameters in calls:
            self._number += 1
            requests.append({"jsonrpc": "2.0", "id": self._number, "method": method, "params": parameters})
        self._connection.request("POST", "/", json.dumps(requests), {"Content-Type": "application/json"})
        answers = {answer["id"]: answer for answer in json.loads(self._connection.getresponse().read())}
        for request in requests:
            if "error" in answers[request["id"]]:
                raise RuntimeError(f"anvil refused {request['method']}: {answers[request['id']]['error']}")
        return [answers[request["id"]]["result"] for request in requests]

    def empty(self) -> None:
        """Back to no accounts, no blocks and time 1."""
        if not self.ask("evm_revert", self._empty):
            raise RuntimeError("anvil has no snapshot of its empty state")
        self._empty = self.ask("evm_snapshot")

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.communicate()

    def _port(self) -> int:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line)) is not None:
                return int(found[1])
        raise RuntimeError(f"anvil ended at once, with code {self._process.wait()}")


_running: Anvil | None = None


def running() -> Anvil | None:
    """The process, where a test has used it."""
    return _running


def _start_once() -> Anvil:
    global _running
    if _running is None:
        _running = Anvil()
    return _running


class AnvilState:
    """One ledger's state in anvil."""

    def __init__(self) -> None:
        self._anvil = _start_once()
        self._time_s = 0
        self._changed: Told = {}

    def transact(self, before: StateChanges, request: Request) -> Result:
        self._hold(lambda: before, request.time_s)
        self._anvil.transactions += 1
        fields = {"nonce": hex(request.nonce), "value": hex(request.value)} | _message(request)
        transaction_hash = self._anvil.ask("eth_sendTransaction", fields)
        self._anvil.ask("evm_mine", {"timestamp": request.time_s})
        self._time_s = request.time_s
        receipt, trace, self._changed = self._anvil.ask_all(
            [
                ("eth_getTransactionReceipt", [transaction_hash]),
                ("debug_traceTransaction", [transaction_hash, {"tracer": "callTracer"}]),
                ("debug_traceTransaction", [transaction_hash, _DIFFERENCES]),
            ]
        )
        success = receipt["status"] == "0x1"
        output = receipt["contractAddress"] if success and request.to is None else trace.get("output", "0x")
        logs = tuple(
            Log(_bytes(log["address"]), tuple(_bytes(topic) for topic in log["topics"]), _bytes(log["data"]))
            for log in receipt["logs"]
        )
        return Result(success, _bytes(output), int(receipt["gasUsed"], 16), logs)

    def call(self, before: Callable[[], StateChanges], request: Request) -> Result | None:
        self._hold(before, request.time_s)
        self._anvil.calls += 1
        options = {"tracer": "callTracer", "blockOverrides": {"time": hex(request.time_s)}}
        trace = self._anvil.ask("debug_traceCall", _message(request), "latest", options)
        return Result("error" not in trace, _bytes(trace.get("output", "0x")), int(trace["gasUsed"], 16))

    def check_changes(self, before: StateChanges, after: StateChanges) -> None:
        self.check_told(self._changed, before, after)

    @staticmethod
    def check_told(told: Told, before: StateChanges, after: StateChanges) -> None:
        """Apply what the tracer told to the state before: the state after has to come out."""
        pre, post = told["pre"], told["post"]
        differences = []
        for address in {*before.accounts, *after.accounts, *map(_bytes, pre), *map(_bytes, post)}:
            name = _hex(address)
            expected = _applied(_contents(before, address), pre.get(name), post.get(name))
            differences += [
                f"{part} of {name} is {ours!r} here and {theirs!r} in anvil"
                for part, ours, theirs in zip(_PARTS, _contents(after, address), expected, strict=True)
                if ours != theirs
            ]
        if differences:
            raise AssertionError("the states differ: " + ", ".join(differences))

    def forget(self) -> None:
        self._anvil.holder = None

    def _hold(self, before: Callable[[], StateChanges], time_s: int) -> None:
        """Make anvil's state this ledger's, if it is not."""
        anvil = self._anvil
        if anvil.holder is not None and anvil.holder() is self and time_s >= self._time_s:
            return
        anvil.holder, self._time_s = None, 0
        anvil.empty()
        writes = list(_writes(before()))
        for first in range(0, len(writes), BATCH_REQUESTS):
            anvil.ask_all(writes[first : first + BATCH_REQUESTS])
        anvil.holder = weakref.ref(self)


def _writes(state: StateChanges) -> list[Call]:
    calls: list[Call] = []
    for address, account in state.accounts.items():
        assert account is not None
        name = _hex(address)
        calls.append(("anvil_setBalance", [name, hex(account.balance)]))
        calls.append(("anvil_setNonce", [name, hex(account.nonce)]))
        if account.code_hash != EMPTY_CODE_HASH:
            calls.append(("anvil_setCode", [name, _hex(state.codes[account.code_hash])]))
        for slot, value in state.storage.get(address, {}).items():
            calls.append(("anvil_setStorageAt", [name, hex(slot), f"0x{value:064x}"]))
    return calls


def _contents(state: StateChanges, address: bytes) -> Contents:
    account = state.accounts.get(address) or EMPTY_ACCOUNT
    slots = {slot: value for slot, value in state.storage.get(address, {}).items() if value}
    return account.nonce, account.balance, state.codes.get(account.code_hash, b""), slots


def _applied(contents: Contents, pre: Mapping[str, Any] | None, post: Mapping[str, Any] | None) -> Contents:
    """A slot that is only in `pre` is 0 now, an account that is only in `pre` is gone."""
    if post is None:
        return contents if pre is None else _EMPTY
    nonce, balance, code, storage = contents
    slots = {int(slot, 16): 0 for slot in (pre or {}).get("storage", {})}
    slots |= {int(slot, 16): int(value, 16) for slot, value in post.get("storage", {}).items()}
    return (
        post.get("nonce", nonce),
        int(post["balance"], 16) if "balance" in post else balance,
        _bytes(post["code"]) if "code" in post else code,
        {slot: value for slot, value in (storage | slots).items() if value},
    )


def _message(request: Request) -> dict[str, str]:
    fields = {"from": _hex(request.sender), "gas": hex(TRANSACTION_GAS_LIMIT), "gasPrice": "0x0"}
    fields["input"] = _hex(request.data)
    return fields if request.to is None else fields | {"to": _hex(request.to)}


def _program() -> Path:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    path = FOLDER / "node_modules" / "@foundry-rs" / f"anvil-linux-{machine}" / "bin" / "anvil"
    if not path.exists():
        raise RuntimeError("anvil is not installed: run `make test-portable`")
    return path


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
