"""The one MQTT connection of a meter, shared by everything that speaks over a broker: drivers, switches, publishing.

The section [mqtt] (meter/mqtt_settings.py) says where the broker is. The connection is a Service: it connects, comes
back after any failure, subscribes anew, and says by a retained message and a last will whether the meter is there. The
library (aiomqtt) is loaded when a connection is made. What comes in is hostile: bounded in size and number, the oldest
makes room.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meter.mqtt_settings import MqttSettings, check_topic, tls_context
from meter.signer import read_secret
from primitives.clock import Clock
from primitives.errors import UserError

if TYPE_CHECKING:
    import aiomqtt

logger = logging.getLogger(__name__)

# The largest message of a meter known (Zigbee2MQTT's list of devices aside) is some 4 KiB. A broker of MQTT 5 is told
# and sends nothing larger; from an older one it is read and thrown away.
MAX_PAYLOAD_BYTES = 65_536
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + 1024
# Messages that wait for one subscriber: some seconds of the most talkative meter.
MAX_WAITING = 64
# Messages of all subscribers together between network and subscribers, which only takes one turn of the event loop.
MAX_INCOMING = 512
# Messages that wait for the broker: an hour's worth of one every 15 s. Older ones are of no use to anybody.
MAX_OUTGOING = 256
# Topics whose newest message is kept for the broker: all of Home Assistant's sensors, several times over.
MAX_HELD = 256
MAX_SUBSCRIPTIONS = 64

CONNECT_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 1.0
# Waiting doubles from the first to the greatest after each failure, spread so that a fleet does not come at once.
FIRST_DELAY_S = 1.0
GREATEST_DELAY_S = 60.0
# A connection that lasted this long was a good one: the next failure waits from FIRST_DELAY_S again.
SETTLED_AFTER_S = 30.0

MQTT_PASSWORD = "mqtt-password"
"""The credential of systemd that holds the broker's password, where the service is given one."""
ONLINE, OFFLINE = b"online", b"offline"


class MqttTrouble(Exception):
    """The broker cannot be reached now, or did not confirm; says what to look at."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message. `is_retained`: the broker kept it from earlier; it is not what the device says now."""

    topic: str
    payload: bytes
    is_retained: bool
    elapsed_ms: int
    """When it came, by the clock's `elapsed_ms`."""


class Subscription:
    """The messages of one or more topic filters, as a queue of bounded length whose oldest make room."""

    def __init__(self, topic_filters: tuple[str, ...], forget: Callable[["Subscription"], None]) -> None:
        self.topic_filters = topic_filters
        self.dropped = 0
        """Messages thrown away because they were too large or nobody took them."""
        self._forget = forget
        self._waiting: deque[Received] = deque()
        self._something = asyncio.Event()

    async def next(self) -> Received:
        """The oldest message that waits, or the next to come."""
        while not self._waiting:
            self._something.clear()
            await self._something.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        self._forget(self)

    def put(self, message: Received) -> None:
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            self.dropped += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(message)
        self._something.set()


