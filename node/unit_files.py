"""The unit files of systemd for node, meter and agent: the templates in node/units with paths, user and passwords.

What stands between two @ in a template is filled in here; everything else is as it reads there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from primitives.errors import UserError

STATE_FOLDER = Path("/var/lib/wattchain")
"""systemd's own place for the data of services: it makes the folders in it, and gives them to the service's user."""
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= hides from a service."""
HIDDEN = (*HOMES, Path("/tmp"), Path("/var/tmp"))
"""And PrivateTmp=."""

_PLACEHOLDER = re.compile(r"@([a-z]+)@")
# Anything else would have to be quoted for systemd, for the shell, and for the person who reads it.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+-]*", re.ASCII)
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServiceKind:
    """One of the three."""

    name: str
    summary: str
    credentials: tuple[str, ...]
    """Passwords and keys that it may be handed by systemd (meter/signer.py)."""

    @property
    def unit(self) -> str:
        return f"wattchain-{self.name}.service"


KINDS = {
    kind.name: kind
    for kind in (
        ServiceKind("node", "keeps the ledger", ()),
        ServiceKind(
            "meter",
            "signs readings",
            ("meter-password", "account-password", "token-pin", "mqtt-password", "influx-token", "p1-key"),
        ),
        ServiceKind("agent", "sells and buys energy", ("account-password",)),
    )
}


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """What a template is filled with. All paths are absolute, as the running system sees them."""

    kind: ServiceKind
    program: Path
    """The `wattchain` command."""
    place: Path
    """The node's folder, or the settings file of meter or agent."""
    user: str
    writable: tuple[Path, ...]
    """Folders that it writes to."""
    readable: tuple[Path, ...] = ()
    """What it reads that may lie below /home: its own program, for one."""
    credentials: tuple[tuple[str, Path], ...] = ()
    """Passwords by name, and the files that systemd takes them from."""


def render(facts: UnitFacts) -> str:
    """The unit file. Raises UserError for names that cannot stand in one."""
    for path in (
        facts.program,
        facts.place,
        *facts.writable,
        *facts.readable,
        *(path for _, path in facts.credentials),
    ):
        check_path(path)
    check_user(facts.user)
    filling = {
        "program": str(facts.program),
        "place": str(facts.place),
        "user": facts.user,
        "paths": "\n".join(_path_lines(facts)),
        "credentials": "\n".join(f"LoadCredential={name}:{path}" for name, path in facts.credentials)
        or "# No password: the settings name a file with it, or the key needs none.",
        "hardening": _template("hardening.conf").rstrip(),
    }
    return _PLACEHOLDER.sub(lambda match: filling[match[1]], _template(facts.kind.unit))


def check_path(path: Path) -> None:
    """Raises UserError."""
    if not _PLAIN_PATH.fullmatch(str(path)):
        raise UserError(
            f"The name {str(path)[:200]!r} cannot stand in a unit file: it must be absolute, of letters without "
            "accents, digits, dots, - and _ only. Move or rename what it names."
        )


def check_user(name: str) -> None:
    """Raises UserError."""
    if not _PLAIN_NAME.fullmatch(name):
        raise UserError(f"{name[:80]!r} cannot be the name of a user of this system.")


def is_in(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _path_lines(facts: UnitFacts) -> list[str]:
    """Which folders there are for the service at all; ProtectSystem=strict makes the rest unwritable."""
    own = [path for path in facts.writable if path != STATE_FOLDER and path.is_relative_to(STATE_FOLDER)]
    elsewhere = [path for path in facts.writable if path not in own]
    lines = [f"StateDirectory={path.relative_to(STATE_FOLDER.parent)}" for path in own]
    lines += ["StateDirectoryMode=0750"] if own else []
    # A disk that is not there must not keep the service from starting: it says itself what it misses.
    lines += [f"ReadWritePaths=-{path}" for path in elsewhere if not is_in(path, HIDDEN)]
    written = [path for path in elsewhere if is_in(path, HIDDEN)]
    read = [path for path in facts.readable if is_in(path, HIDDEN) and not is_in(path, written)]
    if any(is_in(path, HOMES) for path in (*written, *read)):
        lines += ["# Homes are empty for it, but for what it needs of them.", "ProtectHome=tmpfs"]
    else:
        lines.append("ProtectHome=yes")
    lines += [f"BindPaths={path}" for path in _outermost(written)]
    return [*lines, *(f"BindReadOnlyPaths={path}" for path in _outermost(read))]


def _outermost(paths: Sequence[Path]) -> list[Path]:
    return sorted({path for path in paths if not is_in(path, [other for other in paths if other != path])})


def _template(name: str) -> str:
    return (files("node") / "units" / name).read_text()
