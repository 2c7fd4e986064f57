"""A neighbourhood's people at their terminals: owner and regulator of the registry, supplier, customer, stranger."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from contracts.binding import load_artifact
from contracts.consent_format import consent_hash
from contracts.genesis import Alloc, genesis_alloc
from contracts.reading_format import compact_signature
from primitives.hexadecimal import to_checksum_address, to_data
from primitives.secp256k1 import address_of, sign
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.command_stage import ContractLedger, Person, serve_ledger

KEYS = [bytes([number]) * 32 for number in range(1, 9)]
OWNER, REGULATOR, SUPPLIER, RIVAL, CUSTOMER, STRANGER, METER, NEW_METER = (address_of(key) for key in KEYS)
WATT = 10**18


def consent(meter: bytes, supplier: bytes) -> tuple[bytes, bytes]:
    """What the key of one of these has signed for a supplier."""
    key = KEYS[[address_of(key) for key in KEYS].index(meter)]
    return compact_signature(*sign(consent_hash(CHAIN_ID, meter, supplier), key))


def consent_text(meter: bytes, supplier: bytes = SUPPLIER) -> str:
    return to_data(b"".join(consent(meter, supplier)))


def shown(address: bytes) -> str:
    return to_checksum_address(address)


def alloc() -> Alloc:
    return genesis_alloc(OWNER, [SUPPLIER, RIVAL], regulators=[REGULATOR])


class Neighbour(Person):
    """`as_` sends a command as somebody: by its key, without a question."""

    def as_(self, who: bytes, *arguments: str) -> dict[str, Any]:
        result = self.json(*arguments, "--yes", *self.key(who))
        assert isinstance(result, dict)
        return result

    def said_to(self, who: bytes, *arguments: str) -> str:
        """What the result tells a person."""
        return self.ok(*arguments, "--yes", *self.key(who)).splitlines()[-1]

    def refused(self, who: bytes, *arguments: str) -> str:
        return self.error(*arguments, "--yes", *self.key(who))

    def call(self, who: bytes, address: bytes, contract: str, function: str, *arguments: object) -> None:
        """A transaction of somebody else, without a command; with a new meter's consent, where one is needed."""
        if (place := {"installMeter": 0, "swapMeter": 1}.get(function)) is not None:
            meter = arguments[place]
            assert isinstance(meter, bytes)
            arguments = (*arguments, consent(meter, who))
        data = load_artifact(contract).abi.encode_call(function, arguments)
        key = KEYS[[address_of(key) for key in KEYS].index(who)]
        self.on_the_ledger(self.ledger.transact(key, address, data))

    def balance(self, who: bytes) -> int:
        state = self.ledger.view.state_at(self.ledger.view.head().number)
        account = state.account(who)
        return 0 if account is None else account.balance


@contextmanager
def neighbour(
    commands: click.Command, folder: Path, balances: Mapping[bytes, int] | None = None
) -> Iterator[Neighbour]:
    with serve_ledger(ledger := ContractLedger(alloc(), balances)) as (loop, url):
        yield Neighbour(commands, folder, ledger, loop, url, KEYS)
