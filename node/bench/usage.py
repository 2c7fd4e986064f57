"""What the processes of a run take: processor time and memory, as Linux tells it in /proc (proc(5)).

A node leads a process group, in which its mining process is too; a group's figures are those of both together.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20

# Numbers of the fields after the name, counted from 0 (in proc(5): minus 3).
_GROUP, _CPU, _RESIDENT = 2, slice(11, 15), 21


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process group."""

    cpu_s: float = 0.0
    """Processor time so far, of user and system; of children that have ended, too."""
    memory_mib: float = 0.0
    """Resident now; pages that two of its processes share are counted twice."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu_s + other.cpu_s, self.memory_mib + other.memory_mib)


def usage_of_groups(groups: Collection[int]) -> dict[int, Usage]:
    """By process group, of those asked for; zeros for one that has no process any more."""
    totals = dict.fromkeys(groups, Usage())
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name stands in parentheses and may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        group = int(fields[_GROUP])
        if group in totals:
            totals[group] += usage_of_fields(fields)
    return totals


def usage_of_fields(fields: list[str]) -> Usage:
    """Of one process, from the fields of its stat after the name."""
    return Usage(
        sum(int(ticks) for ticks in fields[_CPU]) / _TICKS_PER_S,
        int(fields[_RESIDENT]) * _PAGE_BYTES / _MIB,
    )


def usage_of_process(process_id: int) -> Usage:
    """Of one process alone. Raises OSError where it has ended."""
    return usage_of_fields((_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split())
