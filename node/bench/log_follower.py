"""Reads what a node appends to its log while it runs: whole lines only, each once."""

from pathlib import Path

from primitives.errors import UserError

MAX_READ_BYTES = 4 * 2**20
"""At once; 16 nodes write some kilobytes between two looks."""


class LogFollower:
    """Of one file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Lines that were completed since the last call. Raises UserError."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read(MAX_READ_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"The log {self._path} cannot be read: {error.strerror}.") from error
        self._offset += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]
