"""Headers with what proves them, for light clients (docs/light-client.md): they check every one themselves."""

from gateway import parameters
from gateway.backend import ChainView
from gateway.errors import LIMIT_EXCEEDED, InvalidParameter, RpcError
from gateway.methods.table import Json, Parameter, Table
from primitives.hexadecimal import to_data

TABLE = Table()

MAX_HEADERS = 192
"""In one answer: some 0.2 MB of hexadecimal, and with the largest certificates 3.5 MB, a third of what an answer may
have; a Pi reads so many in a fraction of a second."""


@TABLE.read("wattchain_getHeaders", Parameter("from", parameters.index), Parameter("count", parameters.count))
def get_headers(chain: ChainView, first: int, count: int) -> Json:
    """Canonical headers from block `first` on, as RLP, each with its certificate; fewer where the chain ends before."""
    if count == 0:
        raise InvalidParameter("count must be at least 1")
    if count > MAX_HEADERS:
        raise RpcError(LIMIT_EXCEEDED, f"{count} headers asked for; at most {MAX_HEADERS} are given at once")
    return [
        {"header": to_data(header.encode()), "certificate": to_data(chain.certificate(header.hash))}
        for header in chain.headers(first, first + count - 1)
    ]
