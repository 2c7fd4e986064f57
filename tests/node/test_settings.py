"""The node's settings: defaults, what a file may say, and a plain sentence for everything else."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.new_network import settings_text, write_settings
from node.settings import (
    SETTINGS_FILE,
    ChainSettings,
    ClockSettings,
    ConsensusSettings,
    MiningSettings,
    NodeSettings,
    OverrideSettings,
    P2pSettings,
    RpcSettings,
    SyncSettings,
    check_settings,
    load_settings,
)
from p2p.identity import AllowList
from primitives.errors import UserError
from wallet.settings_file import MAX_SETTINGS_BYTES

ONE, TWO = b"\x11" * 20, b"\x22" * 20
ONE_HEX, TWO_HEX = "0x" + ONE.hex(), "0x" + TWO.hex()


def refusal(folder: Path, text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    (folder / SETTINGS_FILE).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings(folder)
    return str(caught.value)


def test_no_file_and_an_empty_one_mean_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == NodeSettings(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text("")
    assert load_settings(tmp_path) == NodeSettings(tmp_path)
    assert load_settings(tmp_path / "absent") == NodeSettings(tmp_path / "absent")


def test_an_archive_takes_over_no_state(tmp_path: Path) -> None:
    plain = NodeSettings(tmp_path)
    assert not plain.executes_everything
    assert replace(plain, chain=ChainSettings(archive=True)).executes_everything
    assert replace(plain, sync=SyncSettings(full=True)).executes_everything


def test_a_file_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(
        '[chain]\narchive = true\n[rpc]\nport = 0\nallowed_hosts = ["pi.local"]\n[clock]\nrate = 2\n'
    )
    settings = load_settings(tmp_path)
    assert settings.chain == ChainSettings(archive=True)
    assert settings.rpc == RpcSettings(port=0, allowed_hosts=("pi.local",))
    assert settings.clock == ClockSettings(rate=2.0)
    assert settings.mining == MiningSettings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[foo]", "unknown section [foo]"),
        ("port = 1", "unknown setting port outside of all sections"),
        ("rpc = 1", "[rpc] must be a section"),
        ("[rpc]\nprt = 1", "unknown setting rpc.prt. Known are: admin, allowed_hosts, cors_origins, host, port"),
        ('[rpc]\nport = "8545"', "rpc.port must be a whole number, not '8545'"),
        ("[rpc]\nport = true", "rpc.port must be a whole number, not True"),
        ("[rpc]\nport = 1.0", "rpc.port must be a whole number, not 1.0"),
        ("[rpc]\nhost = 1", "rpc.host must be a text in quotes"),
        ('[rpc]\nallowed_hosts = "pi"', "rpc.allowed_hosts must be a list of texts"),
        ("[rpc]\nallowed_hosts = [1]", "rpc.allowed_hosts must be a list of texts"),
        ("[chain]\narchive = 1", "chain.archive must be true or false, not 1"),
        ("[rpc]\nport = 65536", "rpc.port must be from 0 to 65535, not 65536"),
        ("[chain]\npage_cache_mib = 0", "chain.page_cache_mib must be from 1 to 4096"),
        ("[chain]\nreorganisation_cap = 0", "chain.reorganisation_cap must be from 1 to 1024"),
        ("[mining]\ncpu_share_percent = 0", "mining.cpu_share_percent must be from 1 to 100"),
        ("[mining]\nminimum_block_period_s = 0", "mining.minimum_block_period_s must be from 1"),
        ('[mining]\ncoinbase = "0x12"', "mining.coinbase is not an address"),
        ("[clock]\nrate = true", "clock.rate must be a number, not True"),
        ("[clock]\nrate = nan", "clock.rate must be from 0.01 to 100000, not nan"),
        ("[clock]\norigin_s = inf", "clock.origin_s must be from 0"),
        ("[clock]\nwall_origin_s = -1", "clock.wall_origin_s must be from 0"),
        ('[p2p]\nhost = ""', "The setting p2p.host is empty. 0.0.0.0 is the network"),
        ("[p2p]\nport = -1", "p2p.port must be from 0 to 65535, not -1"),
        ("[p2p]\nmax_inbound = 257", "p2p.max_inbound must be from 0 to 256"),
        ("[p2p]\nmax_outbound = 65", "p2p.max_outbound must be from 0 to 64"),
        ('[p2p]\npeers = ["10.0.0.7"]', "p2p.peers names a node that cannot be called: '10.0.0.7' is not of the form"),
        (f"[p2p]\npeers = {['x'] * 257}", "p2p.peers names 257 nodes; at most 256 are called"),
        ('[p2p]\nallowed_nodes = ["Anna"]', "p2p.allowed_nodes names what is no node id and no URL"),
        ('[p2p]\nallowed_nodes = ["x://y"]', "p2p.allowed_nodes names what is no node id and no URL"),
        (f"[p2p]\nallowed_nodes = {['x'] * 1_025}", "p2p.allowed_nodes names more than 1024 nodes"),
        ("[sync]\nfull = 1", "sync.full must be true or false"),
        ("[consensus]\nvalidator_overrides = 1", "consensus.validator_overrides must be a list"),
        ("[consensus]\nvalidator_overrides = [1]", "consensus.validator_overrides[1] must be a table"),
        ("[consensus]\nvalidator_overrides = [{}]", "lacks the setting consensus.validator_overrides[1].block"),
        (
            "[consensus]\nvalidator_overrides = [{block = 1, validators = [], x = 1}]",
            "unknown setting consensus.validator_overrides[1].x. Known are: block, validators",
        ),
        (
            "[consensus]\nvalidator_overrides = [{block = 1, validators = ['Anna']}]",
            "consensus.validator_overrides[1].validators[1] is no address",
        ),
        (
            "[consensus]\nvalidator_overrides = [{block = 1, validators = []}]",
            "for block 1 (consensus.validator_overrides) must name 1 to 128 validators, not 0",
        ),
        (
            f"[consensus]\nvalidator_overrides = [{{block = 0, validators = ['{ONE_HEX}']}}]",
            "must name a block from 1 on",
        ),
        (
            f"[consensus]\nvalidator_overrides = [{{block = 7, validators = ['{ONE_HEX}', '{ONE_HEX}']}}]",
            "names a validator twice",
        ),
        (
            f"[[consensus.validator_overrides]]\nblock = 7\nvalidators = ['{ONE_HEX}']\n" * 2,
            "consensus.validator_overrides names a block twice",
        ),
        (f"[consensus]\nvalidator_overrides = [{'{block = 1, validators = []},' * 65}]", "has more than 64 entries"),
        ("[rpc", "not valid TOML"),
        (b"\xff\xfe", "is not a text file"),
        ("#" * (MAX_SETTINGS_BYTES + 1), "too large"),
    ],
)
def test_what_a_file_must_not_say(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    assert sentence in refusal(tmp_path, text)


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        load_settings(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        load_settings(tmp_path / ("a" * 300))


names = st.text(st.characters(min_codepoint=0x20, exclude_categories=("Cs", "Cc")), max_size=20)

overrides = st.lists(
    st.builds(
        OverrideSettings,
        st.integers(1, 2**63 - 1),
        st.sets(st.binary(min_size=20, max_size=20), min_size=1, max_size=4).map(tuple),
    ),
    max_size=3,
    unique_by=lambda override: override.block,
).map(tuple)


@given(
    chain=st.builds(ChainSettings, st.booleans(), st.integers(1, 1_024)),
    rpc=st.builds(RpcSettings, names, st.integers(0, 65_535), st.lists(names, max_size=3).map(tuple)),
    mining=st.builds(MiningSettings, st.booleans(), cpu_share_percent=st.integers(1, 100)),
    clock=st.builds(ClockSettings, st.floats(0.01, 100_000), st.floats(0, 10**11), st.floats(0, 10**11)),
    p2p=st.builds(
        P2pSettings,
        st.booleans(),
        names.filter(bool),
        st.integers(0, 65_535),
        st.lists(st.sampled_from([f"wattchain://{ONE_HEX}@pi.local:1", f"wattchain://{TWO_HEX}@[::1]:2"])).map(tuple),
        st.lists(st.sampled_from([ONE_HEX, TWO_HEX])).map(tuple),
        st.booleans(),
    ),
    consensus=st.builds(ConsensusSettings, st.booleans(), overrides),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    chain: ChainSettings,
    rpc: RpcSettings,
    mining: MiningSettings,
    clock: ClockSettings,
    p2p: P2pSettings,
    consensus: ConsensusSettings,
) -> None:
    folder = tmp_path_factory.mktemp("node")
    settings = NodeSettings(folder, chain, rpc, mining, clock, p2p, SyncSettings(), consensus)
    write_settings(settings)
    # A clock that keeps the wall's time has no section, whatever its origins are.
    expected = settings if clock.rate != 1.0 else replace(settings, clock=ClockSettings())
    assert load_settings(folder) == check_settings(expected)


def test_settings_of_a_person_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / SETTINGS_FILE
    path.write_text("[rpc]\nport = 1\n")
    assert write_settings(load_settings(tmp_path)) == path
    assert path.read_text() == "[rpc]\nport = 1\n"
    assert "port = 8545" in settings_text(NodeSettings(tmp_path))


def test_peers_come_from_the_settings_and_from_a_list_of_geth(tmp_path: Path) -> None:
    assert load_settings(tmp_path).static_peers() == ()
    (tmp_path / SETTINGS_FILE).write_text(f'[p2p]\npeers = ["wattchain://{ONE_HEX}@10.0.0.7:30403"]\n')
    (tmp_path / "static-nodes.json").write_text(
        f'["wattchain://{ONE_HEX}@10.0.0.8:30403", "wattchain://{TWO_HEX}@pi.local:1"]'
    )
    peers = {url.node_id: str(url.host) for url in load_settings(tmp_path).static_peers()}
    assert peers == {ONE: "10.0.0.7", TWO: "pi.local"}  # what the settings say goes before the file
    (tmp_path / "static-nodes.json").write_text("{")
    with pytest.raises(UserError, match=r"static-nodes.json is not a JSON list of peers"):
        load_settings(tmp_path).static_peers()


def test_too_many_peers_in_both_together(tmp_path: Path) -> None:
    urls = [f"wattchain://0x{number:040x}@pi.local:1" for number in range(1, 258)]
    (tmp_path / "static-nodes.json").write_text(str(urls[:256]).replace("'", '"'))
    (tmp_path / SETTINGS_FILE).write_text(f"[p2p]\npeers = {urls[256:]}\n")
    with pytest.raises(UserError, match="name 257 peers; at most 256 are called"):
        load_settings(tmp_path).static_peers()


def test_who_may_connect(tmp_path: Path) -> None:
    assert load_settings(tmp_path).allow_list() == AllowList(None)
    (tmp_path / SETTINGS_FILE).write_text(
        f'[p2p]\npeers = ["wattchain://{ONE_HEX}@10.0.0.7:1"]\nallowed_nodes = ["{TWO_HEX}"]\n'
    )
    # Whoever is to be called may also come.
    assert load_settings(tmp_path).allow_list() == AllowList(frozenset({ONE, TWO}))
    (tmp_path / SETTINGS_FILE).write_text(f'[p2p]\nallowed_nodes = ["wattchain://{TWO_HEX}@10.0.0.7:1"]\n')
    assert load_settings(tmp_path).allow_list() == AllowList(frozenset({TWO}))
