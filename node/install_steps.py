"""Steps by which a service comes onto a system, or goes: each says what it does, whether it is needed, and does it.

Every step may be taken twice; the second time it finds nothing to do. Paths are those of the running system; `root` is
a folder that stands for it: an image of a card, or a test's.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from primitives.errors import UserError

# systemd waits for a service to be ready, for five minutes at most (TimeoutStartSec in the units).
COMMAND_TIMEOUT_S = 330
MAX_OUTPUT_CHARACTERS = 2_000


class Step(Protocol):
    def describe(self) -> str:
        """What it does, as a person would say it: "write the unit file ..."."""

    def is_needed(self) -> bool: ...

    def apply(self) -> None:
        """Raises UserError."""


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file with this content, whole or not at all."""

    what: str
    root: Path
    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o644

    def describe(self) -> str:
        return f"write {self.what}: {self.path}"

    def is_needed(self) -> bool:
        target = below(self.root, self.path)
        try:
            return target.read_bytes() != self.content or target.stat().st_mode & 0o777 != self.mode
        except OSError:
            return True

    def apply(self) -> None:
        target = below(self.root, self.path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.content)
                os.fchmod(file.fileno(), self.mode)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise UserError(f"{target} cannot be written: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class RemoveFile:
    what: str
    root: Path
    path: Path

    def describe(self) -> str:
        return f"remove {self.what}: {self.path}"

    def is_needed(self) -> bool:
        return os.path.lexists(below(self.root, self.path))

    def apply(self) -> None:
        target = below(self.root, self.path)
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{target} cannot be removed: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class MakeLink:
    """What `systemctl enable` makes; for a system that does not run."""

    what: str
    root: Path
    path: Path
    target: Path

    def describe(self) -> str:
        return f"{self.what}: {self.path}"

    def is_needed(self) -> bool:
        link = below(self.root, self.path)
        return not (link.is_symlink() and os.readlink(link) == str(self.target))

    def apply(self) -> None:
        link = below(self.root, self.path)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(self.target)
        except OSError as error:
            raise UserError(f"{link} cannot be made: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class GiveFolder:
    """A folder, and what is in it, belong to a user. Links are not followed."""

    folder: Path
    user: str

    def describe(self) -> str:
        return f"give the folder to the user {self.user}: {self.folder}"

    def is_needed(self) -> bool:
        try:
            owner = pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return True  # the user is made in a step before
        return not self.folder.is_dir() or any(path.lstat().st_uid != owner for path in self._contents())

    def apply(self) -> None:
        try:
            entry = pwd.getpwnam(self.user)
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            for path in self._contents():
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        except KeyError:
            raise UserError(f"There is no user {self.user} on this system.") from None
        except OSError as error:
            raise UserError(f"{self.folder} cannot be given to {self.user}: {error.strerror}.") from error

    def _contents(self) -> list[Path]:
        return [self.folder, *self.folder.rglob("*")]


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command of the system."""

    what: str
    command: Sequence[str]
    needed: Callable[[], bool] = lambda: True

    def describe(self) -> str:
        return f"{self.what}: {' '.join(self.command)}"

    def is_needed(self) -> bool:
        return self.needed()

    def apply(self) -> None:
        program = shutil.which(self.command[0])
        if program is None:
            raise UserError(f"The command {self.command[0]} is missing: this needs a Linux that is run by systemd.")
        try:
            done = subprocess.run(
                [program, *self.command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"`{' '.join(self.command)}` has not ended after {COMMAND_TIMEOUT_S} s.") from error
        if done.returncode:
            output = (done.stderr or done.stdout).strip()[-MAX_OUTPUT_CHARACTERS:]
            raise UserError(f"`{' '.join(self.command)}` failed with status {done.returncode}: {output}")


def below(root: Path, path: Path) -> Path:
    """Where an absolute path of the running system lies in `root`."""
    return root / path.relative_to("/")


def succeeds(*command: str) -> bool:
    """Whether a question to the system is answered with yes."""
    program = shutil.which(command[0])
    if program is None:
        return False
    done = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0
