"""Errors as JSON-RPC 2.0 answers them: a code, a sentence, and sometimes data.

Codes and the beginning of the sentences are those of geth, since wallets and libraries recognise them; after the colon
stands what this node has to say.
"""

from chain import validity
from primitives.errors import Invalid, InvalidTransaction
from primitives.hexadecimal import to_data
from primitives.revert_reason import revert_reason

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMETERS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
TIMEOUT = -32002
RESPONSE_TOO_LARGE = -32003
LIMIT_EXCEEDED = -32005
EXECUTION_REVERTED = 3
PRUNED_HISTORY = 4444
"""As geth since EIP-4444."""


class RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class InvalidParameter(Invalid):
    """A parameter of a method does not have the form it must have."""


def reverted(output: bytes) -> RpcError:
    """The answer to a call that reverted: the reason in words where there is one, the data as it is."""
    reason = revert_reason(output)
    message = "execution reverted" if reason is None else f"execution reverted: {reason}"
    return RpcError(EXECUTION_REVERTED, message, to_data(output))


def pruned(number: int) -> RpcError:
    """The answer where a block's header alone is kept."""
    return RpcError(
        PRUNED_HISTORY,
        f"pruned history unavailable: this node began with a later state and does not have what is in block {number}",
    )


def refused(error: Invalid) -> RpcError:
    """The answer to what the ledger refuses."""
    if isinstance(error, InvalidParameter):
        return RpcError(INVALID_PARAMETERS, str(error))
    if isinstance(error, InvalidTransaction):
        wording = _WORDINGS.get(type(error), "")
        # The pool's sentences begin with these words already.
        if not str(error).startswith(wording):
            return RpcError(SERVER_ERROR, f"{wording}: {error}")
    return RpcError(SERVER_ERROR, str(error))


_WORDINGS: dict[type[InvalidTransaction], str] = {
    validity.NonceTooLow: "nonce too low",
    validity.NonceTooHigh: "nonce too high",
    validity.NonceIsMax: "nonce has max value",
    validity.SenderHasCode: "sender not an eoa",
    validity.InsufficientFunds: "insufficient funds for gas * price + value",
    validity.IntrinsicGasTooLow: "intrinsic gas too low",
    validity.InitCodeTooLong: "max initcode size exceeded",
    validity.GasLimitExceeded: "exceeds block gas limit",
    validity.FeeBelowBaseFee: "max fee per gas less than block base fee",
    validity.PriorityFeeAboveMaxFee: "max priority fee per gas higher than max fee per gas",
}
