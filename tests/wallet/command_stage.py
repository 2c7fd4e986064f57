"""A person at a terminal, with commands and key files, before a real gateway over a ledger in memory with contracts.

The gateway runs in a thread of its own; the ledger makes a block of every transaction that is handed in.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.testing import CliRunner, Result

from chain.account import Account
from chain.config import ZERO, ChainConfig
from chain.transaction import LEGACY, Transaction, sign_transaction
from contracts.genesis import Alloc
from gateway.server import Gateway, GatewaySettings
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger

T = TypeVar("T")


class ContractLedger(MemoryLedger):
    """With an alloc in its first state; each transaction that comes in is in a block at once."""

    def __init__(self, alloc: Alloc, balances: Mapping[bytes, int] | None = None, fees: str = ZERO) -> None:
        super().__init__(dict(balances or {}), ChainConfig(CHAIN_ID, fee_rule=fees, block_reward=0))
        self.rivals: list[Transaction] = []
        """Those that come in before the next one, each in a block of its own."""
        state = self.view.state_at(0)
        for text, entry in alloc.items():
            address, code = bytes.fromhex(text[2:]), bytes.fromhex(str(entry.get("code", "0x"))[2:])
            state.accounts[address] = Account(
                nonce=int(str(entry.get("nonce", "0x0")), 16),
                balance=int(str(entry.get("balance", "0x0")), 16),
                code_hash=keccak256(code),
            )
            state.codes[keccak256(code)] = code
            storage: Any = entry.get("storage", {})
            state.slots[address] = {int(slot, 16): int(value, 16) for slot, value in storage.items()}
        self.mine()  # the base fee of the first block is not zero in any case

    async def submit(self, transaction: Transaction) -> bytes:
        """After those that were to come in first."""
        for rival in self.rivals:
            await super().submit(rival)
            self.mine()
        self.rivals.clear()
        transaction_hash = await super().submit(transaction)
        self.mine()
        return transaction_hash

    async def transact(self, key: bytes, to: bytes, data: bytes, value: int = 0, gas: int = 5_000_000) -> None:
        nonce = self.pending_nonce(address_of(key))
        transaction = Transaction(LEGACY, CHAIN_ID, nonce, 0, 0, gas, to, value, data)
        await self.submit(sign_transaction(transaction, key))


class Person:
    """A group of commands with a node, and with a file for each of these keys."""

    def __init__(
        self,
        commands: click.Command,
        folder: Path,
        ledger: ContractLedger,
        loop: asyncio.AbstractEventLoop,
        url: str,
        keys: Sequence[bytes],
    ) -> None:
        self.folder = folder
        self.ledger = ledger
        self._commands = commands
        self._loop = loop
        self.environment = {"WATTCHAIN_KEYSTORE": str(folder / "keystore"), "WATTCHAIN_NODE": url}
        for key in keys:
            path = folder / f"{address_of(key).hex()}.key"
            path.write_text(key.hex() + "\n")
            path.chmod(0o600)

    def key(self, address: bytes) -> list[str]:
        return ["--key-file", str(self.folder / f"{address.hex()}.key")]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(self._commands, list(arguments), env=self.environment)

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def error(self, *arguments: str) -> str:
        """The last line of the refusal of a command that prints no result."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return result.stderr.splitlines()[-1].removeprefix("Error: ")

    def on_the_ledger(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the ledger where the ledger runs."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


@contextmanager
def serve_ledger(ledger: ContractLedger) -> Iterator[tuple[asyncio.AbstractEventLoop, str]]:
    """The loop in which the gateway runs, and its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    gateway = Gateway(ledger, GatewaySettings(port=0))
    try:
        asyncio.run_coroutine_threadsafe(gateway.__aenter__(), loop).result(timeout=30)
        try:
            yield loop, gateway.url
        finally:
            asyncio.run_coroutine_threadsafe(gateway.__aexit__(None, None, None), loop).result(timeout=30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
