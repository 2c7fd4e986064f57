"""`wattchain light`: what the ledger says, proved on this computer, by nodes that need not be trusted.

Each command first follows the newest headers; what it answers is proved against the newest of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import click

from primitives.clock import SystemClock
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_data
from wallet.amounts import format_amount, to_decimal
from wallet.command_line import PlainGroup, WholeNumber, print_json, print_result, say
from wallet.light.client import LightClient, Proof
from wallet.light.credit import read_credit, wanted_slots
from wallet.light.display import (
    account_fields,
    block_fields,
    credit_fields,
    credit_text,
    duration_text,
    head_fields,
    head_text,
    node_fields,
    proof_fields,
    proof_text,
    shown,
    warnings,
)
from wallet.light.options import Options, confirmations_option, light_options, with_client
from wallet.light.source import SealedHeader
from wallet.light.store import LightStore
from wallet.progress_bar import progress_bar

WATCH_INTERVAL_S = 2.0
"""Between two questions for news: blocks come every few seconds, and a phone's battery is small."""


@click.group(cls=PlainGroup)
def light() -> None:
    """What the ledger says, proved on this computer.

    A light client keeps no ledger. It follows the headers of all blocks, checks the seals of the validators or the work
    in them, and asks nodes for proofs of whatever you want to know. The nodes need not be trusted: they can keep
    silent, but not deceive. All that is trusted is the genesis file of the network.
    """


@light.command()
@click.option("--again", is_flag=True, help="Forget what is proved, and compare all nodes from the first block on.")
@light_options
def sync(again: bool, options: Options) -> None:
    """Follow the chain up to its newest block."""

    async def run(client: LightClient, store: LightStore) -> None:
        if again:
            store.reset()
        with progress_bar("Checking headers") as progress:
            await client.sync(progress)
        if not any(report.is_usable for report in client.reports.values()):
            raise UserError(" ".join(["No node could be followed.", *warnings(client)]))
        _print(client, {**head_fields(client), "nodes": node_fields(client)}, head_text(client), options)

    asyncio.run(with_client(options, run))


@light.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@confirmations_option
@light_options
def balance(addresses: Sequence[str], confirmations: int, options: Options) -> None:
    """How much WATT accounts have, by ADDRESS."""
    wanted = {_address(text): () for text in addresses}

    def show(client: LightClient, proof: Proof) -> tuple[object, str]:
        accounts = [proof.accounts[address] for address in wanted]
        rows = [
            {"address": shown(one.address), "wei": str(one.balance), "watt": to_decimal(one.balance)}
            for one in accounts
        ]
        text = "\n".join(f"{row['address']}  {row['watt']} WATT" for row in rows)
        return {"balances": rows, **proof_fields(client, proof)}, text

    asyncio.run(with_client(options, _answer(wanted, confirmations, options, show)))


@light.command()
@click.argument("address")
@confirmations_option
@light_options
def account(address: str, confirmations: int, options: Options) -> None:
    """The account at ADDRESS: its balance, nonce, code and storage, as hashes where they are long."""
    wanted: dict[bytes, Sequence[int]] = {_address(address): ()}

    def show(client: LightClient, proof: Proof) -> tuple[object, str]:
        (found,) = proof.accounts.values()
        fields = account_fields(found)
        text = (
            f"Address  {fields['address']}\nBalance  {format_amount(found.balance)}\nNonce    {found.nonce}\n"
            f"Code     {fields['code_hash']}\nStorage  {fields['storage_root']}"
        )
        return {**fields, **proof_fields(client, proof)}, text if found.exists else f"{text}\nIt does not exist yet."

    asyncio.run(with_client(options, _answer(wanted, confirmations, options, show)))


@light.command()
@click.argument("meter")
@confirmations_option
@light_options
def credit(meter: str, confirmations: int, options: Options) -> None:
    """The prepaid account of a meter, and whether its supply is allowed.

    METER is the meter's address. Its account in the contract Exhaustion is read by proofs; no node calculates anything.
    """
    address = _address(meter)

    def show(client: LightClient, proof: Proof) -> tuple[object, str]:
        found = read_credit(address, proof.accounts)
        return {**credit_fields(address, found), **proof_fields(client, proof)}, credit_text(address, found)

    asyncio.run(with_client(options, _answer(wanted_slots(address), confirmations, options, show)))


@light.command()
@click.argument("address")
@click.argument("slot")
@confirmations_option
@light_options
def slot(address: str, slot: str, confirmations: int, options: Options) -> None:
    """What the storage of the contract at ADDRESS holds in a SLOT.

    SLOT is a number, or up to 32 bytes of hexadecimal with 0x.
    """
    number = _slot_number(slot)
    contract = _address(address)

    def show(client: LightClient, proof: Proof) -> tuple[object, str]:
        word = to_data(proof.accounts[contract].slots[number].to_bytes(32, "big"))
        return {"address": shown(contract), "slot": hex(number), "value": word, **proof_fields(client, proof)}, word

    asyncio.run(with_client(options, _answer({contract: (number,)}, confirmations, options, show)))


