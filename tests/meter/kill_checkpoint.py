"""Run by test_checkpoint.py in a process of its own: writes checkpoints and tells each that is written, for ever."""

import sys
from itertools import count
from pathlib import Path

from meter.checkpoint import Checkpoint, CheckpointFile


def main(path: Path) -> None:
    file = CheckpointFile(path, is_durable=False)
    found = file.read()
    for number in count(found[-1].number + 1 if found else 1):
        file.write(Checkpoint(bytes(20), bytes(32), 1, bytes(32), b"%d" % number * 100, number=number))
        print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
