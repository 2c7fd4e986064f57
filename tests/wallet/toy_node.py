"""A JSON-RPC server over a toy ledger in memory: every transaction is mined at once, nothing is executed.

For the client's behaviour and its errors alone; the wallet against a real node is tested in tests/functional.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chain.transaction import Transaction, decode_transaction, sender_or_refuse
from primitives.errors import InvalidTransaction
from primitives.hexadecimal import parse_data, to_data, to_quantity

CHAIN_ID = 4711
BLOCK_HASH = "0x" + "ab" * 32


@dataclass
class ToyNode:
    """Balances and nonces by address; `answer` may be set to answer with any bytes."""

    balances: dict[bytes, int] = field(default_factory=dict)
    base_fee: int | None = None
    gas_price: int = 0
    head: int = 7
    status: int = 1
    mines: bool = True
    transactions: list[Transaction] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], tuple[int, bytes]] | None = None
    fixed_results: dict[str, object] = field(default_factory=dict)
    url: str = ""

    def result(self, method: str, parameters: list[Any]) -> object:
        if method in self.fixed_results:
            return self.fixed_results[method]
        match method:
            case "eth_chainId":
                return to_quantity(CHAIN_ID)
            case "eth_blockNumber":
                self.head += 1
                return to_quantity(self.head)
            case "eth_getBalance":
                return to_quantity(self.balances.get(parse_data(parameters[0]), 0))
            case "eth_getTransactionCount":
                sender = parse_data(parameters[0])
                return to_quantity(sum(transaction.sender == sender for transaction in self.transactions))
            case "eth_gasPrice":
                return to_quantity(self.gas_price)
            case "eth_maxPriorityFeePerGas":
                return to_quantity(2)
            case "eth_estimateGas":
                return to_quantity(21_000)
            case "eth_getBlockByNumber":
                return self._block()
            case "eth_sendRawTransaction":
                return self._send(decode_transaction(parse_data(parameters[0])))
            case "eth_getTransactionReceipt":
                return self._receipt(parse_data(parameters[0]))
        raise LookupError(method)

    def _block(self) -> dict[str, object]:
        block = {"number": to_quantity(self.head), "hash": BLOCK_HASH, "parentHash": BLOCK_HASH}
        block |= {"timestamp": "0x1", "gasLimit": "0x1c9c380"}
        return block if self.base_fee is None else block | {"baseFeePerGas": to_quantity(self.base_fee)}

    def _send(self, transaction: Transaction) -> str:
        sender = sender_or_refuse(transaction)
        self.balances[sender] -= transaction.value
        self.balances[transaction.to or b""] = self.balances.get(transaction.to or b"", 0) + transaction.value
        self.transactions.append(transaction)
        return to_data(transaction.hash)

    def _receipt(self, transaction_hash: bytes) -> dict[str, object] | None:
        if not self.mines or transaction_hash not in [transaction.hash for transaction in self.transactions]:
            return None
        return {
            "transactionHash": to_data(transaction_hash),
            "blockNumber": to_quantity(self.head),
            "blockHash": BLOCK_HASH,
            "status": to_quantity(self.status),
            "gasUsed": to_quantity(21_000),
            "effectiveGasPrice": to_quantity(self.gas_price),
            "contractAddress": None,
            "logs": [log_json()],
        }


def log_json() -> dict[str, object]:
    return {
        "address": "0x" + "11" * 20,
        "topics": ["0x" + "22" * 32],
        "data": "0x0102",
        "blockNumber": "0x7",
        "blockHash": BLOCK_HASH,
        "transactionHash": "0x" + "33" * 32,
        "logIndex": "0x0",
        "removed": False,
    }


@contextmanager
def serve(node: ToyNode) -> Iterator[ToyNode]:
    """The node on a free port of this machine, in a thread, so that commands can be run against it as they are."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            node.requests.append(request)
            status, body = (node.answer or self.plain_answer)(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def plain_answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
            answer: dict[str, object] = {"jsonrpc": "2.0", "id": request["id"]}
            try:
                answer["result"] = node.result(request["method"], request["params"])
            except LookupError:
                answer["error"] = {"code": -32601, "message": f"the method {request['method']} does not exist"}
            except InvalidTransaction as error:
                answer["error"] = {"code": -32000, "message": str(error)}
            return 200, json.dumps(answer).encode()

        def log_message(self, *_: object) -> None:
            """Say nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        node.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield node
        finally:
            server.shutdown()
            thread.join()
