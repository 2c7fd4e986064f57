"""`wattchain agent` without a node: plain words, and the comparison with a file of measurements."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.forecast import BUNDLED, main
from meter.agent.commands import agent
from meter.agent.journal import Journal
from meter.agent.limits import Budget
from meter.agent.shown import status_text
from meter.agent.situation import AuctionView
from primitives.secp256k1 import address_of
from tests.meter.agent.made_up import situation_of
from tests.meter.agent.test_settings import SETTINGS
from wallet.keystore import LIGHT_COST, encrypt_key

KEY = b"\x21" * 32


def run(*arguments: str) -> Result:
    return CliRunner().invoke(agent, list(arguments))


@pytest.fixture
def settings_path(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "solar.json").write_text(encrypt_key(KEY, "secret", LIGHT_COST))
    path = tmp_path / "agent.toml"
    # Nothing listens on the discard port.
    path.write_text(SETTINGS.replace("chain_id = 1947", 'chain_id = 1947\nnode = "http://127.0.0.1:9"'))
    return path


def test_the_status_is_shown_where_no_node_answers(settings_path: Path) -> None:
    with Journal(settings_path.parent / "agent.sqlite", 1947, address_of(KEY)) as journal:
        journal.begin(1_700_000_000, "buy: of advert 7", 5, 3_000, 0, b"\x01" * 32, b"raw")
        journal.tell(1_700_000_000, 1, "buy", "Buy 3 kWh of advert 7.")
    done = run("status", "--settings", str(settings_path))
    assert done.exit_code == 0, done.output
    assert "on trial: nothing is sent" in done.stdout
    assert "Ledger   not to be asked: No node answers at http://127.0.0.1:9" in done.stdout
    assert "Sent     2023-11-14 22:13:20 UTC  buy: of advert 7: under way" in done.stdout
    assert "Decided  2023-11-14 22:13:20 UTC  Buy 3 kWh of advert 7." in done.stdout
    answer = json.loads(run("status", "--json", "--settings", str(settings_path)).stdout)
    assert (answer["energy_left_wh"], answer["sent"][0]["state"], answer["dry_run"]) == (None, "under way", True)


def test_the_book_of_another_key_is_refused(settings_path: Path) -> None:
    with Journal(settings_path.parent / "agent.sqlite", 1947, bytes(20)) as journal:
        journal.begin(1_700_000_000, "buy of advert 7", 5, 3_000, 0, b"\x01" * 32, b"raw")
    done = run("status", "--settings", str(settings_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the book of another account" in done.stderr


@pytest.mark.parametrize("command", ["plan", "backtest"])
def test_without_a_node_there_is_no_plan(settings_path: Path, command: str) -> None:
    done = run(command, "--settings", str(settings_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No node answers" in done.stderr


def test_a_file_of_measurements_is_compared() -> None:
    options = ["--generation-column", "solar_generation", "--generation-scale", "4"]
    done = run("backtest", str(BUNDLED / "building_1.csv"), *options)
    assert done.exit_code == 0, done.output
    assert "Energy given: 1 day, 14.7" in done.stdout
    assert "as yesterday" in done.stdout
    taken, _ = json.loads(run("backtest", str(BUNDLED / "building_1.csv"), *options, "--json").stdout)
    assert taken["forecast"]["by_hour_permille"] < taken["yesterday"]["by_hour_permille"]


@pytest.mark.parametrize("scale", ["abc", "nan", "inf", "-4", "0"])
def test_a_size_of_a_panel_that_is_none_is_said(scale: str) -> None:
    options = ["--generation-column", "solar_generation", "--generation-scale", scale]
    done = run("backtest", str(BUNDLED / "building_1.csv"), *options)
    assert done.exit_code == 2
    assert "is no number such as 1.5" in done.stderr or "give a number above 0" in done.stderr


def test_what_is_no_address_of_a_meter_is_said(settings_path: Path) -> None:
    text = settings_path.read_text()
    address = next(word for word in text.split('"') if word.startswith("0x"))
    settings_path.write_text(text.replace(address, "0x123"))
    done = run("plan", "--settings", str(settings_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "agent.meter is no address: an address is 0x and 40 digits from 0 to 9 and a to f" in done.stderr


def test_what_is_left_is_shown_with_a_name_for_each_line() -> None:
    situation = situation_of(auction=AuctionView(5 * 10**17))
    lines = status_text(situation.account, False, situation, Budget(7_000, 10**18), "", [], []).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Account", "Left", "Market", "Auction"]
    assert lines[1:] == [
        "Left     7 kWh and 1 WATT of the limits of 24 hours",
        "Market   0 WATT on the account there",
        "Auction  0.5 WATT on the account there",
    ]


def test_the_benchmark_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(BUNDLED / "building_1.csv"), "--json"]) == 0
    taken, _ = json.loads(capsys.readouterr().out)
    assert (taken["home"], taken["direction"], taken["days"]) == ("building_1", "taken", 1)
    assert main([str(BUNDLED / "building_2.csv")]) == 0
    assert "building_2" in capsys.readouterr().out
