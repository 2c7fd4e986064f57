"""The bar of a node that catches up: what it says in each phase, and that it goes away."""

import io

from rich.console import Console

from node.sync_bar import SyncBar
from p2p.sync.progress import Phase, SyncProgress


def test_the_bar_follows_the_phases_and_goes_away() -> None:
    screen = io.StringIO()
    bar = SyncBar(Console(file=screen, force_terminal=True, width=120))
    bar.show(SyncProgress(Phase.HEADERS, 0, 10, 4_000))
    bar.show(SyncProgress(Phase.STATE, 0, 4_000, 4_000, pieces=3, accounts=1_234, state_share=0.25))
    bar.show(SyncProgress(Phase.BLOCKS, 0, 2_000, 4_000))
    bar.show(SyncProgress())
    shown = screen.getvalue()
    phases = ("fetching headers", "fetching the state", "executing blocks")
    for text in (*phases, "1,234 accounts", "25%", "block 2,000 of 4,000"):
        assert text in shown
    end = len(shown)
    bar.show(SyncProgress())
    bar.close()
    assert len(screen.getvalue()) == end
