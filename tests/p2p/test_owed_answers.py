"""How large an answer may be, and whether there may be one at all."""

from p2p.limits import MAX_CONSENSUS_MESSAGE_BYTES
from p2p.messages import (
    Consensus,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Headers,
    Ping,
    StatePlace,
    Transactions,
    code_of,
    max_payload_bytes,
)
from p2p.owed_answers import OwedAnswers, largest_answer_bytes


def test_an_answer_may_be_as_large_as_its_request_allows() -> None:
    owed = OwedAnswers()
    headers = code_of(Headers)
    assert owed.max_bytes(headers) == 1_024
    assert owed.max_bytes(code_of(Ping)) == max_payload_bytes(code_of(Ping))
    assert owed.max_bytes(0xEE) is None
    request = GetHeaders(1, 0, 2, 0, False)
    owed.add(request)
    assert owed.max_bytes(headers) == largest_answer_bytes(request)
    assert not owed.settle(Headers(2, ()))
    assert not owed.settle(Transactions(1, ()))
    assert owed.settle(Headers(1, ()))
    assert owed.max_bytes(headers) == 1_024


def test_messages_of_the_consensus_are_as_large_as_the_node_says() -> None:
    owed = OwedAnswers()
    code = code_of(Consensus)
    assert owed.max_bytes(code) == 0
    owed.consensus_limit_bytes = 64 * 1024
    assert owed.max_bytes(code) == 65 * 1024
    owed.consensus_limit_bytes = MAX_CONSENSUS_MESSAGE_BYTES
    assert owed.max_bytes(code) == max_payload_bytes(code)


def test_the_largest_answers_are_those_of_the_table() -> None:
    hashes = (bytes(32),) * 128
    for request, code in (
        (GetTransactions(1, hashes), 0x12),
        (GetHeaders(1, 0, 192, 0, False), 0x23),
        (GetBodies(1, hashes), 0x25),
        (GetReceipts(1, hashes[:16]), 0x27),
        (GetStatePieces(1, bytes(32), (StatePlace(b"", b""),) * 64), 0x29),
        (GetCodes(1, hashes[:64]), 0x2B),
    ):
        allowed = max_payload_bytes(code)
        assert allowed is not None
        assert allowed - 1_024 <= largest_answer_bytes(request) <= allowed
