"""Stops anvil where the contract tests ran on it, and says how much it ran."""

from collections import Counter
from typing import Any

import pytest

from tests.contracts import anvil

_AGREED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_AGREED] = Counter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    process = anvil.running()
    if process is None:
        return
    process.stop()
    counts = Counter(
        {f"{process.version} transactions": process.transactions, f"{process.version} calls": process.calls}
    )
    session.config.stash[_AGREED].update(counts)
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist
        session.config.workeroutput["agreed"] = dict(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    node.config.stash[_AGREED].update(getattr(node, "workeroutput", {}).get("agreed", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for what, count in sorted(config.stash[_AGREED].items()):
        terminalreporter.write_line(f"compared with {what}: {count:,}")
