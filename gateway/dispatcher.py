"""JSON-RPC 2.0 without a transport: bytes of a request in, bytes of the answer out, single or batch.

Whatever comes in, something sensible goes out: a wrong request is the client's fault and gets a code and a sentence; a
bug of ours gets "internal error" and a loud line in the log, never a traceback on the wire.
"""

import asyncio
import json
import logging
from collections.abc import Mapping

from gateway.caller import Caller
from gateway.context import Context
from gateway.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMETERS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
    TIMEOUT,
    RpcError,
    refused,
)
from gateway.methods.all import METHODS
from gateway.methods.table import Json, Method, Place, Table
from primitives.errors import Invalid, UserError
from primitives.json_text import InvalidJson, parse_json

MAX_BATCH_LENGTH = 1_000
"""Requests in one batch, as in geth."""
MAX_RESPONSE_BYTES = 10 * 1024 * 1024
"""One answer, of a batch in all: fits what the wallet's client takes, and three fit a Pi's memory beside the node."""
BATCH_TIME_LIMIT_S = 25.0
"""After that the rest of a batch is not begun: clients give up after 30 s."""

_log = logging.getLogger(__name__)

RequestId = str | int | float | None


class Dispatcher:
    """Answers requests by a table of methods."""

    def __init__(self, context: Context, methods: Table = METHODS) -> None:
        self._context = context
        self._methods = methods

    async def answer(self, body: bytes, caller: Caller = Caller.ANYBODY) -> bytes | None:
        """The answer to one request or batch; None where none is due, since all of it are notifications."""
        try:
            request = parse_json(body)
        except InvalidJson:
            return encode_error(None, RpcError(PARSE_ERROR, "parse error: the body is not JSON"))
        if not isinstance(request, list):
            return await self._answer_one(request, MAX_RESPONSE_BYTES, caller)
        if not request:
            return encode_error(None, RpcError(INVALID_REQUEST, "empty batch"))
        if len(request) > MAX_BATCH_LENGTH:
            message = f"batch too large: {len(request)} requests, at most {MAX_BATCH_LENGTH}"
            return encode_error(None, RpcError(INVALID_REQUEST, message))
        return await self._answer_batch(request, caller)

    async def _answer_batch(self, requests: list[object], caller: Caller) -> bytes | None:
        """One after another, in order: what a request sends, the next one finds."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + BATCH_TIME_LIMIT_S
        answers: list[bytes] = []
        room = MAX_RESPONSE_BYTES
        for request in requests:
            if loop.time() > deadline_s:
                answer = _refuse(request, RpcError(TIMEOUT, "request timed out: the batch takes too long"))
            elif room <= 0:
                answer = _refuse(request, RpcError(RESPONSE_TOO_LARGE, "response too large"))
            else:
                answer = await self._answer_one(request, room, caller)
            if answer is not None:
                answers.append(answer)
                room -= len(answer)
        return b"[" + b",".join(answers) + b"]" if answers else None

    async def _answer_one(self, request: object, room: int, caller: Caller) -> bytes | None:
        try:
            name, values = _check(request)
            method = self._methods.get(name)
            if method is None:
                raise RpcError(METHOD_NOT_FOUND, f"the method {name[:80]} does not exist/is not available")
            if method.is_for_operator and caller is not Caller.OPERATOR:
                message = f"the method {name} is not available here: only programs on the node's own computer may ask"
                raise RpcError(METHOD_NOT_FOUND, message)
            result = await self._run(method, values)
            answer = _encode({"jsonrpc": "2.0", "id": _request_id(request), "result": result})
            if len(answer) > room:
                raise RpcError(RESPONSE_TOO_LARGE, f"response too large: {len(answer)} bytes")
        except RpcError as error:
            return _refuse(request, error)
        except Invalid as error:
            return _refuse(request, refused(error))
        except UserError as error:
            # What only the node's owner can put right, such as a full disk: a sentence in the log, not a bug.
            _log.error("%.80s could not be answered: %s", name, error)
            return _refuse(request, RpcError(INTERNAL_ERROR, "the node is in trouble; its log says why"))
        except Exception:  # noqa: BLE001 - the one place where bugs in answering end
            # Whatever else is raised is a bug: loud here, without details there, and the gateway goes on.
            _log.exception("a bug in answering %.2000r", request)
            return _refuse(request, RpcError(INTERNAL_ERROR, "internal error"))
        return None if _is_notification(request) else answer

    async def _run(self, method: Method, values: list[object]) -> Json:
        arguments = method.parse(values)
        function = method.function
        result: Json
        if method.place is Place.LOOP:
            result = await function(self._context, *arguments)
        elif method.place is Place.READER:
            result = await self._context.read(lambda chain: function(chain, *arguments))
        else:
            result = await self._context.simulate(lambda chain, frame: function(chain, frame, *arguments))
        return result


def encode_error(request_id: RequestId, error: RpcError) -> bytes:
    """An answer that is an error."""
    content: dict[str, Json] = {"code": error.code, "message": error.message}
    if error.data is not None:
        content["data"] = error.data
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": content})


def _encode(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check(request: object) -> tuple[str, list[object]]:
    """Name and parameters of a request. Raises RpcError."""
    if not isinstance(request, Mapping):
        raise RpcError(INVALID_REQUEST, "invalid request: not an object")
    if request.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'invalid request: the member jsonrpc must be "2.0"')
    if "id" in request and not _is_id(request["id"]):
        raise RpcError(INVALID_REQUEST, "invalid request: the id must be text, a number or null")
    name, values = request.get("method"), request.get("params")
    if not isinstance(name, str):
        raise RpcError(INVALID_REQUEST, "invalid request: the method must be text")
    if values is None:
        return name, []
    if not isinstance(values, list):
        raise RpcError(INVALID_PARAMETERS, "non-array args: the parameters must be an array")
    return name, values


def _refuse(request: object, error: RpcError) -> bytes | None:
    """The error as the answer to this request; none where it is a notification."""
    if _is_notification(request) and error.code != INVALID_REQUEST:
        return None
    return encode_error(_request_id(request), error)


def _is_notification(request: object) -> bool:
    return isinstance(request, Mapping) and "id" not in request


def _request_id(request: object) -> RequestId:
    """The id to answer with; null where there is none that may be repeated."""
    request_id = request.get("id") if isinstance(request, Mapping) else None
    return request_id if _is_id(request_id) else None


def _is_id(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
