"""What a node answers its operator (gateway/methods/admin.py), checked before it is shown.

A node that is asked may be anybody's, and what peers say of themselves comes from strangers: no control characters
reach the terminal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wallet.client import InvalidAnswer

MAX_PEERS = 1_024
"""More than a node can be connected with."""
MAX_TEXT_CHARACTERS = 512
MAX_PROTOCOLS = 16
"""More than a node speaks."""
MAX_VALIDATORS_SHOWN = 1_024


class Members:
    """The members of a JSON object in an answer. Every method raises InvalidAnswer for one of another kind."""

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidAnswer(f"the node's answer is malformed: {name} is no object")
        self._value = value
        self._name = name

    def text(self, name: str) -> str:
        value = self._value.get(name)
        if not isinstance(value, str):
            raise self._malformed(name)
        shown = "".join(character if character.isprintable() else "?" for character in value)
        return shown[:MAX_TEXT_CHARACTERS]

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        value = self._value.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._malformed(name)
        return tuple([Members({name: entry}, self._name).text(name) for entry in value])

    def number(self, name: str) -> int:
        value = self._value.get(name)
        if type(value) is not int or not 0 <= value < 2**63:
            raise self._malformed(name)
        return value

    def large_number(self, name: str) -> int | None:
        """A total difficulty, or null where it is not known."""
        value = self._value.get(name)
        if value is not None and (type(value) is not int or not 0 <= value < 2**256):
            raise self._malformed(name)
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.is_null(name) else self.text(name)

    def optional_number(self, name: str) -> int | None:
        return None if self.is_null(name) else self.number(name)

    def is_true(self, name: str) -> bool:
        value = self._value.get(name)
        if not isinstance(value, bool):
            raise self._malformed(name)
        return value

    def members(self, name: str) -> "Members":
        return Members(self._value.get(name), name)

    def is_null(self, name: str) -> bool:
        return self._value.get(name) is None

    def _malformed(self, name: str) -> InvalidAnswer:
        return InvalidAnswer(f"the node's answer is malformed: {self._name}.{name}")


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a node that catches up, in block numbers."""

    current_block: int
    highest_block: int

    @classmethod
    def of(cls, progress: Members) -> "Progress":
        """Raises InvalidAnswer."""
        return cls(progress.number("currentBlock"), progress.number("highestBlock"))


@dataclass(frozen=True, slots=True)
class NodePage:
    """What `wattchain status` shows, and with --json as it is."""

    version: str
    node_id: str
    url: str
    chain_id: int
    network: str
    genesis_hash: str
    consensus: str
    block_time_s: int
    empty_block_period_s: int | None
    """None where each miner has its own."""
    head_number: int
    head_hash: str
    head_time_s: int
    head_age_s: int
    final_number: int
    validators: tuple[str, ...]
    is_validator: bool
    is_validating: bool
    round: int
    """Of the validators, for the next block."""
    is_listening: bool
    peer_count: int
    sync: Progress | None
    pending: int
    queued: int
    is_mining: bool
    hashes_per_second: int
    coinbase: str | None
    uptime_s: int

    @classmethod
    def from_json(cls, answer: object) -> "NodePage":
        """Raises InvalidAnswer."""
        page = Members(answer, "wattchain_status")
        head, pool = page.members("head"), page.members("pool")
        return cls(
            version=page.text("version"),
            node_id=page.text("nodeId"),
            url=page.text("url"),
            chain_id=page.number("chainId"),
            network=page.text("network"),
            genesis_hash=page.text("genesisHash"),
            consensus=page.text("consensus"),
            block_time_s=page.number("blockTimeSeconds"),
            empty_block_period_s=page.optional_number("emptyBlockPeriodSeconds"),
            head_number=head.number("number"),
            head_hash=head.text("hash"),
            head_time_s=head.number("timestamp"),
            head_age_s=head.number("ageSeconds"),
            final_number=page.number("finalized"),
            validators=page.texts("validators", MAX_VALIDATORS_SHOWN),
            is_validator=page.is_true("isValidator"),
            is_validating=page.is_true("isValidating"),
            round=page.number("round"),
            is_listening=page.is_true("listening"),
            peer_count=page.number("peers"),
            sync=None if page.is_null("sync") else Progress.of(page.members("sync")),
            pending=pool.number("pending"),
            queued=pool.number("queued"),
            is_mining=page.is_true("mining"),
            hashes_per_second=page.number("hashesPerSecond"),
            coinbase=page.optional_text("coinbase"),
            uptime_s=page.number("uptimeSeconds"),
        )


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One node that the asked one is connected with, as `wattchain peers --json` shows it."""

    node_id: str
    url: str
    version: str
    protocols: tuple[str, ...]
    address: str
    local_address: str
    is_inbound: bool
    is_static: bool
    is_validator: bool
    head_number: int
    head_hash: str
    total_difficulty: str | None
    """In digits: it may be too large for a number of JSON."""
    ping_ms: int | None
    connected_s: int

    @classmethod
    def from_json(cls, answer: object) -> "PeerRow":
        """Raises InvalidAnswer."""
        peer = Members(answer, "admin_peers")
        network, head = peer.members("network"), peer.members("protocols").members("wattchain")
        difficulty = head.large_number("difficulty")
        return cls(
            node_id=peer.text("id"),
            url=peer.text("enode"),
            version=peer.text("name"),
            protocols=peer.texts("caps", MAX_PROTOCOLS),
            address=network.text("remoteAddress"),
            local_address=network.text("localAddress"),
            is_inbound=network.is_true("inbound"),
            is_static=network.is_true("static"),
            is_validator=peer.is_true("validator"),
            head_number=head.number("number"),
            head_hash=head.text("head"),
            total_difficulty=None if difficulty is None else str(difficulty),
            ping_ms=peer.optional_number("pingMilliseconds"),
            connected_s=peer.number("connectedSeconds"),
        )


def read_peers(answer: object) -> Sequence[PeerRow]:
    """Raises InvalidAnswer."""
    if not isinstance(answer, list) or len(answer) > MAX_PEERS:
        raise InvalidAnswer("the node's answer to admin_peers is no list of peers")
    return [PeerRow.from_json(entry) for entry in answer]


def as_duration(seconds: int) -> str:
    """In the two greatest units: 3 d 4 h."""
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
