"""JSON-RPC over HTTP: one POST, one answer. Sockets, hosts, origins and sizes are dealt with here and nowhere else.

The gateway holds no keys, but whoever reaches it reads the ledger and can keep the node busy; so it listens on this
machine alone unless told otherwise, answers only to host names it knows (a web page whose name is made to point here,
DNS rebinding, is refused), and lets browsers in only from origins that the owner named.
"""

import asyncio
import errno
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.backend import Backend
from gateway.caller import Caller, identify
from gateway.context import Context, WorkLimits
from gateway.dispatcher import Dispatcher, encode_error
from gateway.errors import INVALID_REQUEST, LIMIT_EXCEEDED, PARSE_ERROR, RpcError
from primitives.errors import UserError

MAX_BODY_BYTES = 2 * 1024 * 1024
"""One request: a dozen of the largest transactions the pool takes. With all others, 64 MB of a Pi's memory."""
MAX_CONCURRENT_REQUESTS = 32
"""Being answered at a time; the reader threads are four, so more would only wait longer."""
TURN_TIME_LIMIT_S = 10.0
"""So long the others wait for their turn, one a connection: the meters of a village all sign with the same minute."""
MAX_CONNECTIONS = 512
"""Open at a time, idle ones included: two of each of 250 meters. Each costs a file descriptor, of which a process has
1,024."""
READ_BUFFER_BYTES = 8 * 1024
"""Of a body that nobody reads yet, twice as much is taken from the wire: 8 MB for all connections."""
BODY_TIME_LIMIT_S = 10.0
"""From the request's head to the end of its body: a client that drips bytes must not keep a place."""
KEEP_ALIVE_S = 75.0
SHUTDOWN_GRACE_S = 5.0
"""For answers that are on their way when the gateway closes."""
PREFLIGHT_AGE_S = 600
"""How long a browser may remember that its origin is allowed."""

_LOCAL_NAMES = frozenset({"localhost"})
_CONTENT_TYPES = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the gateway listens and whom it answers."""

    host: str = "127.0.0.1"
    port: int = 8545
    """0 takes any free port; see Gateway.port."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, besides localhost and bare IP addresses, by which it may be called; "*" allows all."""
    cors_origins: tuple[str, ...] = ()
    """Origins such as https://app.example whose pages may call it; "*" allows all."""
    limits: WorkLimits = field(default_factory=WorkLimits)
    answers_operator: bool = True
    """Answer admin_* to programs on this computer."""


class Gateway:
    """The server. `async with Gateway(backend, settings)` listens until the end of the block."""

    def __init__(self, backend: Backend, settings: GatewaySettings | None = None) -> None:
        self.settings = settings or GatewaySettings()
        self._backend = backend
        self._allowed_hosts = _LOCAL_NAMES | {name.lower() for name in self.settings.allowed_hosts}
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._server: asyncio.Server | None = None
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the gateway is not listening")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        host = self.settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Raises UserError where it cannot listen there."""
        async with AsyncExitStack() as stack:
            context = Context(self._backend, self.settings.limits)
            stack.callback(context.close)
            runner = _runner(self._handle, Dispatcher(context))
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            self._server = await self._listen(runner)
            stack.callback(self._server.close)
            self._stack = stack.pop_all()
        _log.info("JSON-RPC at %s", self.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._server = None

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        host, port = self.settings.host, self.settings.port
        if not host:
            # The system would take it for all addresses, which nobody means who leaves a setting empty.
            raise UserError("The setting rpc.host is empty. 127.0.0.1 is this computer alone, 0.0.0.0 the network.")
        try:
            return await asyncio.get_running_loop().create_server(lambda: _connection(runner), host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"The gateway cannot listen on {host} port {port}: it is taken, perhaps by another node. "
                    "Choose another port with --rpc-port, or as rpc.port in the settings."
                ) from error
            raise UserError(
                f"The gateway cannot listen on {host} port {port}: {error.strerror}. "
                "Correct rpc.host or rpc.port in the settings."
            ) from error

    async def _handle(self, dispatcher: Dispatcher, request: web.Request) -> web.Response:
        if not self._is_allowed_host(request.headers.get("Host", "")):
            return web.Response(status=403, text="This host name is not allowed; add it to rpc.allowed_hosts.\n")
        headers = self._cors_headers(request)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=headers)
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST, OPTIONS"}, text="JSON-RPC takes POST requests.\n")
        # A browser sends this type to a foreign origin only after asking (a preflight): without it, any page could.
        if request.content_type not in _CONTENT_TYPES or "Content-Encoding" in request.headers:
            return web.Response(status=415, text="The body must be uncompressed, its type application/json.\n")
        try:
            async with asyncio.timeout(TURN_TIME_LIMIT_S):
                await self._turns.acquire()
        except TimeoutError:
            return _error(429, RpcError(LIMIT_EXCEEDED, "too many requests at a time; try again later"), headers)
        try:
            return await self._answer(request, dispatcher, headers)
        finally:
            self._turns.release()

    async def _answer(self, request: web.Request, dispatcher: Dispatcher, headers: dict[str, str]) -> web.Response:
        try:
            async with asyncio.timeout(BODY_TIME_LIMIT_S):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            error = RpcError(INVALID_REQUEST, f"request too large: at most {MAX_BODY_BYTES} bytes")
            return _error(413, error, headers)
        except TimeoutError:
            return _error(408, RpcError(PARSE_ERROR, "the request did not arrive in time"), headers)
        caller = identify(request) if self.settings.answers_operator else Caller.ANYBODY
        answer = await dispatcher.answer(body, caller)
        if answer is None:
            return web.Response(status=204, headers=headers)
        return web.Response(body=answer, content_type="application/json", headers=headers)

    def _is_allowed_host(self, header: str) -> bool:
        """A bare address was not looked up in the DNS, so nobody can have made it point here."""
        if "*" in self._allowed_hosts:
            return True
        name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        name = name.strip("[]").lower()
        if name in self._allowed_hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _cors_headers(self, request: web.Request) -> dict[str, str]:
        """What lets a page of an allowed origin read the answer; nothing for all others."""
        origin = request.headers.get("Origin")
        allowed = self.settings.cors_origins
        if origin is None or ("*" not in allowed and origin not in allowed):
            return {}
        return {
            "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
            "Vary": "Origin",
        }


class _Refusal(asyncio.Protocol):
    """Hangs up at once: there are enough connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _runner(
    handle: Callable[[Dispatcher, web.Request], Awaitable[web.StreamResponse]], dispatcher: Dispatcher
) -> web.AppRunner:
    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_route("*", "/", partial(handle, dispatcher))
    # Compressed bodies are not taken: what counts against the limit is what is read.
    return web.AppRunner(
        application,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE_S,
        read_bufsize=READ_BUFFER_BYTES,
        shutdown_timeout=SHUTDOWN_GRACE_S,
    )


def _connection(runner: web.AppRunner) -> asyncio.BaseProtocol:
    server = runner.server
    if server is None or len(server.connections) >= MAX_CONNECTIONS:
        return _Refusal()
    return server()


def _error(status: int, error: RpcError, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=encode_error(None, error), content_type="application/json", headers=headers)
