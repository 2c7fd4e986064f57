"""What a service needs of the system by its own settings: folders that it reads and writes, and passwords."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from node.install_steps import below
from node.settings import load_settings as load_node_settings
from node.unit_files import ServiceKind
from primitives.errors import UserError
from wallet.command_line import ask_secret, secret_in
from wallet.key_directory import read_key_file
from wallet.keystore import decrypt_key

SETTINGS_LOADERS = {"meter": "meter.settings:load_settings", "agent": "meter.agent.settings:load_agent_settings"}


@dataclass(frozen=True, slots=True)
class Needs:
    """Paths are those of the running system."""

    folder: Path
    """Its own, with settings, keys and data."""
    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    credentials: tuple[tuple[str, bytes | None], ...]
    """Passwords by name; None for one that lies in its place already."""


@dataclass(frozen=True, slots=True)
class _Secret:
    """A password that a key of the settings wants, where the settings name no file with it."""

    credential: str
    what: str
    key: Path | None
    """The key file that it opens."""


def needs_of(
    kind: ServiceKind, root: Path, place: Path, given: Mapping[str, Path], folder: Path, *, asks: bool
) -> Needs:
    """`given` are files with passwords, by name; `folder` is where the service's passwords are kept.

    Raises UserError where the settings are missing or wrong, or a password does not open its key.
    """
    if kind.name == "node":
        _check_node(root, place)
        return Needs(place, (place,), (), ())
    settings = _load(kind, below(root, place))
    paths = {_as_running(root, path) for path in _paths_in(settings)}
    own = place.parent
    # A file that the settings name may be written anew beside itself, so its folder is what counts.
    written = {own, *(_as_running(root, path) for path in _written_folders(settings))}
    readable = {path.parent for path in paths} - written
    credentials = []
    for secret in _secrets(settings):
        content = _content(secret, given.get(secret.credential), below(root, folder / secret.credential), asks=asks)
        credentials.append((secret.credential, content))
    return Needs(own, tuple(sorted(written)), tuple(sorted(readable)), tuple(credentials))


def _check_node(root: Path, place: Path) -> None:
    folder = below(root, place)
    if not (folder / "genesis.json").is_file():
        raise UserError(
            f"{folder} is not the folder of a node yet. Make it with `wattchain init --data-dir {folder}` or copy it "
            "there from where `wattchain network new` made it, or name another with --data-dir"
        )
    load_node_settings(folder)


def _load(kind: ServiceKind, path: Path) -> Any:
    if not path.is_file():
        advice = "make it with `wattchain meter setup`, or name another" if kind.name == "meter" else "name another"
        raise UserError(f"There is no settings file {path}: {advice} with --settings")
    module, name = SETTINGS_LOADERS[kind.name].split(":")
    return getattr(importlib.import_module(module), name)(path)


def _paths_in(settings: object) -> Iterator[Path]:
    """Every name of a file in the settings."""
    if isinstance(settings, Path):
        yield settings
    elif isinstance(settings, tuple):
        for entry in settings:
            yield from _paths_in(entry)
    elif is_dataclass(settings):
        for item in fields(settings):
            yield from _paths_in(getattr(settings, item.name))


def _written_folders(settings: Any) -> Iterator[Path]:
    """Of the meter's outbox, the agent's memory, what a driver keeps, and lines for InfluxDB; and the one in memory."""
    for section, name in (("meter", "outbox"), ("agent", "state"), ("driver", "memory"), ("influx", "file")):
        value = getattr(getattr(settings, section, None), name, None)
        if isinstance(value, Path):
            yield value.parent
    folder = getattr(getattr(settings, "meter", None), "runtime_folder", None)
    if isinstance(folder, Path):
        yield folder


def _secrets(settings: Any) -> Iterator[_Secret]:
    meter, account = getattr(settings, "meter", None), getattr(settings, "account", None)
    element = getattr(settings, "pkcs11", None)
    if element is not None and getattr(element, "pin_file", None) is None:
        yield _Secret("token-pin", "PIN of the secure element", None)
    if meter is not None and meter.key is not None and meter.password_file is None:
        yield _Secret("meter-password", f"Password of the meter's key {meter.key}", meter.key)
    if account is not None and account.password_file is None:
        yield _Secret("account-password", f"Password of the paying account's key {account.key}", account.key)
    mqtt, driver = getattr(settings, "mqtt", None), getattr(settings, "driver", None)
    if mqtt is not None and mqtt.username and mqtt.password_file is None:
        yield _Secret("mqtt-password", f"Password of {mqtt.username} at the MQTT broker", None)
    influx = getattr(settings, "influx", None)
    if influx is not None and influx.url and influx.token_file is None:
        yield _Secret("influx-token", f"Token of InfluxDB at {influx.url}", None)
    if driver is not None and getattr(driver, "encrypted", False) and driver.key_file is None:
        yield _Secret("p1-key", "Key of the smart meter (32 hexadecimal digits)", None)


def _content(secret: _Secret, given: Path | None, kept: Path, *, asks: bool) -> bytes | None:
    """The password for the service; None where it lies there already."""
    if given is not None:
        password = secret_in(given)
    elif kept.exists():
        return None
    elif not asks:
        return b""  # nothing is written
    else:
        option = f"--credential {secret.credential}=FILE"
        if not sys.stdin.isatty():
            raise UserError(f"The service needs the {secret.credential}: give a file with it, {option}")
        password = ask_secret(secret.what, twice=False, otherwise=f"give a file with {option}")
    if secret.key is not None and secret.key.exists():
        decrypt_key(read_key_file(secret.key), password)  # a wrong one should be told now, not at the next boot
    return password.encode() + b"\n"


def _as_running(root: Path, path: Path) -> Path:
    """A path as the running system sees it."""
    return Path("/") / path.relative_to(root) if path.is_relative_to(root) else path
