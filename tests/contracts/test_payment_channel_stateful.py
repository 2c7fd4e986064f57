"""Any sequence of calls leaves every wei where a model kept in Python has it, and refuses what the model refuses.

Hypothesis draws openings, payments on paper, claims, closings of every kind, top-ups, extensions, time that passes, and
a consumer's wallet that refuses money now and then, by the parties and by strangers.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from tests.contracts.channel_stage import (
    CONSUMER,
    DAY_S,
    FIRST_BALANCE,
    OTHER,
    PEOPLE,
    PRODUCER,
    STRANGER,
    Parties,
    agree,
    key_of,
    pay,
    reason,
)
from tests.contracts.ledgers import Result

NAME_OF = {CONSUMER: "consumer", PRODUCER: "producer", OTHER: "other", STRANGER: "stranger"}
TAKE, REFUSE = 0, 1
people = st.sampled_from(PEOPLE)
amounts = st.integers(0, 12)
rarely = st.integers(0, 9).map(lambda number: number == 9)


@dataclass
class ModelChannel:
    consumer: bytes
    producer: bytes
    deposit: int
    until: int
    claimed: int = 0
    is_open: bool = True


@dataclass
class Model:
    """Who has what, told in the words of the paper."""

    money: dict[bytes, int]
    channels: list[ModelChannel] = field(default_factory=list)
    kept: dict[bytes, int] = field(default_factory=dict)
    refusing: set[bytes] = field(default_factory=set)

    def find(self, number: int) -> ModelChannel | str:
        if not 1 <= number <= len(self.channels):
            return "ChannelUnknown"
        channel = self.channels[number - 1]
        return channel if channel.is_open else "ChannelClosed"

    def give(self, person: bytes, amount: int) -> None:
        purse = self.kept if person in self.refusing else self.money
        purse[person] = purse.get(person, 0) + amount

    def end(self, channel: ModelChannel, total: int) -> None:
        self.give(channel.producer, total - channel.claimed)
        self.give(channel.consumer, channel.deposit - total)
        channel.is_open = False

    @property
    def held(self) -> int:
        in_channels = sum(one.deposit - one.claimed for one in self.channels if one.is_open)
        return in_channels + sum(self.kept.values())


class Channels(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.parties = Parties()
        self.party = self.parties.deploy_party()
        self.model = Model({**dict.fromkeys(PEOPLE, FIRST_BALANCE), self.party: 0})
        self.open(CONSUMER, PRODUCER, 10, 2)
        self.a_wallet_opens(PRODUCER, 10)

    @property
    def now(self) -> int:
        return self.parties.ledger.time_s

    @rule(consumer=people, producer=people, amount=amounts, days=st.integers(-1, 3))
    def open(self, consumer: bytes, producer: bytes, amount: int, days: int) -> None:
        until = self.now + days * DAY_S
        refusal = "ProducerIsConsumer" if consumer == producer else "AmountZero" if amount == 0 else None
        refusal = refusal or ("ValidityInvalid" if days <= 0 else None)
        result = self.parties.transact(consumer, "open", producer, until, value=amount)
        if self._agreed(result, refusal):
            self.model.money[consumer] -= amount
            self.model.channels.append(ModelChannel(consumer, producer, amount, until))

    @rule(producer=people, amount=st.integers(1, 12))
    def a_wallet_opens(self, producer: bytes, amount: int) -> None:
        until = self.now + DAY_S
        self._agreed(self.parties.act(self.party, "open", producer, until, value=amount), None)
        self.model.money[STRANGER] -= amount
        self.model.channels.append(ModelChannel(self.party, producer, amount, until))

    @rule(refuses=st.booleans())
    def the_wallet_changes_its_manner(self, refuses: bool) -> None:
        self.parties.behave(self.party, REFUSE if refuses else TAKE)
        self.model.refusing = {self.party} if refuses else set()

    @rule(data=st.data(), amount=amounts)
    def top_up(self, data: st.DataObject, amount: int) -> None:
        number, caller = self._choose(data, "NotConsumer")
        found = self._of(number, caller, "NotConsumer")
        refusal = found if isinstance(found, str) else "AmountZero" if amount == 0 else None
        if self._agreed(self._transact(caller, "topUp", number, value=amount), refusal):
            assert isinstance(found, ModelChannel)
            found.deposit += amount
            self.model.money[STRANGER if caller == self.party else caller] -= amount

    @rule(data=st.data(), days=st.integers(-1, 3))
    def extend(self, data: st.DataObject, days: int) -> None:
        number, caller = self._choose(data, "NotConsumer")
        until = self.now + days * DAY_S
        found = self._of(number, caller, "NotConsumer")
        refusal = found if isinstance(found, str) else "ValidityNotLonger" if until <= found.until else None
        refusal = refusal or ("ValidityInvalid" if days <= 0 else None)
        if self._agreed(self._transact(caller, "extend", number, until), refusal):
            assert isinstance(found, ModelChannel)
            found.until = until

    @rule(data=st.data(), forged=rarely, total=amounts, ends=rarely)
    def producer_presents(self, data: st.DataObject, forged: bool, total: int, ends: bool) -> None:
        """What the consumer has signed; where it is forged, what the producer has."""
        number, caller = self._choose(data, "NotProducer")
        found = self._of(number, caller, "NotProducer")
        known = self.model.find(number)
        consumer = known.consumer if isinstance(known, ModelChannel) else CONSUMER
        refusal = found if isinstance(found, str) else None
        if isinstance(found, ModelChannel):
            if not ends and total <= found.claimed:
                refusal = "NothingToClaim"
            elif total > found.deposit:
                refusal = "TotalAboveDeposit"
            elif forged or consumer == self.party:
                refusal = "SignatureInvalid"
            elif total < found.claimed:
                refusal = "TotalBelowClaimed"
        signer = key_of("producer" if consumer != PRODUCER else "other") if forged else _key(consumer)
        payment = pay(number, total, signer, to=caller)
        if self._agreed(self._transact(caller, "close" if ends else "claim", *payment), refusal):
            assert isinstance(found, ModelChannel)
            if ends:
                self.model.end(found, total)
            else:
                self.model.give(caller, total - found.claimed)
                found.claimed = total

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number, caller = self._choose(data, "NotProducer")
        found = self._of(number, caller, "NotProducer")
        refusal = found if isinstance(found, str) else None
        if self._agreed(self._transact(caller, "release", number), refusal):
            assert isinstance(found, ModelChannel)
            self.model.end(found, found.claimed)

    @rule(data=st.data())
    def close_expired(self, data: st.DataObject) -> None:
        number, caller = self._choose(data, "NotConsumer")
        found = self._of(number, caller, "NotConsumer")
        refusal = found if isinstance(found, str) else "StillValid" if self.now < found.until else None
        if self._agreed(self._transact(caller, "closeExpired", number), refusal):
            assert isinstance(found, ModelChannel)
            self.model.end(found, found.claimed)

    @rule(data=st.data(), forged=rarely, total=amounts)
    def close_together(self, data: st.DataObject, forged: bool, total: int) -> None:
        number, caller = self._choose(data, "NotConsumer")
        found = self._of(number, caller, "NotConsumer")
        known = self.model.find(number)
        producer = known.producer if isinstance(known, ModelChannel) else PRODUCER
        refusal = found if isinstance(found, str) else None
        if isinstance(found, ModelChannel):
            if total > found.deposit:
                refusal = "TotalAboveDeposit"
            elif forged:
                refusal = "SignatureInvalid"
            elif total < found.claimed:
                refusal = "TotalBelowClaimed"
        signed = agree(number, total, key_of("nobody") if forged else _key(producer), consumer=caller)
        if self._agreed(self._transact(caller, "closeTogether", *signed), refusal):
            assert isinstance(found, ModelChannel)
            self.model.end(found, total)

    @rule(receiver=people)
    def the_wallet_withdraws(self, receiver: bytes) -> None:
        amount = self.model.kept.pop(self.party, 0)
        result = self.parties.act(self.party, "withdraw", receiver)
        if self._agreed(result, None if amount else "NothingKept"):
            self.model.money[receiver] += amount

    @rule(days=st.integers(0, 2))
    def time_passes(self, days: int) -> None:
        self.parties.ledger.time_s += days * DAY_S

    @invariant()
    def every_wei_is_where_it_belongs(self) -> None:
        ledger = self.parties.ledger
        assert {person: ledger.balance(person) for person in self.model.money} == self.model.money
        assert ledger.balance(PAYMENT_CHANNEL_ADDRESS) == self.model.held
        assert self.parties.number("keptWei", self.party) == self.model.kept.get(self.party, 0)
        assert self.parties.number("channelCount") == len(self.model.channels)
        for number, one in enumerate(self.model.channels, start=1):
            expected: tuple[object, ...] = (2, bytes(20), bytes(20), 0, 0, 0)
            if one.is_open:
                expected = (1, one.consumer, one.producer, one.deposit, one.claimed, one.until)
            assert self.parties.ask("channelOf", number) == expected

    def _choose(self, data: st.DataObject, otherwise: str) -> tuple[int, bytes]:
        """A channel and a caller: mostly one that is open and the party that may, now and then anything and anybody."""
        numbers = [number for number, one in enumerate(self.model.channels, start=1) if one.is_open]
        if not numbers or data.draw(rarely):
            return data.draw(st.integers(0, len(self.model.channels) + 1)), data.draw(people)
        number = data.draw(st.sampled_from(numbers))
        if data.draw(rarely):
            return number, data.draw(people)
        one = self.model.channels[number - 1]
        return number, one.consumer if otherwise == "NotConsumer" else one.producer

    def _transact(self, caller: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        send = self.parties.act if caller == self.party else self.parties.transact
        return send(caller, function, *arguments, value=value)

    def _of(self, number: int, caller: bytes, otherwise: str) -> ModelChannel | str:
        found = self.model.find(number)
        if isinstance(found, str):
            return found
        party = found.consumer if otherwise == "NotConsumer" else found.producer
        return found if caller == party else otherwise

    @staticmethod
    def _agreed(result: Result, refusal: str | None) -> bool:
        """Whether it was done; that it was or was not is what the model says."""
        if refusal is None:
            assert result.success, reason(result)
        else:
            assert (reason(result) or "").startswith(refusal + "("), (reason(result), refusal)
            assert result.logs == ()
        return result.success


def _key(person: bytes) -> bytes:
    return key_of(NAME_OF.get(person, "nobody"))


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=80, stateful_step_count=25)
