"""`wattchain install-service`: node, meter or agent as a service of systemd, started with the computer."""

import grp
import os
import pwd
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

import node
from node.install_steps import GiveFolder, MakeLink, RemoveFile, RunCommand, Step, WriteFile, below, succeeds
from node.service_needs import Needs, needs_of
from node.unit_files import KINDS, STATE_FOLDER, ServiceKind, UnitFacts, render
from primitives.errors import UserError
from wallet.command_line import json_option, print_result, say

UNIT_FOLDER = Path("/etc/systemd/system")
STARTED_AT_BOOT = UNIT_FOLDER / "multi-user.target.wants"
CREDENTIAL_FOLDER = Path("/etc/wattchain")
SYSUSERS_FILE = Path("/etc/sysusers.d/wattchain.conf")
OWN_USER = "wattchain"
DEFAULT_PLACES = {
    "node": STATE_FOLDER / "node",
    "meter": STATE_FOLDER / "meter" / "meter.toml",
    "agent": STATE_FOLDER / "agent" / "agent.toml",
}
SYSUSERS = f"""\
# Written by `wattchain install-service`: the user of its services, with the serial ports and the GPIO pins of a Pi.
u {OWN_USER} - "Wattchain" {STATE_FOLDER} /usr/sbin/nologin
g dialout -
g gpio -
m {OWN_USER} dialout
m {OWN_USER} gpio
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to be installed, or removed, and where."""

    kind: ServiceKind
    root: Path
    place: Path
    user: str
    program: Path
    needs: Needs
    starts: bool

    @property
    def is_running_system(self) -> bool:
        return self.root == Path("/")

    @property
    def unit_path(self) -> Path:
        return UNIT_FOLDER / self.kind.unit


@click.command("install-service")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help=f"Of a node: its folder.  [default: {DEFAULT_PLACES['node']}]",
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help=f"Of a meter or agent: its settings file.  [default: {DEFAULT_PLACES['meter']}, {DEFAULT_PLACES['agent']}]",
)
@click.option(
    "--user",
    help=f"Who runs it.  [default: the folder's owner; {OWN_USER}, who is made, below {STATE_FOLDER}]",
)
@click.option(
    "--credential",
    "credential_files",
    multiple=True,
    metavar="NAME=FILE",
    help="A password that the service needs is this file's first line; else it is asked. Names: "
    f"{', '.join(KINDS['meter'].credentials)}.",
)
@click.option("--no-start", is_flag=True, help="Start it with the next boot only, not now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--uninstall", is_flag=True, help="Stop the service and take it away; its data stay.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    help="Install into a system that lies in this folder, such as the image of a card; nothing is started.",
)
@click.option(
    "--program", type=click.Path(path_type=Path), help="The wattchain command.  [default: the one that runs now]"
)
@json_option
def install_service(
    kind: str,
    data_dir: Path | None,
    settings: Path | None,
    user: str | None,
    credential_files: tuple[str, ...],
    no_start: bool,
    dry_run: bool,
    uninstall: bool,
    root: Path,
    program: Path | None,
    as_json: bool,
) -> None:
    """Have the computer run KIND, which is node, meter or agent, from its start on.

    Writes a unit file for systemd, which starts the program at every boot, again when it fails or hangs, and lets it
    touch nothing but its own folder and devices. Every step is said; where all is as it should be nothing is changed.
    Passwords go to /etc/wattchain, readable by root alone, and are handed to the program by systemd.
    """
    service = KINDS[kind]
    root = root.absolute()
    if not dry_run and root == Path("/") and os.geteuid() != 0:
        raise UserError(f"This changes the system: run it as root (sudo wattchain install-service {kind} ...)")
    if uninstall:
        steps = _removal(service, root)
    else:
        place = _place(service, data_dir, settings)
        files = _credential_files(service, credential_files)
        needs = needs_of(service, root, place, files, CREDENTIAL_FOLDER, asks=not dry_run)
        chosen = user or _default_user(root, place)
        installation = Installation(service, root, place, chosen, program or _own_program(), needs, not no_start)
        steps = _installation(installation)
    outcomes = _take(steps, dry_run)
    advice = _advice(service, uninstall=uninstall, is_running=root == Path("/") and not no_start and not dry_run)
    print_result({"service": service.unit, "steps": outcomes}, advice, as_json)


def _take(steps: Iterable[Step], dry_run: bool) -> list[dict[str, object]]:
    """Say and take each step; what was done."""
    outcomes: list[dict[str, object]] = []
    for step in steps:
        is_needed = step.is_needed()
        mark = "would" if dry_run else "done "
        say(f"  {mark if is_needed else 'kept '}  {step.describe()}")
        if is_needed and not dry_run:
            step.apply()
        outcomes.append({"step": step.describe(), "changed": is_needed})
    return outcomes


