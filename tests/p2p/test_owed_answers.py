"""How large an answer may be, and whether there may be one at all."""

from p2p.messages import GetBodies, GetHeaders, GetTransactions, Headers, Ping, Transactions, code_of, max_payload_bytes
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


def test_the_largest_answers_are_those_of_the_table() -> None:
    hashes = (bytes(32),) * 128
    for request, code in (
        (GetTransactions(1, hashes), 0x12),
        (GetHeaders(1, 0, 192, 0, False), 0x23),
        (GetBodies(1, hashes), 0x25),
    ):
        allowed = max_payload_bytes(code)
        assert allowed is not None
        assert allowed - 1_024 <= largest_answer_bytes(request) <= allowed
