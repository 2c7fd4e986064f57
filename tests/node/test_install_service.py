"""`wattchain install-service` into a made-up root folder: what it writes, that it may be repeated, and what it refuses.

What it does on a running system is asked of its steps; the last ones are commands of systemd, which stand-ins answer.
"""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.install_steps import GiveFolder, MakeLink, RemoveFile, RunCommand, WriteFile
from primitives.errors import UserError
from wallet.keystore import ScryptCost, encrypt_key

CHEAP = ScryptCost(2**10, 8, 1)
OPERATOR = "0x" + "11" * 20
PROGRAM = "/opt/wattchain/bin/wattchain"
METER_SETTINGS = """
[meter]
key = "meter.json"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1947
[driver]
kind = "simulated-home"
"""
NODE_UNIT = "etc/systemd/system/wattchain-node.service"
METER_UNIT = "etc/systemd/system/wattchain-meter.service"
AT_BOOT = "etc/systemd/system/multi-user.target.wants/wattchain-meter.service"
PASSWORD = "etc/wattchain/meter-password"


@pytest.fixture(scope="module")
def key_file() -> str:
    return encrypt_key(bytes([7]) * 32, "secret", CHEAP)


@pytest.fixture
def root(tmp_path: Path, key_file: str) -> Path:
    """A system with the folders of a node and of a meter."""
    state = tmp_path / "root" / "var/lib/wattchain"
    (state / "meter").mkdir(parents=True)
    (state / "meter" / "meter.toml").write_text(METER_SETTINGS)
    (state / "meter" / "meter.json").write_text(key_file)
    (state / "node").mkdir()
    (state / "node" / "genesis.json").write_text("{}")
    return tmp_path / "root"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    return file


def install(root: Path, kind: str, *options: object) -> Result:
    arguments = ["install-service", kind, "--root", str(root), "--program", PROGRAM, *map(str, options)]
    return CliRunner().invoke(main, arguments)


def credential(file: Path, name: str = "meter-password") -> tuple[str, str]:
    return ("--credential", f"{name}={file}")


def changes(result: Result) -> list[bool]:
    assert result.exit_code == 0, result.output
    return [step["changed"] for step in json.loads(result.stdout)["steps"]]


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Every file with its mode and content; every link with where it leads."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(root))] = (path.stat().st_mode & 0o777, path.read_text())
    return found


def test_a_node(root: Path) -> None:
    result = install(root, "node")
    assert result.exit_code == 0, result.output
    assert "done   write the unit file: /etc/systemd/system/wattchain-node.service" in result.stderr
    assert "journalctl -u wattchain-node" in result.stdout
    unit = (root / NODE_UNIT).read_text()
    assert f"ExecStart={PROGRAM} node --data-dir /var/lib/wattchain/node\n" in unit
    assert "User=wattchain\n" in unit
    assert "u wattchain " in (root / "etc/sysusers.d/wattchain.conf").read_text()


def test_all_folders_that_a_meter_writes_to(root: Path, password: Path) -> None:
    """Lines for InfluxDB go to a disk, not to the card; the folder in memory may be another one."""
    settings = METER_SETTINGS.replace("[ledger]", 'runtime_folder = "/run/meter"\n[ledger]')
    settings += '[influx]\nfile = "/mnt/disk/lines/meter.influx"\n'
    (root / "var/lib/wattchain/meter/meter.toml").write_text(settings)
    changes(install(root, "meter", *credential(password), "--json"))
    unit = (root / METER_UNIT).read_text()
    assert "StateDirectory=wattchain/meter\n" in unit
    assert "ReadWritePaths=-/mnt/disk/lines\nReadWritePaths=-/run/meter\n" in unit


def test_a_meter_with_its_password(root: Path, password: Path) -> None:
    assert all(changes(install(root, "meter", *credential(password), "--json")))
    unit = (root / METER_UNIT).read_text()
    assert f"ExecStart={PROGRAM} meter run --settings /var/lib/wattchain/meter/meter.toml\n" in unit
    assert "LoadCredential=meter-password:/etc/wattchain/meter-password\n" in unit
    assert "StateDirectory=wattchain/meter\n" in unit
    assert tree(root)[PASSWORD] == (0o600, "secret\n")
    assert tree(root)[AT_BOOT] == (0, "/etc/systemd/system/wattchain-meter.service")


def test_every_secret_that_the_settings_need(root: Path, password: Path) -> None:
    settings = root / "var/lib/wattchain/meter/meter.toml"
    settings.write_text(
        METER_SETTINGS.replace('kind = "simulated-home"', 'kind = "dsmr"\nencrypted = true')
        + '[account]\nkey = "meter.json"\n[mqtt]\nhost = "127.0.0.1"\nusername = "meter"\n'
        + '[influx]\nurl = "http://127.0.0.1:8086"\nbucket = "home"\norg = "me"\n'
    )
    names = ("meter-password", "account-password", "mqtt-password", "influx-token", "p1-key")
    for count in range(len(names)):
        given = [option for name in names[:count] for option in credential(password, name)]
        assert f"--credential {names[count]}=FILE" in install(root, "meter", *given).stderr
    given = [option for name in names for option in credential(password, name)]
    assert all(changes(install(root, "meter", *given, "--json")))
    loaded = [line for line in (root / METER_UNIT).read_text().splitlines() if line.startswith("LoadCredential=")]
    assert loaded == [f"LoadCredential={name}:/etc/wattchain/{name}" for name in names]