class MqttConnection:
    """One connection to one broker, for as long as `run` runs. All of it belongs to one event loop."""

    def __init__(
        self, settings: MqttSettings, name: str, clock: Clock, randomness: random.Random | None = None
    ) -> None:
        """`name` is one word that no other meter at this broker has: its address. Raises UserError."""
        load_library()
        self.settings = settings
        self.name = name
        self.base_topic = f"{settings.base_topic}/{name}"
        self.availability_topic = f"{self.base_topic}/availability"
        self.dropped = 0
        """Messages that were to be published and made room for newer ones."""
        self._password = None
        if settings.username:
            self._password = read_secret(MQTT_PASSWORD, settings.password_file, "Password of the MQTT broker")
        self._tls = tls_context(settings)
        self._clock = clock
        self._randomness = randomness or random.Random()
        self._subscriptions: list[Subscription] = []
        self._outgoing: deque[tuple[str, bytes, bool]] = deque()
        self._held: dict[str, bytes] = {}
        self._held_unsent: dict[str, None] = {}
        self._something_to_do = asyncio.Event()
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._unasked: list[str] = []
        self._trouble = "no connection was tried yet"

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    def state(self) -> str:
        """For messages to people."""
        if self._client is not None:
            return f"the broker at {self.settings.place} is connected"
        return f"the broker at {self.settings.place} is not connected: {self._trouble}"

    async def wait_connected(self) -> None:
        await self._connected.wait()

    def subscribe(self, *topic_filters: str) -> Subscription:
        """Messages from now on, through any number of connections; works without one as well. Raises UserError."""
        for topic_filter in topic_filters:
            check_topic(topic_filter, "a topic to subscribe to", wildcards=True)
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise UserError(f"more than {MAX_SUBSCRIPTIONS} MQTT topics are subscribed to: use wildcards in the topics")
        subscription = Subscription(topic_filters, self._forget)
        self._subscriptions.append(subscription)
        self._unasked.extend(topic_filters)
        self._something_to_do.set()
        return subscription

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Put a message behind those that wait for the broker; where too many do, the oldest is thrown away."""
        if len(self._outgoing) >= MAX_OUTGOING:
            self._outgoing.popleft()
            self.dropped += 1
        self._outgoing.append((topic, payload, retain))
        self._something_to_do.set()

    def hold(self, topic: str, payload: bytes) -> None:
        """Keep a retained message at the broker: sent now and after each new connection, until another takes its place.

        An empty payload takes it away. Raises ValueError beyond MAX_HELD topics.
        """
        if topic not in self._held and len(self._held) >= MAX_HELD:
            raise ValueError(f"more than {MAX_HELD} topics are held")
        self._held[topic] = payload
        self._held_unsent[topic] = None
        self._something_to_do.set()

    async def send(self, topic: str, payload: bytes, timeout_s: float = 5.0) -> None:
        """Publish now or never, and wait until the broker confirms it. Raises MqttTrouble.

        For orders: what would reach a switch an hour late must not reach it at all.
        """
        client = self._client
        if client is None:
            raise MqttTrouble(self.state())
        try:
            publishing = client.publish(topic, payload, qos=1, timeout=timeout_s)
            await _until_one_ends(publishing, self._raise_when_lost())
        except load_library().MqttError as error:
            raise MqttTrouble(f"the broker at {self.settings.place} did not confirm a message: {error}") from error

    async def run(self) -> None:
        """Hold the connection until cancelled; then say goodbye."""
        library = load_library()
        failures = 0
        while True:
            began_ms = self._clock.elapsed_ms()
            try:
                await self._hold_connection()
            except library.MqttError as error:
                _raise_if_cancelled()  # the goodbye failed: that must not keep it here
                failures = 1 if self._clock.elapsed_ms() - began_ms > SETTLED_AFTER_S * 1000 else failures + 1
                self._note_trouble(error)
            await self._clock.sleep_s(self._delay_s(failures))

    async def _hold_connection(self) -> None:
        async with self._make_client() as client:
            try:
                await client.publish(self.availability_topic, ONLINE, qos=1, retain=True)
                self._unasked = [topic_filter for one in self._subscriptions for topic_filter in one.topic_filters]
                self._held_unsent = dict.fromkeys(self._held)
                self._something_to_do.set()
                self._client, self._trouble = client, ""
                self._connected.set()
                self._lost.clear()
                logger.info("connected to the MQTT broker at %s", self.settings.place)
                _raise_if_cancelled()
                await _until_one_ends(self._receive(client), self._work(client))
            except asyncio.CancelledError:
                # A will is for those who vanish; who leaves says so, and does not wait long for a broker that hangs.
                client.timeout = GOODBYE_TIMEOUT_S
                with contextlib.suppress(load_library().MqttError):
                    await client.publish(self.availability_topic, OFFLINE, qos=1, retain=True)
                raise
            finally:
                self._client = None
                self._connected.clear()
                self._lost.set()
                _look_at_end(client)

    async def _receive(self, client: "aiomqtt.Client") -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            received = Received(message.topic.value, payload, message.retain, self._clock.elapsed_ms())
            for subscription in self._subscriptions:
                if any(message.topic.matches(topic_filter) for topic_filter in subscription.topic_filters):
                    subscription.put(received)

    async def _work(self, client: "aiomqtt.Client") -> None:
        """Subscribe and publish what there is, as long as the connection stands."""
        while True:
            await self._something_to_do.wait()
            self._something_to_do.clear()
            while self._unasked:
                await self._ask_for(client, self._unasked.pop())
            while self._held_unsent:
                topic = next(iter(self._held_unsent))
                del self._held_unsent[topic]
                await client.publish(topic, self._held[topic], qos=1, retain=True)
            while self._outgoing:
                entry = topic, payload, retain = self._outgoing[0]
                await client.publish(topic, payload, qos=1, retain=retain)
                if self._outgoing and self._outgoing[0] is entry:  # else it made room meanwhile
                    self._outgoing.popleft()

    async def _ask_for(self, client: "aiomqtt.Client", topic_filter: str) -> None:
        codes = await client.subscribe(topic_filter, qos=1)
        for code in codes:
            if (code if isinstance(code, int) else code.value) >= 128:
                logger.error(
                    "the MQTT broker at %s refuses the topic %s (%s): allow the user %r to read it",
                    self.settings.place,
                    topic_filter,
                    code,
                    self.settings.username,
                )

    async def _raise_when_lost(self) -> None:
        await self._lost.wait()
        raise load_library().MqttError("the connection was lost")

    def _forget(self, subscription: Subscription) -> None:
        """The broker goes on sending what nobody takes, until the next connection: rare, and it costs little."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _make_client(self) -> "aiomqtt.Client":
        import aiomqtt as library

        settings = self.settings
        host, port = settings.place.rsplit(":", 1)
        return library.Client(
            host,
            int(port),
            username=settings.username or None,
            password=self._password,
            identifier=settings.client_id or f"wattchain-{self.name}"[:60],
            protocol=library.ProtocolVersion.V5 if settings.protocol == "5" else library.ProtocolVersion.V311,
            will=library.Will(self.availability_topic, OFFLINE, 1, True),
            timeout=CONNECT_TIMEOUT_S,
            keepalive=settings.keepalive_s,
            max_queued_incoming_messages=MAX_INCOMING,
            max_queued_outgoing_messages=MAX_OUTGOING,
            properties=_connect_properties() if settings.protocol == "5" else None,
            tls_context=self._tls,
        )

    def _note_trouble(self, error: BaseException) -> None:
        trouble = f"{error}".strip() or type(error).__name__
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning(
                "no connection to the MQTT broker at %s (%s): check [mqtt] host, port, user and protocol; trying again",
                self.settings.place,
                trouble,
            )

    def _delay_s(self, failures: int) -> float:
        greatest_s = min(GREATEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
        return self._randomness.uniform(greatest_s / 2, greatest_s)


def load_library() -> Any:
    """The module aiomqtt. Raises UserError where it is not installed."""
    try:
        import aiomqtt
    except ModuleNotFoundError as error:
        raise UserError(f'MQTT needs the library {error.name}: pip install "wattchain[mqtt]"') from error
    # What goes wrong is told here, once; the library would say it again with each attempt.
    logging.getLogger("mqtt").setLevel(logging.CRITICAL)
    return aiomqtt


def _connect_properties() -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    return properties


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run them together; the first that ends takes the others along, and its failure is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            # More than once, for the reason told below.
            await asyncio.wait(pending, timeout=0.1)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody reports it as forgotten
    for task in done:
        task.result()


def _look_at_end(client: "aiomqtt.Client") -> None:
    """Of why the connection ended the library tells one waiter only; the loop would log it where that one is gone."""
    ended = getattr(client, "_disconnected", None)
    if isinstance(ended, asyncio.Future) and ended.done() and not ended.cancelled():
        ended.exception()


def _raise_if_cancelled() -> None:
    """asyncio.wait_for of Python 3.11, which aiomqtt uses, forgets a cancellation that comes together with a result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