def _installation(wanted: Installation) -> list[Step]:
    kind, root = wanted.kind, wanted.root
    steps: list[Step] = [WriteFile("the user of the services, and its groups", root, SYSUSERS_FILE, SYSUSERS.encode())]
    if wanted.is_running_system:
        make = ("systemd-sysusers", str(SYSUSERS_FILE))
        steps.append(RunCommand("make the user and the groups", make, needed=lambda: not _users_are_made()))
    folder = wanted.needs.folder
    if wanted.is_running_system and folder.is_relative_to(STATE_FOLDER):
        steps.append(GiveFolder(folder, wanted.user))
    credentials = []
    for name, content in wanted.needs.credentials:
        path = CREDENTIAL_FOLDER / name
        credentials.append((name, path))
        if content is not None:
            steps.append(WriteFile(f"the {name.replace('-', ' ')}, for root alone", root, path, content, 0o600))
    facts = UnitFacts(
        kind,
        wanted.program,
        wanted.place,
        wanted.user,
        wanted.needs.writable,
        (*wanted.needs.readable, *_own_folders()),
        tuple(credentials),
    )
    unit = WriteFile("the unit file", root, wanted.unit_path, render(facts).encode())
    steps.append(unit)
    if not wanted.is_running_system:
        return [*steps, MakeLink("start it at boot", root, STARTED_AT_BOOT / kind.unit, wanted.unit_path)]
    return [*steps, *_starting(kind, unit, wanted.starts, any(step.is_needed() for step in steps))]


def _starting(kind: ServiceKind, unit: WriteFile, starts: bool, has_changed: bool) -> list[Step]:
    steps: list[Step] = [
        RunCommand("tell systemd", ("systemctl", "daemon-reload"), needed=lambda: has_changed),
        RunCommand(
            "start it at boot",
            ("systemctl", "enable", kind.unit),
            needed=lambda: not succeeds("systemctl", "is-enabled", "--quiet", kind.unit),
        ),
    ]
    if starts:
        needed = lambda: has_changed or not succeeds("systemctl", "is-active", "--quiet", kind.unit)  # noqa: E731
        steps.append(RunCommand("start it now", ("systemctl", "restart", kind.unit), needed=needed))
    return steps


def _removal(kind: ServiceKind, root: Path) -> list[Step]:
    unit = UNIT_FOLDER / kind.unit
    steps: list[Step] = []
    is_there = below(root, unit).exists()
    if root == Path("/"):
        stop = ("systemctl", "disable", "--now", kind.unit)
        steps.append(RunCommand("stop it, and start it at boot no more", stop, needed=lambda: is_there))
    steps.append(RemoveFile("the start at boot", root, STARTED_AT_BOOT / kind.unit))
    steps.append(RemoveFile("the unit file", root, unit))
    if root == Path("/"):
        steps.append(RunCommand("tell systemd", ("systemctl", "daemon-reload"), needed=lambda: is_there))
    return steps


def _advice(kind: ServiceKind, *, uninstall: bool, is_running: bool) -> str:
    name = kind.unit.removesuffix(".service")
    if uninstall:
        return (
            f"{name} is no service any more. Its data, its passwords in {CREDENTIAL_FOLDER} and the user {OWN_USER} "
            "are still there."
        )
    look = f"How it does: systemctl status {name}   What it says: journalctl -u {name} -f"
    return look if is_running else f"It starts with the computer. {look}"


def _credential_files(kind: ServiceKind, texts: Iterable[str]) -> dict[str, Path]:
    found = {}
    for text in texts:
        name, _, file = text.partition("=")
        if name not in kind.credentials or not file:
            known = ", ".join(kind.credentials) or "none"
            raise UserError(f"--credential is NAME=FILE, not {text[:80]!r}; names of a {kind.name}: {known}")
        found[name] = Path(file)
    return found


def _place(kind: ServiceKind, data_dir: Path | None, settings: Path | None) -> Path:
    given, other = (data_dir, settings) if kind.name == "node" else (settings, data_dir)
    if other is not None:
        raise UserError("--data-dir is for a node, --settings for a meter or agent")
    return Path(os.path.normpath((given or DEFAULT_PLACES[kind.name]).expanduser().absolute()))


def _default_user(root: Path, place: Path) -> str:
    if place.is_relative_to(STATE_FOLDER):
        return OWN_USER
    folder = below(root, place)
    try:
        owner = (folder if folder.is_dir() else folder.parent).owner()
    except (OSError, KeyError) as error:
        raise UserError(f"Who owns {folder} cannot be told ({error}); name the --user") from error
    if owner == "root":
        raise UserError(
            f"{folder} belongs to root, as whom no service should run: keep it below {STATE_FOLDER}, or name the "
            "--user that it is to belong to"
        )
    return owner


def _own_program() -> Path:
    program = Path(sys.executable).parent / "wattchain"
    if not program.exists():
        raise UserError(f"There is no command {program}; name it with --program")
    return program


def _own_folders() -> tuple[Path, ...]:
    """Where this program, its libraries and Python itself lie."""
    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(node.__file__).parent.parent)
    return tuple([folder.resolve() for folder in folders])


def _users_are_made() -> bool:
    try:
        pwd.getpwnam(OWN_USER)
        grp.getgrnam("dialout")
        grp.getgrnam("gpio")
    except KeyError:
        return False
    return True
