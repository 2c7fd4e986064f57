"""`wattchain validators`: each command as a person runs it, against a real gateway over a ledger in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chain.config import EIP1559, ZERO
from chain.transaction import LEGACY, Transaction, sign_transaction
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.genesis import genesis_alloc
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from tests.contracts.council import FIRST_ELEMENT_SLOT, LIST_SLOT, MAX_OPEN_VOTES, MAX_VALIDATORS, VALIDATORS, people
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.command_stage import ContractLedger, Person, serve_ledger
from tests.wallet.toy_node import ToyNode, serve
from wallet.keystore import ScryptCost, encrypt_key
from wallet.validator_commands import validators

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
A, B, C, CANDIDATE, STRANGER = (address_of(key) for key in KEYS)
WATT = 10**18


def shown(address: bytes) -> str:
    return to_checksum_address(address)


class VotingLedger(ContractLedger):
    """With these validators in its first state."""

    def __init__(self, first: list[bytes], fees: str = ZERO, balances: dict[bytes, int] | None = None) -> None:
        super().__init__(genesis_alloc(STRANGER, validators=first) if first else {}, balances, fees)

    async def vote(self, key: bytes, function: str, subject: bytes) -> None:
        await self.transact(key, VALIDATORS_ADDRESS, VALIDATORS.abi.encode_call(function, [subject]))

    def stored(self) -> list[bytes]:
        state = self.view.state_at(self.view.head().number)
        count = state.storage(VALIDATORS_ADDRESS, LIST_SLOT)
        words = [state.storage(VALIDATORS_ADDRESS, FIRST_ELEMENT_SLOT + index) for index in range(count)]
        return [word.to_bytes(20, "big") for word in words]


class Voter(Person):
    """With the key files of three validators, a candidate and a stranger."""

    ledger: VotingLedger

    def vote(self, command: str, subject: bytes, voter: bytes, *more: str) -> Any:
        return self.json(command, shown(subject), "--yes", *self.key(voter), *more)

    def refused(self, command: str, subject: bytes, voter: bytes) -> str:
        return self.error(command, shown(subject), "--yes", *self.key(voter))

    def others_vote(self, *votes: tuple[bytes, str, bytes]) -> None:
        """(key, function, subject), each in a block of its own."""
        for vote in votes:
            self.on_the_ledger(self.ledger.vote(*vote))


@contextmanager
def person_with(folder: Path, ledger: VotingLedger) -> Iterator[Voter]:
    with serve_ledger(ledger) as (loop, url):
        yield Voter(validators, folder, ledger, loop, url, KEYS)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Voter]:
    with person_with(tmp_path, VotingLedger([A, B, C])) as person:
        yield person


# Looking


def test_the_validators_are_listed_in_order(mine: Voter) -> None:
    in_order = [shown(address) for address in sorted([A, B, C])]
    assert mine.json("list") == {"block": 1, "validators": in_order, "needed": 2}
    assert mine.ok("list").splitlines() == [
        *in_order,
        "3 validators; a change needs 2 votes. Each of them is needed for every block.",
    ]


def test_open_votes_are_shown_with_what_they_need(mine: Voter) -> None:
    assert mine.ok("votes") == "No vote is open.\n"
    assert mine.json("votes") == {"block": 1, "proposals": []}
    mine.others_vote((KEYS[0], "voteToAdd", CANDIDATE), (KEYS[2], "voteToRemove", B))
    to_add = {"vote": "add", "subject": shown(CANDIDATE), "voters": [shown(A)], "needed": 2, "missing": 1}
    to_remove = {"vote": "remove", "subject": shown(B), "voters": [shown(C)], "needed": 2, "missing": 1}
    answer = mine.json("votes")
    assert answer["block"] == 3
    assert sorted(answer["proposals"], key=lambda one: one["vote"]) == [to_add, to_remove]
    text = mine.ok("votes")
    assert f"Add {shown(CANDIDATE)}\n  1 of 2 votes, 1 missing\n  by {shown(A)}\n" in text
    assert f"Remove {shown(B)}\n  1 of 2 votes, 1 missing\n  by {shown(C)}\n" in text


def test_votes_that_have_become_enough_say_who_can_carry_them_out(tmp_path: Path) -> None:
    with person_with(tmp_path, VotingLedger([A, B, C, CANDIDATE])) as mine:
        to_add = [(key, "voteToAdd", STRANGER) for key in KEYS[:2]]
        mine.others_vote(*to_add, *[(key, "voteToRemove", CANDIDATE) for key in KEYS[:3]])
        assert "2 of 2 votes, enough: any validator's vote carries it out" in mine.ok("votes")
        assert mine.vote("add", STRANGER, A)["validators"] is not None
        assert set(mine.ledger.stored()) == {A, B, C, STRANGER}


def test_a_network_without_the_contract_is_said_to_have_none(tmp_path: Path) -> None:
    with person_with(tmp_path, VotingLedger([])) as mine:
        for arguments in (["list"], ["votes"], ["add", shown(CANDIDATE), "--yes", *mine.key(A)]):
            assert mine.error(*arguments).startswith("This network has no contract for validators")


# Voting


def test_a_vote_is_shown_sent_and_reported(mine: Voter) -> None:
    result = mine.run("add", shown(CANDIDATE), "--yes", *mine.key(A))
    assert result.exit_code == 0, result.output
    for line in (
        f"Vote    make {shown(CANDIDATE)} a validator",
        f"By      {shown(A)}  {mine.key(A)[1]}",
        "Now     0 of 2 votes that it needs",
        "Fee     none",
        f"Chain   {CHAIN_ID}, by the node at {mine.environment['WATTCHAIN_NODE']}",
    ):
        assert line in result.stderr.splitlines()
    assert "Then" not in result.stderr
    where, outcome = result.stdout.splitlines()
    assert where.startswith("In block 2, transaction 0x")
    assert outcome == "It has 1 of 2 votes that it needs; nothing is changed yet."
    assert set(mine.ledger.stored()) == {A, B, C}


def test_the_vote_that_decides_says_so_before_and_after(mine: Voter) -> None:
    mine.vote("add", CANDIDATE, A)
    result = mine.run("add", shown(CANDIDATE), "--yes", *mine.key(B))
    decided = "4 validators. Blocks go on being made while at most 1 of them is out of order."
    assert f"Then    it is decided: {decided}" in result.stderr.splitlines()
    assert result.stdout.splitlines()[1] == f"It is decided: {shown(CANDIDATE)} is a validator now. {decided}"
    assert set(mine.ledger.stored()) == {A, B, C, CANDIDATE}


def test_votes_to_remove_are_reported_as_json(mine: Voter) -> None:
    first = mine.vote("remove", C, C)
    assert first == {
        "transaction": first["transaction"],
        "vote": "remove",
        "subject": shown(C),
        "voter": shown(C),
        "block": 2,
        "fee_wei": "0",
        "votes": 1,
        "needed": 2,
        "validators": None,
    }
    second = mine.vote("remove", C, A)
    assert (second["votes"], second["validators"]) == (2, [shown(A), shown(B)])
    assert mine.ledger.stored() == [A, B]


def test_a_removal_is_told_in_words(mine: Voter) -> None:
    mine.vote("remove", C, A)
    result = mine.run("remove", shown(C), "--yes", *mine.key(B))
    assert f"Vote    remove the validator {shown(C)}" in result.stderr
    assert result.stdout.splitlines()[1] == (
        f"It is decided: {shown(C)} is no validator any more. 2 validators. Each of them is needed for every block."
    )


def test_a_vote_is_withdrawn(mine: Voter) -> None:
    mine.vote("add", CANDIDATE, A)
    result = mine.run("withdraw", shown(CANDIDATE), "--yes", *mine.key(A))
    assert f"Vote    withdraw the vote about {shown(CANDIDATE)}" in result.stderr
    assert "Then" not in result.stderr
    assert result.stdout.splitlines()[1] == (
        f"The vote about {shown(CANDIDATE)} is withdrawn; it has 0 of 2 votes that it needs."
    )
    assert mine.json("votes")["proposals"] == []


def test_without_waiting_nothing_is_known_of_the_outcome(mine: Voter) -> None:
    sent = mine.vote("add", CANDIDATE, A, "--wait", "0")
    assert [sent[name] for name in ("block", "fee_wei", "votes", "needed", "validators")] == [None] * 5
    assert "not in a block yet" in mine.ok("add", shown(CANDIDATE), "--yes", "--wait", "0", *mine.key(B))


def test_nothing_is_sent_without_a_yes(mine: Voter) -> None:
    assert "--yes" in mine.error("add", shown(CANDIDATE), *mine.key(A))
    assert mine.json("votes")["proposals"] == []


# What the contract refuses, in words


def test_who_is_no_validator_has_no_vote(mine: Voter) -> None:
    for command in ("add", "remove", "withdraw"):
        said = mine.refused(command, C, STRANGER)
        assert said.startswith(f"{shown(STRANGER)} is not a validator, so it has no vote.")
        assert "--key-file" in said


def test_impossible_votes_are_refused_with_their_reason(mine: Voter) -> None:
    assert mine.refused("add", B, A) == f"{shown(B)} is a validator already."
    assert mine.refused("remove", STRANGER, A) == f"{shown(STRANGER)} is not a validator, so it cannot be removed."
    assert "zeros" in mine.refused("add", bytes(20), A)
    assert mine.refused("withdraw", B, A) == f"{shown(A)} has no vote about {shown(B)} that could be withdrawn."
    mine.vote("add", CANDIDATE, A)
    assert mine.refused("add", CANDIDATE, A) == (
        f"{shown(A)} has voted for this already. It has 1 of the 2 votes that it needs; "
        "the others must come from other validators."
    )
    assert "is no address" in mine.error("add", "0x1234", *mine.key(A))
    assert "mistyped" in mine.error("add", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", *mine.key(A))


def test_limits_are_told_with_their_values(tmp_path: Path) -> None:
    others = people(MAX_VALIDATORS - 1)
    with person_with(tmp_path, VotingLedger([A, *others])) as mine:
        assert "There are 128 validators already" in mine.refused("add", CANDIDATE, A)
        mine.others_vote(*[(KEYS[0], "voteToRemove", other) for other in others[:MAX_OPEN_VOTES]])
        assert "has 16 open votes" in mine.refused("remove", others[-1], A)
        assert len(mine.json("votes")["proposals"]) == MAX_OPEN_VOTES


def test_the_last_validator_cannot_go(tmp_path: Path) -> None:
    with person_with(tmp_path, VotingLedger([A])) as mine:
        assert "nobody would be left" in mine.refused("remove", A, A)
        assert mine.ok("list").splitlines()[1] == ("1 validator; a change needs 1 vote. It is needed for every block.")


def signed_vote(key: bytes, function: str, subject: bytes) -> Transaction:
    data = VALIDATORS.abi.encode_call(function, [subject])
    return sign_transaction(Transaction(LEGACY, CHAIN_ID, 0, 0, 0, 5_000_000, VALIDATORS_ADDRESS, 0, data), key)


def test_a_vote_that_comes_too_late_is_refused_by_the_block_with_the_reason(mine: Voter) -> None:
    mine.ledger.rivals = [signed_vote(key, "voteToAdd", CANDIDATE) for key in KEYS[1:3]]
    assert mine.refused("add", CANDIDATE, A) == (
        f"It was refused in block 4; its fee is spent. {shown(CANDIDATE)} is a validator already."
    )


def test_a_vote_that_others_make_the_deciding_one_has_gas_enough(mine: Voter) -> None:
    mine.others_vote((KEYS[2], "voteToAdd", CANDIDATE))  # the first vote of all writes what later ones need not
    mine.ledger.rivals = [signed_vote(KEYS[1], "voteToRemove", C)]
    assert mine.vote("remove", C, A)["validators"] == [shown(A), shown(B)]


# Keys and fees


def test_a_key_of_the_key_folder_is_found_by_its_name(mine: Voter) -> None:
    keystore, password = mine.folder / "keystore", mine.folder / "password"
    keystore.mkdir()
    (keystore / "node.json").write_text(encrypt_key(KEYS[0], "secret", ScryptCost(2, 1, 1)))
    password.write_text("secret\n")
    password.chmod(0o600)
    add = ["add", shown(CANDIDATE), "--yes", "--password-file", str(password)]
    assert mine.json(*add)["voter"] == shown(A)
    (keystore / "other.json").write_text(encrypt_key(KEYS[1], "secret", ScryptCost(2, 1, 1)))
    assert "--from" in mine.error(*add)
    assert "not both" in mine.error(*add, "--from", "other", *mine.key(A))
    assert mine.json(*add, "--from", "other")["voter"] == shown(B)
    assert "No key for 'third'" in mine.error(*add, "--from", "third")


def test_without_any_key_both_ways_to_name_one_are_told(mine: Voter) -> None:
    said = mine.error("add", shown(CANDIDATE), "--yes")
    assert "--from" in said
    assert "--key-file" in said


@pytest.mark.parametrize("has_address", [True, False])
def test_a_locked_key_file_is_opened_with_its_password(mine: Voter, has_address: bool) -> None:
    document = json.loads(encrypt_key(KEYS[0], "secret", ScryptCost(2, 1, 1)))
    if not has_address:
        del document["address"]
    locked, password = mine.folder / "locked.json", mine.folder / "password"
    locked.write_text(json.dumps(document))
    add = ["add", shown(CANDIDATE), "--yes", "--key-file", str(locked), "--password-file", str(password)]
    password.write_text("wrong\n")
    password.chmod(0o600)
    assert "password does not open" in mine.error(*add)
    assert mine.json("votes")["proposals"] == []
    password.write_text("secret\n")
    assert mine.json(*add)["voter"] == shown(A)


@pytest.mark.parametrize("content", [b"", b"11" * 31, b"zz" * 32, b"\xff\xfe", b"{}", b"1" * 100_000])
def test_files_without_a_key_are_refused_and_not_repeated(mine: Voter, content: bytes) -> None:
    path = mine.folder / "wrong"
    path.write_bytes(content)
    result = mine.run("add", shown(CANDIDATE), "--yes", "--key-file", str(path))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert not content or content.decode("latin-1") not in result.stderr
    assert "cannot be read" in mine.error("add", shown(CANDIDATE), "--key-file", str(mine.folder / "none"))


def test_a_key_that_others_may_read_is_warned_about(mine: Voter) -> None:
    Path(mine.key(A)[1]).chmod(0o644)
    result = mine.run("add", shown(CANDIDATE), "--yes", *mine.key(A))
    assert result.exit_code == 0
    assert f"chmod 600 {mine.key(A)[1]}" in result.stderr


def test_where_there_are_fees_they_are_bounded_shown_and_paid(tmp_path: Path) -> None:
    with person_with(tmp_path, VotingLedger([A, B, C], EIP1559, {A: WATT})) as mine:
        assert "has 0 WATT; with the fee" in mine.refused("add", CANDIDATE, B)
        add = ["add", shown(CANDIDATE), "--yes", *mine.key(A)]
        assert "nothing was sent" in mine.error(*add, "--max-fee", "1gwei")
        assert "is no amount" in mine.error(*add, "--max-fee", "much")
        result = mine.run(*add, "--json")
        assert "Fee     at most 0.00" in result.stderr
        paid = int(json.loads(result.stdout)["fee_wei"])
        state = mine.ledger.view.state_at(mine.ledger.view.head().number)
        account = state.account(A)
        assert account is not None
        assert account.balance == WATT - paid < WATT


# A node that is not there, or lies


def test_a_node_that_is_not_there_is_said_plainly(mine: Voter) -> None:
    assert mine.error("list", "--node", "http://127.0.0.1:1").startswith("No node answers at http://127.0.0.1:1")


@pytest.mark.parametrize("answer", ["0x", "0x" + "ff" * 64, "0x" + "00" * 31 + "20" + "ff" * 32])
def test_a_node_that_answers_garbage_is_said_plainly(mine: Voter, answer: str) -> None:
    with serve(ToyNode(fixed_results={"eth_getCode": "0x01", "eth_call": answer})) as node:
        for command in ("list", "votes"):
            assert "gave no proper answer to validators" in mine.error(command, "--node", node.url)


def test_a_receipt_without_the_vote_is_not_believed(mine: Voter) -> None:
    with serve(ToyNode(balances={A: 0})) as node:
        results = {"eth_getCode": "0x01"}

        def answer(request: dict[str, Any]) -> tuple[int, bytes]:
            method, parameters = request["method"], request["params"]
            if method == "eth_call":
                selector = parameters[0]["data"][:10]
                if selector == "0x" + VALIDATORS.abi.function("votesNeeded").selector.hex():
                    result: object = "0x" + (2).to_bytes(32, "big").hex()
                else:
                    result = "0x" + (32).to_bytes(32, "big").hex() + bytes(32).hex()
            else:
                result = results.get(method) or node.result(method, parameters)
            return 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()

        node.answer = answer
        said = mine.error("add", shown(CANDIDATE), "--yes", "--node", node.url, *mine.key(A))
        assert "does not say what came of it" in said
        assert len(node.transactions) == 1
