"""How a fleet is judged by the ledger, and where it lives (`python -m benchmarks.fleet --minutes 1` runs one)."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.fleet import READING_INTERVAL_S, Fleet, judge, table
from benchmarks.fleet_place import FleetPlan, home_key, home_name, home_settings, make_place
from chain.genesis import load_genesis
from meter.drivers.simulated_home import SimulatedHomeSettings
from primitives.secp256k1 import address_of

TIMES_S = [0, 15, 30, 45, 60, 75, 90, 105]


def a_fleet(accepted: dict[tuple[str, int], tuple[int, int]], signed: dict[str, int], **more: object) -> Fleet:
    figures = {"node_mib": (90.0, 91.0, 92.0), "most_gas": 0, "node_cpu_percent": 0.0, "homes_mib": 0.0,
               "homes_cpu_percent": 0.0, "troubles": 0} | more  # fmt: skip
    return judge(FleetPlan(homes=2), TIMES_S, accepted, signed, **figures)  # type: ignore[arg-type]


def test_waits_are_counted_in_blocks_after_the_readings_time() -> None:
    accepted = {("a", 1): (14, 1), ("a", 2): (15, 2), ("b", 1): (44, 4), ("b", 2): (60, 4)}
    fleet = a_fleet(accepted, {"a": 2, "b": 2})
    assert fleet.waits_blocks == {1: 3, 2: 1}
    assert (fleet.signed, fleet.accepted, fleet.missing, fleet.longest_s) == (4, 4, 0, 16)
    assert fleet.is_reached


@pytest.mark.parametrize(
    ("accepted", "signed", "more"),
    [
        ({("a", 1): (14, 1)}, {"a": 2}, {}),  # one is lost
        ({("a", 1): (14, 1), ("a", 2): (20, 2)}, {"a": 1}, {}),  # nobody signed the other
        ({("a", 1): (14, 3)}, {"a": 1}, {}),  # the third block
        ({("a", 1): (14, 1)}, {"a": 1}, {"node_mib": (90.0, 95.0, 101.0)}),  # the node grows
    ],
)
def test_what_misses_the_aim(
    accepted: dict[tuple[str, int], tuple[int, int]], signed: dict[str, int], more: dict[str, object]
) -> None:
    assert not a_fleet(accepted, signed, **more).is_reached


def test_the_table_says_all(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(table(a_fleet({("a", 1): (14, 1)}, {"a": 1})))
    printed = capsys.readouterr().out
    assert "in block 1 after their time" in printed
    assert "90.0 / 91.0 / 92.0" in printed


def test_the_place_knows_its_homes(tmp_path: Path) -> None:
    node, chain_id = make_place(tmp_path, FleetPlan(homes=3))
    genesis = load_genesis(node.folder / "genesis.json")
    assert genesis.config.chain_id == chain_id
    settings = home_settings(tmp_path, tmp_path, 1, chain_id, "http://127.0.0.1:1", FleetPlan(homes=3))
    assert isinstance(settings.driver, SimulatedHomeSettings)
    assert (settings.driver.seed, settings.driver.source) == (1, "register")
    assert settings.meter.reading_interval_s == READING_INTERVAL_S
    assert home_name(1).lower() == "0x" + address_of(home_key(1)).hex()