def test_an_agent(root: Path, password: Path) -> None:
    folder = root / "var/lib/wattchain/agent"
    folder.mkdir()
    (folder / "agent.toml").write_text(
        '[account]\nkey = "../meter/meter.json"\n[ledger]\nchain_id = 1947\n[agent]\nmeter = "0x' + "11" * 20 + '"\n'
    )
    assert all(changes(install(root, "agent", *credential(password, "account-password"), "--json")))
    unit = (root / "etc/systemd/system/wattchain-agent.service").read_text()
    assert f"ExecStart={PROGRAM} agent run --settings /var/lib/wattchain/agent/agent.toml\n" in unit
    assert "LoadCredential=account-password:/etc/wattchain/account-password\n" in unit


def test_the_second_time_changes_nothing(root: Path, password: Path) -> None:
    assert all(changes(install(root, "meter", *credential(password), "--json")))
    before = tree(root)
    again = install(root, "meter", "--json")  # the password lies there already
    assert not any(changes(again))
    assert tree(root) == before
    assert "done" not in again.stderr


def test_a_dry_run_changes_nothing(root: Path) -> None:
    before = tree(root)
    result = install(root, "meter", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would  write the unit file" in result.stderr
    assert tree(root) == before


def test_changed_settings_of_the_unit_are_written_again(root: Path) -> None:
    install(root, "node")
    (root / NODE_UNIT).write_text("[Service]\n")
    assert changes(install(root, "node", "--json")) == [False, True, False]


def test_uninstall_leaves_data_and_passwords(root: Path, password: Path) -> None:
    install(root, "meter", *credential(password))
    result = install(root, "meter", "--uninstall")
    assert result.exit_code == 0, result.output
    left = tree(root)
    assert METER_UNIT not in left
    assert AT_BOOT not in left
    assert PASSWORD in left
    assert "var/lib/wattchain/meter/meter.json" in left
    assert not any(changes(install(root, "meter", "--uninstall", "--json")))


def test_another_place_belongs_to_its_owner(root: Path, password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = root / "home/pi/meter"
    home.mkdir(parents=True)
    for name in ("meter.toml", "meter.json"):
        (home / name).write_text((root / "var/lib/wattchain/meter" / name).read_text())
    monkeypatch.setattr(Path, "owner", lambda self: "pi")
    options = ("--settings", "/home/pi/meter/meter.toml", *credential(password))
    assert install(root, "meter", *options).exit_code == 0
    unit = (root / METER_UNIT).read_text()
    assert "User=pi\n" in unit
    assert "BindPaths=/home/pi/meter\n" in unit
    monkeypatch.setattr(Path, "owner", lambda self: "root")
    refused = install(root, "meter", *options)
    assert refused.exit_code == 2
    assert "belongs to root" in refused.output
    assert install(root, "meter", *options, "--user", "pi").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("node", "--settings", "x"), "--data-dir is for a node"),
        (("meter", "--data-dir", "x"), "--data-dir is for a node"),
        (("node", "--data-dir", "/nowhere"), "is not the folder of a node yet"),
        (("meter", "--settings", "/nowhere/meter.toml"), "There is no settings file"),
        (("meter",), "--credential meter-password=FILE"),
        (("meter", "--credential", "meter-password=/nowhere"), "cannot be read"),
        (("meter", "--credential", "meter-password"), "NAME=FILE"),
        (("node", "--credential", "meter-password=x"), "names of a node: none"),
        (("node", "--user", "a b"), "cannot be the name of a user"),
    ],
)
def test_refusals_change_nothing(root: Path, arguments: tuple[str, ...], message: str) -> None:
    before = tree(root)
    result = install(root, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert tree(root) == before


def test_a_wrong_password_is_told_now(root: Path, password: Path) -> None:
    password.write_text("wrong\n")
    result = install(root, "meter", *credential(password))
    assert result.exit_code == 2
    assert "the password does not open this key file" in result.output.lower()
    assert PASSWORD not in tree(root)


def test_only_root_changes_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["install-service", "node"])
    assert result.exit_code == 2
    assert "sudo wattchain install-service node" in result.output


def test_commands_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in notes what it is called with, and fails for `stop`."""
    script = tmp_path / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ntest "$1" != stop || {{ echo "no such unit" >&2; exit 5; }}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    RunCommand("tell systemd", ("systemctl", "daemon-reload")).apply()
    assert (tmp_path / "calls").read_text() == "daemon-reload\n"
    with pytest.raises(UserError, match="failed with status 5: no such unit"):
        RunCommand("stop it", ("systemctl", "stop", "x")).apply()
    with pytest.raises(UserError, match="is missing"):
        RunCommand("?", ("no-such-command",)).apply()


def test_steps_say_what_stands_in_their_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    in_a_file = Path("/file/below")
    for step in (
        WriteFile("a file", tmp_path, in_a_file, b""),
        MakeLink("a link", tmp_path, in_a_file, Path("/x")),
        GiveFolder(tmp_path, "nobody-of-that-name"),
    ):
        assert step.is_needed()
        with pytest.raises(UserError):
            step.apply()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be removed"):
        RemoveFile("a file", tmp_path, Path("/folder")).apply()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_is_given_with_all_that_is_in_it_but_not_beyond(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    folder = tmp_path / "state"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "link").symlink_to(outside)
    step = GiveFolder(folder, "nobody")
    assert step.is_needed()
    step.apply()
    assert not step.is_needed()
    assert outside.stat().st_uid == 0
