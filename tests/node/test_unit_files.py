"""The unit files: systemd itself judges them (`systemd-analyze verify` and `security`), each beside its purpose."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.unit_files import KINDS, UnitFacts, render
from primitives.errors import UserError
from wallet.command_line import EXIT_STATUS_NEEDS_PERSON

# 0 is no exposure at all, 10 is a program that may do everything; systemd calls what is below 2.5 "OK". What is left:
# the network, which all three need; the meter's serial ports and pins, and the groups that these belong to.
GREATEST_EXPOSURE = {"node": 1.4, "meter": 1.7, "agent": 1.3}
PLACES = {
    "node": Path("/var/lib/wattchain/node"),
    "meter": Path("/var/lib/wattchain/meter/meter.toml"),
    "agent": Path("/var/lib/wattchain/agent/agent.toml"),
}
# systemd-analyze asks whether the program is there; this one is.
PROGRAM = Path(sys.executable).resolve()

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian package systemd)"
)


def facts(name: str, **changes: object) -> UnitFacts:
    place = PLACES[name]
    given: dict[str, object] = {
        "kind": KINDS[name],
        "program": PROGRAM,
        "place": place,
        "user": "wattchain",
        "writable": (place if name == "node" else place.parent,),
    }
    return UnitFacts(**given | changes)  # type: ignore[arg-type]


def settings(text: str) -> dict[str, list[str]]:
    """Values by name; a name may come several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", list(KINDS))
@needs_systemd
def test_systemd_accepts_it_and_finds_little_to_fear(name: str, tmp_path: Path) -> None:
    unit = tmp_path / KINDS[name].unit
    credentials = tuple([(one, Path("/etc/wattchain") / one) for one in KINDS[name].credentials])
    unit.write_text(render(facts(name, credentials=credentials)))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    threshold = round(GREATEST_EXPOSURE[name] * 10)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-500:] + judged.stderr


@pytest.mark.parametrize("name", list(KINDS))
def test_it_starts_at_boot_and_again_after_a_failure(name: str) -> None:
    values = settings(render(facts(name)))
    assert values["WantedBy"] == ["multi-user.target"]
    assert values["Restart"] == ["on-failure"]
    assert values["StartLimitIntervalSec"] == ["0"]  # for ever
    # But for what only a person can put right, such as a setting.
    assert values["RestartPreventExitStatus"] == [str(EXIT_STATUS_NEEDS_PERSON)]
    # A time server is wished for, and not waited for.
    assert "time-sync.target" in values["Wants"][0]
    assert "time-sync.target" not in values["After"][0]
    assert "Requires" not in values
    assert "@" not in re.sub(r"@(system-service|privileged|resources)\b", "", render(facts(name)))


@pytest.mark.parametrize("name", ["node", "meter"])
def test_node_and_meter_tell_that_they_live(name: str) -> None:
    values = settings(render(facts(name)))
    assert values["Type"] == ["notify"]
    assert values["WatchdogSec"] == ["2min"]


def test_the_meter_has_its_devices_and_keeps_its_memory_over_a_restart() -> None:
    values = settings(render(facts("meter")))
    assert values["DevicePolicy"] == ["closed"]
    assert {"char-ttyAMA rw", "char-gpiochip rw"} <= set(values["DeviceAllow"])
    assert values["SupplementaryGroups"] == ["dialout gpio"]
    assert values["RuntimeDirectoryPreserve"] == ["yes"]
    assert "PrivateDevices" not in values


def test_passwords_come_from_systemd() -> None:
    path = Path("/etc/wattchain/meter-password")
    values = settings(render(facts("meter", credentials=(("meter-password", path),))))
    assert values["LoadCredential"] == ["meter-password:/etc/wattchain/meter-password"]
    assert "LoadCredential" not in settings(render(facts("meter")))


def test_its_own_folder_is_made_by_systemd() -> None:
    values = settings(render(facts("node")))
    assert values["StateDirectory"] == ["wattchain/node"]
    assert values["ProtectHome"] == ["yes"]
    assert "ReadWritePaths" not in values


def test_a_folder_elsewhere_may_be_written() -> None:
    values = settings(render(facts("node", place=Path("/srv/node"), writable=(Path("/srv/node"),))))
    assert values["ReadWritePaths"] == ["-/srv/node"]
    assert values["ProtectHome"] == ["yes"]
    assert "StateDirectory" not in values


def test_of_homes_only_what_is_needed_is_there() -> None:
    home = Path("/home/pi")
    made = facts(
        "meter",
        program=home / "wattchain/.venv/bin/wattchain",
        place=home / "meter/meter.toml",
        writable=(home / "meter",),
        readable=(home / "wattchain/.venv", home / "wattchain", home / "meter/keys", Path("/usr")),
        user="pi",
    )
    values = settings(render(made))
    assert values["ProtectHome"] == ["tmpfs"]
    assert values["BindPaths"] == ["/home/pi/meter"]
    assert values["BindReadOnlyPaths"] == ["/home/pi/wattchain"]
    assert "ReadWritePaths" not in values


def test_a_program_in_a_temporary_folder_is_seen() -> None:
    values = settings(render(facts("node", readable=(Path("/tmp/wattchain"), Path("/tmp/wattchain/.venv")))))
    assert values["BindReadOnlyPaths"] == ["/tmp/wattchain"]
    assert values["ProtectHome"] == ["yes"]


@pytest.mark.parametrize(
    "changes",
    [
        {"place": Path("/var/lib/a b")},
        {"place": Path("/var/lib/a\nExecStartPre=/bin/evil")},
        {"program": Path("relative/wattchain")},
        {"place": Path("/var/%h")},
        {"user": "root\nGroup=root"},
        {"user": "Ünal"},
        {"credentials": (("meter-password", Path("/etc/a:b")),)},
    ],
)
def test_names_that_would_say_something_else_to_systemd(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match="cannot"):
        render(facts("node", **changes))
