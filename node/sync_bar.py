"""A bar on the terminal while a node catches up with its peers; nothing at all where there is no terminal."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from p2p.sync.progress import Phase, SyncProgress


class SyncBar:
    """Fits p2p.sync.progress.ProgressBoard.subscribe; is drawn from the first news to the last."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._phase = Phase.NOTHING

    def show(self, progress: SyncProgress) -> None:
        if not progress.is_syncing:
            self.close()
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        total = max(progress.highest_block - progress.starting_block, 1)
        completed = max(progress.current_block - progress.starting_block, 0)
        if progress.phase is Phase.STATE:
            total, completed = 1_000, round(1_000 * progress.state_share)
        if progress.phase is self._phase:
            (task,) = self._progress.task_ids
            self._progress.update(task, total=total, completed=completed, detail=_detail(progress))
            return
        self._phase = progress.phase
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(progress.phase.value, total=total, completed=completed, detail=_detail(progress))

    def close(self) -> None:
        """Take it off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._phase = Phase.NOTHING


def _detail(progress: SyncProgress) -> str:
    if progress.phase is Phase.STATE:
        return f"{progress.accounts:,} accounts"
    return f"block {progress.current_block:,} of {progress.highest_block:,}"
