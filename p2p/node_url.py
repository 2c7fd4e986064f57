"""How a node is named for people and in files: wattchain://0x<node address>@<host>:<port>.

geth's enode://<public key>@<host>:<port> is read as well, and so is its static-nodes.json; the node's address follows
from the public key.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from p2p.fields import IpAddress
from p2p.identity import NodeId
from p2p.limits import MAX_HOST_CHARACTERS, MAX_STATIC_PEERS, MAX_STATIC_PEERS_BYTES
from primitives.errors import Invalid, InvalidHex, NeedsPerson, UserError
from primitives.hexadecimal import parse_address, to_checksum_address
from primitives.json_text import InvalidJson, parse_json
from primitives.secp256k1 import public_key_to_address

_URL = re.compile(
    r"(?:wattchain://(?P<address>0x[0-9a-fA-F]{40})|enode://(?P<public_key>[0-9a-fA-F]{128}))"
    r"@(?:\[(?P<ipv6>[0-9a-fA-F:.]{2,45})\]|(?P<host>[0-9A-Za-z_.-]+)):(?P<port>[0-9]{1,5})"
    r"(?P<query>\?[0-9A-Za-z=&]*)?",
    re.ASCII,
)
_MAX_URL_CHARACTERS = 512


class InvalidNodeUrl(Invalid):
    """Text does not name a node."""


@dataclass(frozen=True, slots=True)
class NodeUrl:
    """A node and where it listens."""

    node_id: NodeId
    host: str
    """An IP address without brackets, or a name."""
    port: int

    @property
    def address(self) -> IpAddress | None:
        """The host where it is an IP address, not a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"wattchain://{to_checksum_address(self.node_id)}@{host}:{self.port}"


def parse_node_url(text: object) -> NodeUrl:
    """Raises InvalidNodeUrl for anything but a wattchain:// or enode:// URL."""
    if not isinstance(text, str) or len(text) > _MAX_URL_CHARACTERS:
        raise InvalidNodeUrl("a node is named by text of the form wattchain://0x<node address>@<host>:<port>")
    match = _URL.fullmatch(text)
    if match is None or (match["query"] and match["address"]):
        raise InvalidNodeUrl(f"{text!r} is not of the form wattchain://0x<node address>@<host>:<port>")
    port = int(match["port"])
    if not 0 < port < 2**16:
        raise InvalidNodeUrl(f"{text!r} names the port {port}; ports are 1 to 65535")
    try:
        node_id = (
            parse_address(match["address"])
            if match["address"]
            else public_key_to_address(bytes.fromhex(match["public_key"]))
        )
    except InvalidHex as error:
        raise InvalidNodeUrl(f"{text!r}: {error}") from error
    return NodeUrl(node_id, _host(text, match), port)


def read_static_peers(path: Path) -> tuple[NodeUrl, ...]:
    """The nodes in a file of geth's form static-nodes.json: a list of URLs. Raises UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STATIC_PEERS_BYTES + 1)
    except OSError as error:
        raise UserError(f"The list of peers {path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_STATIC_PEERS_BYTES:
        raise NeedsPerson(f"{path} is too large to be a list of peers.")
    try:
        entries = parse_json(content)
    except InvalidJson as error:
        raise NeedsPerson(f"{path} is not a JSON list of peers: {error}.") from error
    if not isinstance(entries, list):
        raise NeedsPerson(f'{path} must hold a JSON list of peers, such as ["wattchain://0x...@192.168.1.7:30403"].')
    if len(entries) > MAX_STATIC_PEERS:
        raise NeedsPerson(f"{path} names {len(entries)} peers; at most {MAX_STATIC_PEERS} are called.")
    try:
        return tuple([parse_node_url(entry) for entry in entries])
    except InvalidNodeUrl as error:
        raise NeedsPerson(f"{path} names a peer that cannot be called: {error}.") from error


def _host(text: str, match: re.Match[str]) -> str:
    """IP addresses in their one usual form, names in lower case."""
    host = match["ipv6"] or match["host"]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        # A name whose last label is a number would be taken for an IPv4 address by some resolvers, and is a typo.
        is_number = host.rpartition(".")[2].isdigit()
        if match["ipv6"] or is_number or len(host) > MAX_HOST_CHARACTERS or "" in host.split("."):
            raise InvalidNodeUrl(f"{text!r} names the host {host!r}, which is no IP address and no name") from None
        return host.lower()
