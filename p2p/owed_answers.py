"""What one peer was asked for and owes us: how large an answer may be, and whether there may be one at all.

An answer that nobody asked for is refused at its first frame, before any of it is kept. One that comes after its
request was given up is still let through, and dropped: the network was slow, nobody broke a rule.
"""

from chain.block import MAX_BLOCK_BYTES
from chain.pool.admission import MAX_TRANSACTION_BYTES
from p2p import limits
from p2p.messages import (
    Bodies,
    Codes,
    Consensus,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetPeers,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Headers,
    Message,
    Peers,
    Receipts,
    StatePieces,
    Transactions,
    code_of,
    max_payload_bytes,
)

Request = GetPeers | GetTransactions | GetHeaders | GetBodies | GetReceipts | GetStatePieces | GetCodes
Answer = Peers | Transactions | Headers | Bodies | Receipts | StatePieces | Codes

ANSWER_TO: dict[type[Request], type[Answer]] = {
    GetPeers: Peers,
    GetTransactions: Transactions,
    GetHeaders: Headers,
    GetBodies: Bodies,
    GetReceipts: Receipts,
    GetStatePieces: StatePieces,
    GetCodes: Codes,
}
_ANSWER_CODES = {code_of(kind) for kind in ANSWER_TO.values()}
_CONSENSUS_CODE = code_of(Consensus)
_ITEM_ENVELOPE_BYTES = 16


class OwedAnswers:
    """The requests to one peer that are not answered yet. Its `max_bytes` is what a connection asks."""

    def __init__(self) -> None:
        self.consensus_limit_bytes = 0
        """The largest message of the consensus that the peer may send; 0 while it is no business of this node."""
        self._owed: dict[int, tuple[type[Answer], int]] = {}
        """By request id: the kind of answer, and its largest payload."""

    def __len__(self) -> int:
        return len(self._owed)

    def add(self, request: Request) -> None:
        self._owed[request.request_id] = (ANSWER_TO[type(request)], largest_answer_bytes(request))

    def settle(self, answer: Answer) -> bool:
        """The peer has paid. False where it did not owe this."""
        owed = self._owed.get(answer.request_id)
        if owed is None or owed[0] is not type(answer):
            return False
        del self._owed[answer.request_id]
        return True

    def max_bytes(self, code: int) -> int | None:
        """The largest payload that the peer may send with this code now; None for an unknown code."""
        if code == _CONSENSUS_CODE:
            return limits.ENVELOPE_BYTES + self.consensus_limit_bytes if self.consensus_limit_bytes else 0
        if code not in _ANSWER_CODES:
            return max_payload_bytes(code)
        owed = [size for kind, size in self._owed.values() if code_of(kind) == code]
        # Without a request an empty answer still fits: it costs nothing, and is counted as unsolicited.
        return max(owed, default=limits.ENVELOPE_BYTES)


def largest_answer_bytes(request: Request) -> int:
    """The largest payload of an answer that keeps to the request and to what its type allows."""
    allowed = max_payload_bytes(code_of(ANSWER_TO[type(request)])) or 0
    if isinstance(request, GetTransactions):
        items = len(request.hashes) * (MAX_TRANSACTION_BYTES + _ITEM_ENVELOPE_BYTES)
    elif isinstance(request, GetHeaders):
        items = request.count * (limits.MAX_HEADER_BYTES + limits.MAX_CERTIFICATE_BYTES + _ITEM_ENVELOPE_BYTES)
    elif isinstance(request, GetBodies):
        items = len(request.block_hashes) * (MAX_BLOCK_BYTES + _ITEM_ENVELOPE_BYTES)
    elif isinstance(request, GetReceipts):
        items = len(request.block_hashes) * (limits.MAX_RECEIPTS_BYTES + _ITEM_ENVELOPE_BYTES)
    elif isinstance(request, GetStatePieces):
        items = len(request.places) * (limits.MAX_STATE_PIECE_BYTES + _ITEM_ENVELOPE_BYTES)
    elif isinstance(request, GetCodes):
        items = len(request.code_hashes) * (limits.MAX_SENT_CODE_BYTES + _ITEM_ENVELOPE_BYTES)
    else:
        items = allowed
    return min(allowed, limits.ENVELOPE_BYTES + items)


def is_answer(message: Message) -> bool:
    return isinstance(message, Answer)
