"""The validators of the contract tests: a genesis with some of them, and short ways to vote and to ask."""

from collections.abc import Iterable, Mapping, Sequence

from contracts.addresses import VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc, genesis_alloc
from primitives.keccak import keccak256
from tests.contracts.ledgers import Ledger, Result, make_ledger
from tests.contracts.neighbourhood import OPERATOR, Event

VALIDATORS = load_artifact("Validators")
MAX_VALIDATORS, MAX_OPEN_VOTES = 128, 16
LIST_SLOT, KNOWN_HASH_SLOT = 0, 1
FIRST_ELEMENT_SLOT = int.from_bytes(keccak256(bytes(32)), "big")


def person(number: int) -> bytes:
    return b"\xaa" * 18 + number.to_bytes(2, "big")


def people(count: int, first: int = 1) -> list[bytes]:
    return [person(number) for number in range(first, first + count)]


class Council:
    """The contract with these validators, in the genesis state of a ledger, or on a ledger that has it already."""

    def __init__(self, validators: Iterable[bytes], ledger: Ledger | None = None) -> None:
        self.ledger = ledger or make_ledger(council_alloc(validators))

    def add(self, voter: bytes, candidate: bytes) -> Result:
        return self.vote(voter, "voteToAdd", candidate)

    def remove(self, voter: bytes, member: bytes) -> Result:
        return self.vote(voter, "voteToRemove", member)

    def withdraw(self, voter: bytes, subject: bytes) -> Result:
        return self.vote(voter, "withdrawVote", subject)

    def vote(self, voter: bytes, function: str, subject: bytes, value_wei: int = 0) -> Result:
        data = VALIDATORS.abi.encode_call(function, [subject])
        return self.ledger.transact(voter, VALIDATORS_ADDRESS, data, value_wei)

    def ask(self, function: str, *arguments: object) -> tuple[object, ...]:
        data = VALIDATORS.abi.encode_call(function, arguments)
        result = self.ledger.call(b"\x55" * 20, VALIDATORS_ADDRESS, data)
        assert result.success, reason(result)
        return VALIDATORS.abi.decode_result(function, result.output)

    def listed(self) -> list[bytes]:
        """What the contract says."""
        (validators,) = self.ask("validators")
        assert isinstance(validators, (list, tuple))
        return list(validators)

    def stored(self) -> list[bytes]:
        """What the consensus rules read."""
        count = self.ledger.storage(VALIDATORS_ADDRESS, LIST_SLOT)
        words = [self.ledger.storage(VALIDATORS_ADDRESS, FIRST_ELEMENT_SLOT + index) for index in range(count)]
        return [word.to_bytes(20, "big") for word in words]

    def write(self, validators: Sequence[bytes], *, void_hash: bool) -> None:
        """The list from outside, as operators agree on one where too many validators are lost."""
        slots = {FIRST_ELEMENT_SLOT + index: 0 for index in range(len(self.stored()))}
        slots |= {FIRST_ELEMENT_SLOT + index: _number(one) for index, one in enumerate(validators)}
        slots |= {LIST_SLOT: len(validators)} | ({KNOWN_HASH_SLOT: 0} if void_hash else {})
        self.ledger.write_storage(VALIDATORS_ADDRESS, slots)

    def voters(self, subject: bytes) -> set[bytes]:
        _, voters, _, _ = self.ask("proposal", subject)
        assert isinstance(voters, (list, tuple))
        assert len(set(voters)) == len(voters)
        return set(voters)

    def open_votes(self) -> set[tuple[bytes, bytes, bool]]:
        """(voter, subject, to remove)."""
        (votes,) = self.ask("openVotes")
        assert isinstance(votes, (list, tuple))
        assert len(set(votes)) == len(votes)
        return set(votes)


def council_alloc(
    validators: Iterable[bytes], votes: Mapping[bytes, Sequence[tuple[bytes, bool]]] | None = None
) -> Alloc:
    """The genesis with these validators, and where given with (subject, to remove) that they have voted for already."""
    listed = list(validators)
    alloc = genesis_alloc(OPERATOR, validators=listed)
    storage = alloc["0x" + VALIDATORS_ADDRESS.hex()]["storage"]
    assert isinstance(storage, dict)
    if votes:
        storage[hex(KNOWN_HASH_SLOT)] = hex(_number(keccak256(b"".join([one.rjust(32, b"\0") for one in listed]))))
    mapping_slot = (2).to_bytes(32, "big")
    for voter, subjects in (votes or {}).items():
        slot = keccak256(voter.rjust(32, b"\0") + mapping_slot)
        storage["0x" + slot.hex()] = hex(len(subjects))
        for index, (subject, to_remove) in enumerate(subjects):
            storage[hex(_number(keccak256(slot)) + index)] = hex(_number(subject) | to_remove << 160)
    return alloc


def events(result: Result) -> list[Event]:
    """All events of a successful transaction, in order."""
    assert result.success, reason(result)
    found = []
    for log in result.logs:
        assert log.address == VALIDATORS_ADDRESS
        decoded = VALIDATORS.abi.decode_log(log.topics, log.data)
        assert decoded is not None
        found.append(Event(decoded.event, dict(decoded.arguments)))
    return found


def new_list(result: Result) -> list[bytes] | None:
    """The list that a transaction announced, None where it changed nothing; told once, and last of all."""
    told = [event for event in events(result) if event.name == "ValidatorsChanged"]
    if not told:
        return None
    assert told == events(result)[-1:]
    validators = told[0].arguments["validators"]
    assert isinstance(validators, (list, tuple))
    return list(validators)


def reason(result: Result) -> str | None:
    """Why a transaction reverted: the contract's own error with its values. None where it did not revert."""
    if result.success:
        return None
    return VALIDATORS.abi.revert_reason(result.output) or "0x" + result.output.hex()


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
