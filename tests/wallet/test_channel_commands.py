"""`wattchain channel`: both sides as people run it, against a real gateway over a ledger in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chain.config import EIP1559, ZERO
from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from tests.contracts.channel_stage import CHANNEL, WATT, channel_alloc
from tests.wallet.command_stage import ContractLedger, Person, serve_ledger
from tests.wallet.refusal_checks import check_refusals
from wallet.channel import PAYMENT_CHANNEL
from wallet.channel_commands import channel
from wallet.channel_payment import Kind, encode_total, sign_total
from wallet.keystore import LIGHT_COST, encrypt_key

CONSUMER_KEY, PRODUCER_KEY, STRANGER_KEY = (bytes([number]) * 32 for number in (1, 2, 3))
CONSUMER, PRODUCER, STRANGER = (address_of(key) for key in (CONSUMER_KEY, PRODUCER_KEY, STRANGER_KEY))


def shown(address: bytes) -> str:
    return to_checksum_address(address)


class Buyer(Person):
    """A party with its own store of payments; `by` is the key that it signs with."""

    def use_store(self, name: str, by: bytes) -> "Buyer":
        self.environment["WATTCHAIN_CHANNELS"] = str(self.folder / name)
        self.by = by
        return self

    def does(self, *arguments: str) -> Any:
        return self.json(*arguments, "--yes", *self.key(self.by))

    def pays(self, number: int, amount: str) -> str:
        text = self.json("pay", str(number), amount, *self.key(self.by))["payment"]
        assert isinstance(text, str)
        return text

    def verifies(self, text: str, *more: str) -> Any:
        return self.json("verify", text, "--account", shown(self.by), *more)

    def refuses(self, text: str, *more: str) -> str:
        return self.error("verify", text, "--account", shown(self.by), *more)


@contextmanager
def stage(folder: Path, fees: str = ZERO) -> Iterator[tuple[ContractLedger, Buyer, Buyer]]:
    ledger = ContractLedger(channel_alloc({CONSUMER: 100 * WATT, PRODUCER: WATT, STRANGER: WATT}), fees=fees)
    with serve_ledger(ledger) as (loop, url):
        keys = [CONSUMER_KEY, PRODUCER_KEY, STRANGER_KEY]
        consumer, producer = (Buyer(channel, folder, ledger, loop, url, keys) for _ in range(2))
        yield ledger, consumer.use_store("consumer.db", CONSUMER), producer.use_store("producer.db", PRODUCER)


def balance(ledger: ContractLedger, address: bytes) -> int:
    account = ledger.view.state_at(ledger.view.head().number).accounts.get(address)
    return 0 if account is None else account.balance


def test_every_refusal_is_a_sentence() -> None:
    check_refusals(PAYMENT_CHANNEL)


@pytest.mark.parametrize("fees", [ZERO, EIP1559])
def test_the_thesis_three_steps_by_command(tmp_path: Path, fees: str) -> None:
    with stage(tmp_path, fees) as (ledger, consumer, producer):
        opened = consumer.does("open", shown(PRODUCER), "10", "--for", "2d")
        assert (opened["channel"], opened["deposit_wei"]) == (1, str(10 * WATT))
        for number in range(1, 4):
            kept = producer.verifies(consumer.pays(1, "0.5"))
            assert (kept["worth_wei"], kept["total_wei"]) == (str(WATT // 2), str(number * WATT // 2))
        before = balance(ledger, PRODUCER)
        closed = producer.does("close", "1")
        assert (closed["total_wei"], closed["returned_wei"]) == (str(15 * WATT // 10), str(85 * WATT // 10))
        assert balance(ledger, PRODUCER) == before + 15 * WATT // 10 - int(closed["fee_wei"])
        assert balance(ledger, PAYMENT_CHANNEL_ADDRESS) == 0
        assert consumer.error("show", "1") == "Channel 1 is closed: its money is distributed."


def test_a_payment_goes_by_file_and_text_and_is_shown_again(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10")
        file = tmp_path / "payment.txt"
        printed = consumer.ok("pay", "1", "2", "--output", str(file), "--qr", *consumer.key(CONSUMER))
        assert printed == file.read_text()
        assert json.loads(printed)["total_wei"] == str(2 * WATT)
        assert producer.verifies(str(file))["worth_wei"] == str(2 * WATT)
        assert consumer.ok("pay", "1", "--again") == printed
        assert "one with 2 WATT is here already" in producer.refuses(printed)
        assert producer.refuses(str(tmp_path / "missing")).endswith("cannot be read: No such file or directory.")


def test_what_is_no_good_payment_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10", "--for", "2d")
        good = json.loads(consumer.pays(1, "1"))
        chain_id = good["chain"]
        contract = PAYMENT_CHANNEL_ADDRESS

        def made(chain: int, where: bytes, number: int, to: bytes, wei: int, key: bytes = CONSUMER_KEY) -> str:
            return encode_total(sign_total(Kind.PAYMENT, chain, where, number, to, wei, key))

        refusals = {
            made(chain_id + 1, contract, 1, PRODUCER, WATT): "is for chain",
            made(chain_id, STRANGER, 1, PRODUCER, WATT): "is for another contract",
            made(chain_id, contract, 2, PRODUCER, WATT): "There is no channel 2",
            made(chain_id, contract, 1, STRANGER, WATT): "belongs to the producer",
            made(chain_id, contract, 1, PRODUCER, 11 * WATT): "can top it up",
            made(chain_id, contract, 1, PRODUCER, WATT, STRANGER_KEY): "is not signed by",
            json.dumps({**good, "total_wei": str(2 * WATT)}): "is not signed by",
            json.dumps({**good, "total_wei": 5}): "in quotes",
            json.dumps({**good, "total_wei": "-5"}): "in quotes",
            json.dumps({**good, "signature": "0x00"}): "damaged",
            json.dumps({**good, "signature": "0x" + "ff" * 64}): "nobody's",
            json.dumps({**good, "channel": True}): "whole number",
            json.dumps({**good, "channel": 2**60}): "whole number",
            json.dumps({**good, "more": 1}): "exactly the members",
            json.dumps({**good, "wattchain": "closing"}): "calls itself",
            "{" * 2_000: "no payment",
            "{" + "x" * 5_000: "longer than any",
        }
        for text, expected in refusals.items():
            assert expected in producer.refuses(text), text[:200]
        assert "may come too late" in producer.refuses(json.dumps(good), "--margin", "3d")
        assert "none of your keys" in producer.error("verify", json.dumps(good), "--account", shown(STRANGER))
        assert producer.verifies(json.dumps(good))["total_wei"] == str(WATT)


def test_a_consumer_signs_no_more_than_there_is(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "1")
        consumer.pays(1, "0.75")
        said = consumer.error("pay", "1", "0.5", *consumer.key(CONSUMER))
        assert said.startswith("Only 0.25 WATT are left in channel 1. Add money")
        assert "only its key can sign" in consumer.error("pay", "1", "0.1", *consumer.key(STRANGER))
        assert consumer.error("pay", "1", "0", *consumer.key(CONSUMER)) == "A payment needs an amount above zero."
        assert "--again" in consumer.error("pay", "1")
        assert consumer.does("top-up", "1", "1")["deposit_wei"] == str(2 * WATT)
        assert producer.verifies(consumer.pays(1, "0.5"))["worth_wei"] == str(125 * WATT // 100)


def test_claims_an_agreement_and_an_early_end(tmp_path: Path) -> None:
    with stage(tmp_path) as (ledger, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10", "--for", "2h")
        producer.verifies(consumer.pays(1, "1"))
        assert producer.does("claim", "1")["amount_wei"] == str(WATT)
        assert "not claimed yet" in producer.error("claim", "1", "--yes", *producer.key(PRODUCER))
        producer.verifies(consumer.pays(1, "1"))
        assert "until then only the producer can close it" in consumer.error(
            "close", "1", "--yes", *consumer.key(CONSUMER)
        )
        assert consumer.does("extend", "1", "--for", "5d")["valid_until"] > 0
        agreement = tmp_path / "agreement"
        producer.json("agree", "1", "--output", str(agreement), *producer.key(PRODUCER))
        assert "ou have agreed to the closing" in producer.refuses(consumer.pays(1, "1"))
        closed = consumer.does("close", "1", "--agreement", str(agreement))
        assert (closed["total_wei"], closed["returned_wei"]) == (str(2 * WATT), str(8 * WATT))
        assert balance(ledger, CONSUMER) == 98 * WATT


def test_a_lost_store_makes_no_money_count_twice(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10")
        first, second = consumer.pays(1, "1"), consumer.pays(1, "2")
        producer.verifies(second)
        producer.does("claim", "1")
        third = consumer.pays(1, "0.5")
        producer.use_store("another.db", PRODUCER)
        for old in (first, second):
            assert "3 WATT of channel 1 are claimed already" in producer.refuses(old)
        assert producer.verifies(third)["worth_wei"] == str(WATT // 2)
        consumer.use_store("another one.db", CONSUMER)
        said = consumer.error("pay", "1", "0.5", *consumer.key(CONSUMER))
        assert said.startswith("Of channel 1, 3 WATT are claimed, but only 0 WATT were signed here.")
        resumed = consumer.json("pay", "1", "0.75", "--resume", *consumer.key(CONSUMER))["payment"]
        assert producer.verifies(resumed)["worth_wei"] == str(WATT // 4)  # of the third it knew nothing


def test_channels_are_listed_and_an_end_is_warned_of(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10", "--for", "5h")
        consumer.does("open", shown(STRANGER), "1", "--for", "9d")
        producer.verifies(consumer.pays(1, "3"))
        both = consumer.json("list", "--account", shown(CONSUMER))
        assert [(one["channel"], one["signed_wei"]) for one in both] == [(1, str(3 * WATT)), (2, "0")]
        listed = producer.run("list", "--account", shown(PRODUCER))
        assert listed.exit_code == 0
        assert "3 WATT received here in all" in listed.stdout
        assert "Warning: The validity of channel 1 ends in" in listed.stderr
        assert "close it now with `wattchain channel close 1`" in listed.stderr
        watched = producer.run("watch", "--once", "--account", shown(PRODUCER))
        assert (watched.exit_code, "Warning" in watched.stderr) == (1, True)
        told = producer.run("watch", "--once", "--account", shown(PRODUCER), "--json")
        assert (told.exit_code, json.loads(told.stdout)) == (1, {"channels": [1]})
        assert producer.run("watch", "--once", "--before", "1h", "--account", shown(PRODUCER)).exit_code == 0
        assert "There is no key" in producer.error("list")


def test_what_a_wallet_did_not_take_is_withdrawn(tmp_path: Path) -> None:
    with stage(tmp_path) as (_, _, producer):
        assert "Nothing is kept for" in producer.error("payout", "--yes", *producer.key(PRODUCER))


def test_a_producer_finds_its_channels_by_its_key_folder(tmp_path: Path) -> None:
    keys = tmp_path / "keystore"
    keys.mkdir()
    (keys / "home.json").write_text(encrypt_key(PRODUCER_KEY, "secret", LIGHT_COST))
    with stage(tmp_path) as (_, consumer, producer):
        consumer.does("open", shown(PRODUCER), "10")
        assert producer.json("verify", consumer.pays(1, "3"))["worth_wei"] == str(3 * WATT)
        assert [one["received_wei"] for one in producer.json("list")] == [str(3 * WATT)]


def test_the_artifact_is_the_contract_of_the_commands() -> None:
    assert PAYMENT_CHANNEL.abi.errors == CHANNEL.abi.errors