@light.command()
@click.option("--count", type=WholeNumber(min=1), help="End after so many new headers.")
@light_options
def watch(count: int | None, options: Options) -> None:
    """Print each new block's header as soon as it is proved, until you stop it."""
    watching = _Watching(options.as_json, count)

    async def run(client: LightClient, store: LightStore) -> None:
        with progress_bar("Checking headers") as progress:
            await client.sync(progress)
        say(head_text(client))
        watching.begin(client)
        while not watching.is_done:
            watching.remark(client)
            await SystemClock().sleep_s(WATCH_INTERVAL_S)
            await client.sync()

    asyncio.run(with_client(options, run, watching.headers))


@light.command()
@light_options
def status(options: Options) -> None:
    """What is proved and kept on this computer; no node is asked."""

    async def run(client: LightClient, store: LightStore) -> None:
        record, config = client.record, client.config
        validators = record.proved.validators
        fields = {
            "chain_id": config.chain_id,
            "consensus": config.consensus,
            "genesis": to_data(store.genesis.hash),
            **{name: value for name, value in head_fields(client).items() if name != "stale"},
            "validators": None if validators is None else [shown(one) for one in validators.addresses],
            "checked_s": record.checked_s or None,
            "file": str(store.path),
            "file_bytes": store.size_bytes(),
        }
        lines = [
            f"Chain       {config.chain_id}, {config.consensus}",
            f"Genesis     {fields['genesis']}",
            f"Proved      {head_text(client)}",
            f"File        {store.path}, {store.size_bytes() / 1e6:.1f} MB",
        ]
        if validators is not None:
            lines[3:3] = [
                f"Validators  {len(validators)}, of whom {validators.quorum} must seal a block",
                *[f"            {shown(one)}" for one in validators.addresses],
            ]
        print_result(fields, "\n".join(lines), options.as_json)

    asyncio.run(with_client(options, run))


class _Watching:
    """What `watch` has printed, and how much more it shall."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count
        self._client: LightClient | None = None
        self._said: list[str] = []

    @property
    def is_done(self) -> bool:
        return self._left == 0

    def begin(self, client: LightClient) -> None:
        """From now on headers are news."""
        self._client = client

    def headers(self, fork_number: int, headers: Sequence[SealedHeader]) -> None:
        """Fits follower.Listener."""
        if self._client is None:
            return
        for sealed in headers:
            if self.is_done:
                return
            header = sealed.header
            age_s = self._client.age_s_of(header)
            fields = {**block_fields(header), "age_s": age_s, "gas_used": header.gas_used, "below": fork_number}
            text = f"{header.number}  {to_data(header.hash)}  {duration_text(age_s)} old"
            if self._as_json:
                print_json(fields, on_one_line=True)
            else:
                click.echo(text)
            self._left = None if self._left is None else self._left - 1

    def remark(self, client: LightClient) -> None:
        """Say what is wrong, once each time that it changes."""
        present = warnings(client)
        for text in present:
            if text not in self._said:
                say(text)
        self._said = present


def _answer(
    wanted: Mapping[bytes, Sequence[int]],
    confirmations: int,
    options: Options,
    show: Callable[[LightClient, Proof], tuple[object, str]],
) -> Callable[[LightClient, LightStore], Coroutine[Any, Any, None]]:
    """Prove what is wanted and print what `show` makes of it."""

    async def run(client: LightClient, store: LightStore) -> None:
        with progress_bar("Checking headers") as progress:
            proof = await client.prove(wanted, confirmations, progress)
        result, text = show(client, proof)
        _print(client, result, text, options)
        if not options.as_json:
            say(proof_text(client, proof))

    return run


def _print(client: LightClient, result: object, text: str, options: Options) -> None:
    print_result(result, text, options.as_json)
    for warning in warnings(client):
        say(warning)


def _address(text: str) -> bytes:
    try:
        return parse_address(text)
    except InvalidHex as error:
        raise UserError(f"'{text[:80]}' is no address: {error}.") from error


def _slot_number(text: str) -> int:
    try:
        number = int(text[:80], 16 if text[:2] in ("0x", "0X") else 10)
    except ValueError:
        number = -1
    if not 0 <= number < 2**256:
        raise UserError(f"'{text[:80]}' is no slot: it must be a number from 0 to 2^256 - 1, such as 7 or 0x07.")
    return number
