"""PaymentChannel: the thesis's three steps, who may do what, what a signature is worth, and parties that do harm."""

import pytest

from contracts.addresses import METER_ADDRESS, PAYMENT_CHANNEL_ADDRESS
from contracts.payment_format import (
    CLOSING_FIELDS,
    MAX_DEPOSIT_WEI,
    MAX_VALIDITY_S,
    PAYMENT_FIELDS,
    closing_typed_data,
    payment_typed_data,
)
from primitives.keccak import keccak256
from primitives.secp256k1 import ORDER
from tests.contracts.channel_stage import (
    CONSUMER,
    DAY_S,
    FIRST_BALANCE,
    NAMES,
    OTHER,
    PEOPLE,
    PRODUCER,
    STRANGER,
    WATT,
    Parties,
    Signed,
    agree,
    channel_alloc,
    events,
    key_of,
    pay,
    reason,
)
from tests.contracts.ledgers import CHAIN_ID, make_ledger

TAKE, REFUSE, BURN_GAS, REFUSE_AT_LENGTH, CALL_BACK = range(5)


@pytest.fixture
def parties() -> Parties:
    return Parties()


def refused(parties: Parties, sender: bytes, function: str, *arguments: object, value: int = 0) -> str:
    """The name of the error; nothing has moved."""
    before = parties.held_wei
    result = parties.transact(sender, function, *arguments, value=value)
    assert not result.success
    assert parties.held_wei == before
    return (reason(result) or "").partition("(")[0]


