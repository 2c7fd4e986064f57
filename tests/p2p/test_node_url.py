"""Names of nodes: our own form, geth's, and lists of them."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import limits
from p2p.node_url import InvalidNodeUrl, NodeUrl, parse_node_url, read_static_peers
from primitives.errors import UserError
from primitives.secp256k1 import address_of, public_key

KEY = (7).to_bytes(32, "big")
ADDRESS = "0x" + address_of(KEY).hex()


@given(
    st.binary(min_size=20, max_size=20),
    st.ip_addresses().map(str) | st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{1,10}){0,3}", fullmatch=True),
    st.integers(1, 65_535),
)
def test_what_is_written_is_read_as_itself(node_id: bytes, host: str, port: int) -> None:
    url = NodeUrl(node_id, host, port)
    assert parse_node_url(str(url)) == url


@given(st.text(max_size=60) | st.binary(max_size=5) | st.none())
def test_garbage_is_refused(garbage: object) -> None:
    with pytest.raises(InvalidNodeUrl):
        parse_node_url(garbage)


def test_an_enode_names_the_node_of_its_public_key() -> None:
    enode = f"enode://{public_key(KEY).hex()}@10.0.0.7:30303?discport=0"
    assert parse_node_url(enode) == NodeUrl(address_of(KEY), "10.0.0.7", 30_303)


@pytest.mark.parametrize(
    ("place", "host", "address"),
    [
        ("192.168.1.7:30403", "192.168.1.7", "192.168.1.7"),
        ("[::1]:30403", "::1", "::1"),
        ("[2600:0:0::0001]:30403", "2600::1", "2600::1"),
        ("Pi-3.local:30403", "pi-3.local", None),
        ("pi:30403", "pi", None),
    ],
)
def test_hosts_have_one_form(place: str, host: str, address: str | None) -> None:
    url = parse_node_url(f"wattchain://{ADDRESS}@{place}")
    assert (url.host, url.port) == (host, 30_403)
    assert url.address == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"wattchain://{ADDRESS}@10.0.0.7",
        f"wattchain://{ADDRESS}@10.0.0.7:0",
        f"wattchain://{ADDRESS}@10.0.0.7:65536",
        f"wattchain://{ADDRESS}@10.0.0.7:+1",
        f"wattchain://{ADDRESS}@10.0.0.7:\u0661",
        f"wattchain://{ADDRESS}@10.0.0:1",
        f"wattchain://{ADDRESS}@1.2.3.400:1",
        f"wattchain://{ADDRESS}@::1:30403",
        f"wattchain://{ADDRESS}@[::g]:30403",
        f"wattchain://{ADDRESS}@[1.2.3.4.5]:30403",
        f"wattchain://{ADDRESS}@a..b:1",
        f"wattchain://{ADDRESS}@{'a' * 254}:1",
        f"wattchain://{ADDRESS}@10.0.0.7:1?discport=0",
        f"wattchain://{ADDRESS}@10.0.0.7:1/path",
        f"wattchain://{ADDRESS}@10.0.0.7:1\n",
        f"wattchain://user@{ADDRESS}@10.0.0.7:1",
        f"wattchain://{ADDRESS[:-1]}@10.0.0.7:1",
        f"wattchain://{ADDRESS[2:]}@10.0.0.7:1",
        f"enode://{public_key(KEY).hex()[:-1]}@10.0.0.7:1",
        f"http://{ADDRESS}@10.0.0.7:1",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidNodeUrl):
        parse_node_url(text)


def test_a_mistyped_address_is_noticed() -> None:
    mixed = str(NodeUrl(address_of(KEY), "10.0.0.7", 1))
    letter = next(index for index in range(14, 54) if mixed[index].isalpha())
    mistyped = mixed[:letter] + mixed[letter].swapcase() + mixed[letter + 1 :]
    with pytest.raises(InvalidNodeUrl, match="mistyped"):
        parse_node_url(mistyped)


def test_geths_list_of_static_nodes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "static-nodes.json"
    urls = [f"enode://{public_key(KEY).hex()}@10.0.0.7:30303", f"wattchain://{ADDRESS}@pi.local:30403"]
    path.write_text(json.dumps(urls))
    assert [url.host for url in read_static_peers(path)] == ["10.0.0.7", "pi.local"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a JSON list"),
        ("[" * 1_000, "not a JSON list"),
        ("{}", "must hold a JSON list"),
        ('["enode://nonsense"]', "'enode://nonsense' is not of the form"),
        ("[7]", "cannot be called"),
        (json.dumps(["x"] * (limits.MAX_STATIC_PEERS + 1)), "names 257 peers"),
        (" " * (limits.MAX_STATIC_PEERS_BYTES + 1), "too large"),
    ],
)
def test_a_wrong_list_is_explained_to_its_author(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "static-nodes.json"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        read_static_peers(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_static_peers(tmp_path / "missing.json")
