"""The parties of the payment channel's tests: a ledger with the contract, and short ways to act on it."""

from collections.abc import Mapping
from pathlib import Path

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc
from contracts.payment_format import closing_typed_data, payment_typed_data
from contracts.reading_format import compact_signature
from primitives.secp256k1 import address_of, sign
from tests.contracts.ledgers import CHAIN_ID, Ledger, Result, make_ledger

WATT = 10**18
DAY_S = 86_400
CHANNEL = load_artifact("PaymentChannel")
PARTY = load_artifact("ChannelParty", Path(__file__).parent / "artifacts")
FIRST_BALANCE = 1_000_000 * WATT


def key_of(name: str) -> bytes:
    return name.encode().rjust(32, b"\x01")


CONSUMER, PRODUCER, OTHER, STRANGER = (
    address_of(key_of(name)) for name in ("consumer", "producer", "other", "stranger")
)
NAMES = {CONSUMER: "consumer", PRODUCER: "producer", OTHER: "other", STRANGER: "stranger"}
PEOPLE = tuple(NAMES)


def channel_alloc(people: Mapping[bytes, int] | None = None) -> Alloc:
    """The contract as a genesis file places it, and people with money."""
    code = "0x" + CHANNEL.runtime_code.hex()
    alloc: Alloc = {"0x" + PAYMENT_CHANNEL_ADDRESS.hex(): {"balance": "0x0", "nonce": "0x1", "code": code}}
    for person, balance in (people or dict.fromkeys(PEOPLE, FIRST_BALANCE)).items():
        alloc["0x" + person.hex()] = {"balance": hex(balance)}
    return alloc


class Parties:
    """A ledger with the contract and people who can open channels, pay and close."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or make_ledger(channel_alloc())

    def transact(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        data = CHANNEL.abi.encode_call(function, arguments)
        return self.ledger.transact(sender, PAYMENT_CHANNEL_ADDRESS, data, value)

    def open(
        self, deposit_wei: int = 10 * WATT, validity_s: int = DAY_S, consumer: bytes = CONSUMER, to: bytes = PRODUCER
    ) -> int:
        """The number of a new channel."""
        result = self.transact(consumer, "open", to, self.ledger.time_s + validity_s, value=deposit_wei)
        assert result.success, reason(result)
        (number,) = CHANNEL.abi.decode_result("open", result.output)
        return int(str(number))

    def ask(self, function: str, *arguments: object) -> tuple[object, ...]:
        result = self.ledger.call(STRANGER, PAYMENT_CHANNEL_ADDRESS, CHANNEL.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        return CHANNEL.abi.decode_result(function, result.output)

    def number(self, function: str, *arguments: object) -> int:
        (value,) = self.ask(function, *arguments)
        return int(str(value))

    @property
    def held_wei(self) -> int:
        return self.ledger.balance(PAYMENT_CHANNEL_ADDRESS)

    def deploy_party(self, balance_wei: int = 0) -> bytes:
        """A party that is a contract."""
        result = self.ledger.transact(STRANGER, None, PARTY.deployment())
        assert result.success
        if balance_wei:
            assert self.ledger.transact(STRANGER, result.output, b"", balance_wei).success
        return result.output

    def act(self, party: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        """The contract's function, called by a party that is a contract."""
        data = PARTY.abi.encode_call("act", [PAYMENT_CHANNEL_ADDRESS, CHANNEL.abi.encode_call(function, arguments)])
        return self.ledger.transact(STRANGER, party, data, value)

    def act_with_gas(self, party: bytes, gas: int, function: str, *arguments: object) -> bool:
        """Whether the function went well, called by a contract with so much gas."""
        data = CHANNEL.abi.encode_call(function, arguments)
        call = PARTY.abi.encode_call("actWithGas", [PAYMENT_CHANNEL_ADDRESS, data, gas])
        result = self.ledger.transact(STRANGER, party, call)
        assert result.success
        (done,) = PARTY.abi.decode_result("actWithGas", result.output)
        return bool(done)

    def behave(self, party: bytes, manner: int, function: str = "release", *arguments: object) -> None:
        data = CHANNEL.abi.encode_call(function, arguments or [1])
        call = PARTY.abi.encode_call("behave", [manner, PAYMENT_CHANNEL_ADDRESS, data])
        assert self.ledger.transact(STRANGER, party, call).success


Signed = tuple[int, int, bytes, bytes]
"""(channel, total, r, vs), as `claim` and `close` take it."""


def pay(
    channel: int,
    total_wei: int,
    key: bytes | None = None,
    *,
    to: bytes = PRODUCER,
    chain_id: int = CHAIN_ID,
    contract: bytes = PAYMENT_CHANNEL_ADDRESS,
) -> Signed:
    """A payment, by the consumer where no other key is given."""
    typed = payment_typed_data(chain_id, contract)
    hash_ = typed.hash({"channel": channel, "producer": to, "totalWei": total_wei})
    return channel, total_wei, *compact_signature(*sign(hash_, key or key_of("consumer")))


def agree(channel: int, total_wei: int, key: bytes | None = None, *, consumer: bytes = CONSUMER) -> Signed:
    """The producer's word that the consumer may close."""
    hash_ = closing_typed_data(CHAIN_ID).hash({"channel": channel, "consumer": consumer, "totalWei": total_wei})
    return channel, total_wei, *compact_signature(*sign(hash_, key or key_of("producer")))


def events(result: Result) -> list[tuple[str, dict[str, object]]]:
    """All events of a successful transaction, in order."""
    assert result.success, reason(result)
    found = []
    for log in result.logs:
        assert log.address == PAYMENT_CHANNEL_ADDRESS
        decoded = CHANNEL.abi.decode_log(log.topics, log.data)
        assert decoded is not None
        found.append((decoded.event, dict(decoded.arguments)))
    return found


def reason(result: Result) -> str | None:
    """Why a transaction reverted; None where it did not."""
    if result.success:
        return None
    return CHANNEL.abi.revert_reason(result.output) or "0x" + result.output.hex()