def test_the_thesis_three_steps(parties: Parties) -> None:
    """Thesis, 5.5: fund and activate; seal a message after each purchase; close with the last. Two transactions."""
    ledger = parties.ledger
    valid_until = ledger.time_s + DAY_S
    opened = parties.transact(CONSUMER, "open", PRODUCER, valid_until, value=10 * WATT)
    assert events(opened) == [
        (
            "Opened",
            {
                "channel": 1,
                "consumer": CONSUMER,
                "producer": PRODUCER,
                "depositWei": 10 * WATT,
                "validUntil": valid_until,
            },
        )
    ]
    assert parties.ask("channelOf", 1) == (1, CONSUMER, PRODUCER, 10 * WATT, 0, valid_until)
    messages = [pay(1, total * WATT // 2) for total in range(1, 11)]  # ten purchases, off the chain
    closed = parties.transact(PRODUCER, "close", *messages[-1])
    assert events(closed) == [
        (
            "Closed",
            {
                "channel": 1,
                "consumer": CONSUMER,
                "producer": PRODUCER,
                "closer": PRODUCER,
                "totalWei": 5 * WATT,
                "returnedWei": 5 * WATT,
            },
        )
    ]
    assert ledger.balance(PRODUCER) == FIRST_BALANCE + 5 * WATT
    assert ledger.balance(CONSUMER) == FIRST_BALANCE - 5 * WATT
    assert parties.held_wei == 0
    assert parties.ask("channelOf", 1) == (2, bytes(20), bytes(20), 0, 0, 0)


def test_where_the_producer_does_not_close_the_consumer_does_after_the_validity(parties: Parties) -> None:
    channel = parties.open(10 * WATT, DAY_S)
    parties.ledger.time_s += DAY_S - 1
    assert refused(parties, CONSUMER, "closeExpired", channel) == "StillValid"
    parties.ledger.time_s += 1
    ((name, values),) = events(parties.transact(CONSUMER, "closeExpired", channel))
    assert (name, values["totalWei"], values["returnedWei"], values["closer"]) == ("Closed", 0, 10 * WATT, CONSUMER)
    assert parties.ledger.balance(CONSUMER) == FIRST_BALANCE
    assert refused(parties, PRODUCER, "close", *pay(channel, WATT)) == "ChannelClosed"


def test_the_producer_may_still_close_late_while_the_consumer_has_not(parties: Parties) -> None:
    channel = parties.open(10 * WATT, DAY_S)
    parties.ledger.time_s += 2 * DAY_S
    assert parties.transact(PRODUCER, "close", *pay(channel, 3 * WATT)).success
    assert parties.ledger.balance(PRODUCER) == FIRST_BALANCE + 3 * WATT


def test_top_up_and_extension(parties: Parties) -> None:
    channel = parties.open(WATT, DAY_S)
    assert refused(parties, PRODUCER, "close", *pay(channel, 3 * WATT)) == "TotalAboveDeposit"
    topped = parties.transact(CONSUMER, "topUp", channel, value=2 * WATT)
    assert events(topped) == [("ToppedUp", {"channel": channel, "amountWei": 2 * WATT, "depositWei": 3 * WATT})]
    until = parties.ledger.time_s + 2 * DAY_S
    extended = parties.transact(CONSUMER, "extend", channel, until)
    assert events(extended) == [("Extended", {"channel": channel, "validUntil": until})]
    parties.ledger.time_s += DAY_S
    assert refused(parties, CONSUMER, "closeExpired", channel) == "StillValid"
    assert parties.transact(PRODUCER, "close", *pay(channel, 3 * WATT)).success
    assert parties.ledger.balance(PRODUCER) == FIRST_BALANCE + 3 * WATT


def test_an_extension_only_lengthens_and_revives(parties: Parties) -> None:
    channel = parties.open(WATT, DAY_S)
    now = parties.ledger.time_s
    for until in (0, now + 1, now + DAY_S):
        assert refused(parties, CONSUMER, "extend", channel, until) == "ValidityNotLonger"
    assert refused(parties, CONSUMER, "extend", channel, now + MAX_VALIDITY_S + 1) == "ValidityInvalid"
    assert refused(parties, CONSUMER, "extend", channel, 2**256 - 1) == "ValidityInvalid"
    parties.ledger.time_s += 3 * DAY_S
    assert refused(parties, CONSUMER, "extend", channel, now + 3 * DAY_S) == "ValidityInvalid"
    assert parties.transact(CONSUMER, "extend", channel, parties.ledger.time_s + MAX_VALIDITY_S).success
    assert refused(parties, CONSUMER, "closeExpired", channel) == "StillValid"


def test_partial_claims_leave_the_channel_open_and_pay_each_wei_once(parties: Parties) -> None:
    channel = parties.open(10 * WATT)
    claimed = parties.transact(PRODUCER, "claim", *pay(channel, 2 * WATT))
    told = {"channel": channel, "producer": PRODUCER, "amountWei": 2 * WATT, "totalWei": 2 * WATT}
    assert events(claimed) == [("Claimed", told)]
    for total in (0, WATT, 2 * WATT):
        assert refused(parties, PRODUCER, "claim", *pay(channel, total)) == "NothingToClaim"
    ((_, values),) = events(parties.transact(PRODUCER, "claim", *pay(channel, 5 * WATT)))
    assert values["amountWei"] == 3 * WATT
    assert parties.ask("channelOf", channel)[3:5] == (10 * WATT, 5 * WATT)
    assert refused(parties, PRODUCER, "close", *pay(channel, 4 * WATT)) == "TotalBelowClaimed"
    assert parties.transact(PRODUCER, "close", *pay(channel, 6 * WATT)).success
    assert parties.ledger.balance(PRODUCER) == FIRST_BALANCE + 6 * WATT
    assert parties.ledger.balance(CONSUMER) == FIRST_BALANCE - 6 * WATT


@pytest.mark.parametrize("claimed_wei", [0, 4 * WATT])
def test_a_producer_releases_what_is_not_claimed(parties: Parties, claimed_wei: int) -> None:
    channel = parties.open(10 * WATT)
    if claimed_wei:
        assert parties.transact(PRODUCER, "claim", *pay(channel, claimed_wei)).success
    assert parties.transact(PRODUCER, "release", channel).success
    assert parties.ledger.balance(CONSUMER) == FIRST_BALANCE - claimed_wei
    assert parties.held_wei == 0


def test_both_close_early_together(parties: Parties) -> None:
    channel = parties.open(10 * WATT)
    assert parties.transact(PRODUCER, "claim", *pay(channel, 2 * WATT)).success
    assert refused(parties, CONSUMER, "closeTogether", *agree(channel, WATT)) == "TotalBelowClaimed"
    assert refused(parties, CONSUMER, "closeTogether", *agree(channel, 11 * WATT)) == "TotalAboveDeposit"
    for forged in (agree(channel, 3 * WATT, key_of("consumer")), agree(channel, 3 * WATT, consumer=OTHER)):
        assert refused(parties, CONSUMER, "closeTogether", *forged) == "SignatureInvalid"
    # A payment is no closing, and a closing no payment, whoever signed it.
    assert refused(parties, CONSUMER, "closeTogether", *pay(channel, 3 * WATT, key_of("producer"))) == (
        "SignatureInvalid"
    )
    assert refused(parties, PRODUCER, "close", *agree(channel, 3 * WATT, key_of("consumer"))) == "SignatureInvalid"
    ((_, values),) = events(parties.transact(CONSUMER, "closeTogether", *agree(channel, 3 * WATT)))
    assert (values["closer"], values["totalWei"], values["returnedWei"]) == (CONSUMER, 3 * WATT, 7 * WATT)
    assert parties.ledger.balance(PRODUCER) == FIRST_BALANCE + 3 * WATT


def test_only_the_two_parties_and_each_only_their_part(parties: Parties) -> None:
    """Every function, by everybody who is not meant."""
    channel = parties.open(10 * WATT, DAY_S)
    parties.open(10 * WATT, DAY_S, OTHER, STRANGER)  # parties of another channel are strangers to this one
    payment, agreement = pay(channel, WATT), agree(channel, WATT)
    later = parties.ledger.time_s + 2 * DAY_S
    for person in PEOPLE:
        if person != PRODUCER:
            for function, arguments in (("claim", payment), ("close", payment), ("release", (channel,))):
                assert refused(parties, person, function, *arguments) == "NotProducer", NAMES[person]
        if person != CONSUMER:
            assert refused(parties, person, "topUp", channel, value=1) == "NotConsumer"
            assert refused(parties, person, "extend", channel, later) == "NotConsumer"
            assert refused(parties, person, "closeTogether", *agreement) == "NotConsumer"
        assert refused(parties, person, "withdraw", person) == "NothingKept"
    parties.ledger.time_s += DAY_S
    for person in (PRODUCER, OTHER, STRANGER):
        assert refused(parties, person, "closeExpired", channel) == "NotConsumer"


@pytest.mark.parametrize("number", [0, 2, 2**256 - 1])
def test_a_channel_that_was_never_opened(parties: Parties, number: int) -> None:
    assert parties.open() == 1
    for person, function, arguments in _every_use(parties, number):
        assert refused(parties, person, function, *arguments) == "ChannelUnknown"
    assert parties.ask("channelOf", number) == (0, bytes(20), bytes(20), 0, 0, 0)


def test_a_closed_channel_stays_closed_and_its_number_is_not_used_again(parties: Parties) -> None:
    channel = parties.open(10 * WATT)
    payment = pay(channel, WATT)
    assert parties.transact(PRODUCER, "close", *payment).success
    for person, function, arguments in _every_use(parties, channel):
        assert refused(parties, person, function, *arguments) == "ChannelClosed"
    following = parties.open(10 * WATT)
    assert (following, parties.number("channelCount")) == (channel + 1, channel + 1)
    assert refused(parties, PRODUCER, "close", following, *payment[1:]) == "SignatureInvalid"


def test_opening_is_refused(parties: Parties) -> None:
    now = parties.ledger.time_s
    assert refused(parties, CONSUMER, "open", bytes(20), now + 1, value=1) == "ZeroAddress"
    assert refused(parties, CONSUMER, "open", CONSUMER, now + 1, value=1) == "ProducerIsConsumer"
    assert refused(parties, CONSUMER, "open", PRODUCER, now + 1) == "AmountZero"
    for until in (0, now, now + MAX_VALIDITY_S + 1, 1000 * now, 2**48 + now + 1, 2**256 - 1):
        assert refused(parties, CONSUMER, "open", PRODUCER, until, value=1) == "ValidityInvalid"
    assert parties.number("channelCount") == 0
    for until in (now + 1, now + MAX_VALIDITY_S):
        assert parties.transact(CONSUMER, "open", PRODUCER, until, value=1).success


def test_the_greatest_deposit() -> None:
    parties = Parties(make_ledger(channel_alloc({CONSUMER: 2**100, PRODUCER: 1})))
    until = parties.ledger.time_s + 1
    assert refused(parties, CONSUMER, "open", PRODUCER, until, value=MAX_DEPOSIT_WEI + 1) == "DepositTooLarge"
    channel = parties.open(MAX_DEPOSIT_WEI)
    assert refused(parties, CONSUMER, "topUp", channel, value=1) == "DepositTooLarge"
    assert refused(parties, CONSUMER, "topUp", channel) == "AmountZero"
    assert parties.transact(PRODUCER, "claim", *pay(channel, MAX_DEPOSIT_WEI - 1)).success
    assert parties.transact(PRODUCER, "close", *pay(channel, MAX_DEPOSIT_WEI)).success
    assert parties.ledger.balance(PRODUCER) == MAX_DEPOSIT_WEI + 1


def _variants(channel: int, other: int) -> dict[str, Signed]:
    """Signatures that are worth nothing in this channel for 2 WATT."""
    number, total, r, vs = pay(channel, 2 * WATT)
    s, parity = int.from_bytes(vs, "big") & (1 << 255) - 1, vs[0] >> 7
    upper = (ORDER - s).to_bytes(32, "big")
    return {
        "another total": (number, total, *pay(channel, 3 * WATT)[2:]),
        "another channel": (number, total, *pay(other, 2 * WATT)[2:]),
        "another producer": (number, total, *pay(channel, 2 * WATT, to=OTHER)[2:]),
        "another chain": (number, total, *pay(channel, 2 * WATT, chain_id=CHAIN_ID + 1)[2:]),
        "another contract": (number, total, *pay(channel, 2 * WATT, contract=METER_ADDRESS)[2:]),
        "by the producer": pay(channel, 2 * WATT, key_of("producer")),
        "by a stranger": pay(channel, 2 * WATT, key_of("stranger")),
        "the other parity": (number, total, r, bytes([vs[0] ^ 0x80]) + vs[1:]),
        "the upper half of s": (number, total, r, bytes([upper[0] & 0x7F | (1 - parity) << 7]) + upper[1:]),
        "the upper half of s with its bit": (number, total, r, upper),
        "r of zero, nobody's signature": (number, total, bytes(32), vs),
        "s of zero": (number, total, r, bytes(32)),
        "all zero": (number, total, bytes(32), bytes(32)),
        "r of the order": (number, total, ORDER.to_bytes(32, "big"), vs),
    }


def test_signatures_that_are_worth_nothing(parties: Parties) -> None:
    channel, other = parties.open(10 * WATT), parties.open(10 * WATT)
    for name, signed in _variants(channel, other).items():
        for function in ("claim", "close"):
            assert refused(parties, PRODUCER, function, *signed) == "SignatureInvalid", (name, function)
    assert parties.transact(PRODUCER, "close", *pay(channel, 2 * WATT)).success


def test_the_hashes_are_those_of_the_standard(parties: Parties) -> None:
    channel, total = 7, 5 * WATT
    payment = {"channel": channel, "producer": PRODUCER, "totalWei": total}
    closing = {"channel": channel, "consumer": CONSUMER, "totalWei": total}
    assert parties.ask("paymentHash", channel, PRODUCER, total) == (payment_typed_data(CHAIN_ID).hash(payment),)
    assert parties.ask("closingHash", channel, CONSUMER, total) == (closing_typed_data(CHAIN_ID).hash(closing),)
    for name, fields, constant in (
        ("Payment", PAYMENT_FIELDS, "PAYMENT_TYPE_HASH"),
        ("Closing", CLOSING_FIELDS, "CLOSING_TYPE_HASH"),
    ):
        text = f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})"
        assert parties.ask(constant) == (keccak256(text.encode()),)
    assert parties.number("MAX_VALIDITY_S") == MAX_VALIDITY_S
    assert parties.number("MAX_DEPOSIT_WEI") == MAX_DEPOSIT_WEI


