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
    MiningSettings,
    NodeSettings,
    RpcSettings,
    check_settings,
    load_settings,
)
from primitives.errors import UserError
from wallet.settings_file import MAX_SETTINGS_BYTES


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
        ("[rpc]\nprt = 1", "unknown setting rpc.prt. Known are: allowed_hosts, cors_origins, host, port"),
        ('[rpc]\nport = "8545"', "rpc.port must be a whole number, not '8545'"),
        ("[rpc]\nport = true", "rpc.port must be a whole number, not True"),
        ("[rpc]\nport = 1.0", "rpc.port must be a whole number, not 1.0"),
        ("[rpc]\nhost = 1", "rpc.host must be a text in quotes"),
        ('[rpc]\nallowed_hosts = "pi"', "rpc.allowed_hosts must be a list of texts"),
        ("[rpc]\nallowed_hosts = [1]", "rpc.allowed_hosts must be a list of texts"),
        ("[chain]\narchive = 1", "chain.archive must be true or false, not 1"),
        ("[rpc]\nport = 65536", "rpc.port must be from 0 to 65535, not 65536"),
        ("[chain]\nreorganisation_cap = 0", "chain.reorganisation_cap must be from 1 to 1024"),
        ("[mining]\ncpu_share_percent = 0", "mining.cpu_share_percent must be from 1 to 100"),
        ("[mining]\nminimum_block_period_s = 0", "mining.minimum_block_period_s must be from 1"),
        ('[mining]\ncoinbase = "0x12"', "mining.coinbase is not an address"),
        ("[clock]\nrate = true", "clock.rate must be a number, not True"),
        ("[clock]\nrate = nan", "clock.rate must be from 0.01 to 100000, not nan"),
        ("[clock]\norigin_s = inf", "clock.origin_s must be from 0"),
        ("[clock]\nwall_origin_s = -1", "clock.wall_origin_s must be from 0"),
        ("[rpc", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
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


@given(
    chain=st.builds(ChainSettings, st.booleans(), st.integers(1, 1_024)),
    rpc=st.builds(RpcSettings, names, st.integers(0, 65_535), st.lists(names, max_size=3).map(tuple)),
    mining=st.builds(MiningSettings, st.booleans(), cpu_share_percent=st.integers(1, 100)),
    clock=st.builds(ClockSettings, st.floats(0.01, 100_000), st.floats(0, 10**11), st.floats(0, 10**11)),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    chain: ChainSettings,
    rpc: RpcSettings,
    mining: MiningSettings,
    clock: ClockSettings,
) -> None:
    folder = tmp_path_factory.mktemp("node")
    settings = NodeSettings(folder, chain, rpc, mining, clock)
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
