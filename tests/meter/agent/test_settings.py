"""agent.toml: the owner's words become whole wei and Wh, and every mistake is named."""

from pathlib import Path

import pytest

from meter.agent.settings import AgentSettings, load_agent_settings
from primitives.errors import UserError

METER = "0x" + "11" * 20
SETTINGS = f"""
[account]
key = "keys/solar.json"
[ledger]
chain_id = 1947
[agent]
meter = "{METER}"
least_ask_price = 0.15
greatest_bid_price = 0.25
greatest_energy_per_day = 12.5
greatest_spend_per_day = 3
"""


def load(folder: Path, text: str) -> AgentSettings:
    path = folder / "agent.toml"
    path.write_text(text)
    return load_agent_settings(path)


def test_the_owner_s_words_become_whole_numbers(tmp_path: Path) -> None:
    settings = load(tmp_path, SETTINGS)
    limits = settings.limits()
    assert (limits.least_ask_wei_per_wh, limits.greatest_bid_wei_per_wh) == (15 * 10**13, 25 * 10**13)
    assert (limits.greatest_energy_wh, limits.greatest_spend_wei) == (12_500, 3 * 10**18)
    assert (limits.reserve_permille, limits.markets) == (200, ("market", "auction"))
    assert settings.agent.dry_run
    assert settings.agent.state == tmp_path / "agent.sqlite"
    assert settings.account.key == tmp_path / "keys" / "solar.json"
    assert load(tmp_path, SETTINGS + 'state = "book"\n').agent.state == tmp_path / "book"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("least_days = 2", "agent.least_days must be from 3 to 28"),
        ("interval_s = 301", "agent.interval_s must be from 10 to 300"),
        ("reserve_percent = 101", "agent.reserve_percent must be from 0 to 100"),
        ("reserve_percent = 0.01", "no whole number of thousandths"),
        ("payout_from = -1", "agent.payout_from must be from 0"),
        ('markets = ["bazaar"]', 'one or both of "market" and "auction"'),
        ('markets = ["market", "market"]', 'one or both of "market" and "auction"'),
        ("markets = []", 'one or both of "market" and "auction"'),
        ("greed = 1", "unknown setting agent.greed"),
        ('least_days = "many"', "must be a whole number"),
        ('[wallet]\nkey = "x"', "unknown"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(tmp_path, SETTINGS + line + "\n")


def test_a_price_of_half_a_wei_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"agent\.least_ask_price is no whole number of wei a Wh"):
        load(tmp_path, SETTINGS.replace("0.15", "0.0000000000000005"))


@pytest.mark.parametrize("section", ["account", "ledger", "agent"])
def test_a_missing_section_is_named(tmp_path: Path, section: str) -> None:
    text = "".join([f"[{part}" for part in SETTINGS.split("[")[1:] if not part.startswith(section)])
    with pytest.raises(UserError, match=rf"lacks the section \[{section}\]"):
        load(tmp_path, text)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no settings file .* write one \(docs/metering/agent.md"):
        load_agent_settings(tmp_path / "agent.toml")