@pytest.mark.parametrize("manner", [REFUSE, BURN_GAS, REFUSE_AT_LENGTH])
def test_a_consumer_that_does_not_take_its_money_keeps_nobody_from_theirs(parties: Parties, manner: int) -> None:
    party = parties.deploy_party()
    assert parties.act(party, "open", PRODUCER, parties.ledger.time_s + DAY_S, value=10 * WATT).success
    parties.behave(party, manner)
    closed = parties.transact(PRODUCER, "release", 1)
    assert [name for name, _ in events(closed)] == ["Closed", "Kept"]
    assert closed.gas_used < 250_000
    assert parties.number("keptWei", party) == parties.held_wei == 10 * WATT
    assert reason(parties.act(party, "withdraw", PAYMENT_CHANNEL_ADDRESS)) is not None  # it takes no money
    assert parties.number("keptWei", party) == 10 * WATT
    assert parties.act(party, "withdraw", OTHER).success
    assert (parties.ledger.balance(OTHER), parties.held_wei) == (FIRST_BALANCE + 10 * WATT, 0)
    assert "NothingKept" in (reason(parties.act(party, "withdraw", OTHER)) or "")


@pytest.mark.parametrize("manner", [REFUSE, BURN_GAS, REFUSE_AT_LENGTH])
def test_a_producer_that_does_not_take_its_money_keeps_nobody_from_theirs(parties: Parties, manner: int) -> None:
    party = parties.deploy_party()
    channel = parties.open(10 * WATT, to=party)
    parties.behave(party, manner)
    assert parties.act(party, "claim", *pay(channel, WATT, to=party)).success
    assert parties.act(party, "close", *pay(channel, 3 * WATT, to=party)).success
    assert parties.ledger.balance(CONSUMER) == FIRST_BALANCE - 3 * WATT
    assert parties.number("keptWei", party) == parties.held_wei == 3 * WATT
    assert parties.act(party, "withdraw", PRODUCER).success
    assert parties.ledger.balance(PRODUCER) == FIRST_BALANCE + 3 * WATT


def test_a_party_that_calls_back_while_it_is_paid_gets_nothing_twice(parties: Parties) -> None:
    party = parties.deploy_party()
    channel = parties.open(10 * WATT, to=party)
    parties.open(10 * WATT)  # others' money in the contract
    attacks: list[tuple[str, tuple[object, ...]]] = [
        ("claim", pay(channel, 2 * WATT, to=party)),
        ("close", pay(channel, 2 * WATT, to=party)),
        ("release", (channel,)),
        ("withdraw", (party,)),
    ]
    for number, (function, arguments) in enumerate(attacks, start=1):
        parties.behave(party, CALL_BACK, function, *arguments)
        before = parties.ledger.balance(party)
        assert parties.act(party, "claim", *pay(channel, number * WATT, to=party)).success
        assert parties.ledger.balance(party) == before + WATT
        assert parties.ask("channelOf", channel)[4] == number * WATT
    assert parties.act(party, "close", *pay(channel, 5 * WATT, to=party)).success
    assert parties.ledger.balance(party) == 5 * WATT
    assert parties.held_wei == 10 * WATT


def test_a_closing_with_too_little_gas_starves_no_party(parties: Parties) -> None:
    """Where the gas would not reach for the consumer's wallet, the whole closing fails: nothing is kept on purpose."""
    producer, consumer = parties.deploy_party(), parties.deploy_party()
    assert parties.number("PAYOUT_GAS") == 50_000
    assert parties.act(consumer, "open", producer, parties.ledger.time_s + DAY_S, value=WATT).success
    for gas in range(2_000, 1_000_000, 4_000):
        if parties.act_with_gas(producer, gas, "release", 1):
            break
        assert parties.ask("channelOf", 1)[0] == 1
    assert gas > 115_000
    assert (parties.ledger.balance(consumer), parties.number("keptWei", consumer)) == (WATT, 0)


def _every_use(parties: Parties, number: int) -> list[tuple[bytes, str, tuple[object, ...]]]:
    until = parties.ledger.time_s + 2 * DAY_S
    return [
        (CONSUMER, "topUp", (number,)),
        (CONSUMER, "extend", (number, until)),
        (CONSUMER, "closeExpired", (number,)),
        (CONSUMER, "closeTogether", agree(number, WATT)),
        (PRODUCER, "claim", pay(number, WATT)),
        (PRODUCER, "close", pay(number, WATT)),
        (PRODUCER, "release", (number,)),
    ]
