"""deploy/prepare-pi.sh on a folder that is laid out as a Raspberry Pi OS is; it is run as a person would run it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from node.install_service import SYSUSERS

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "prepare-pi.sh"
CONFIG = """\
# For more options and information see
# http://rptl.io/configtxt
dtparam=audio=on
camera_auto_detect=1

[cm4]
otg_mode=1

[all]
"""
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait\n"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")


def raspberry_pi_os(
    folder: Path, *, boot: str = "boot/firmware", architecture: str = "arm64", python: str = "3.11"
) -> Path:
    files = {
        f"{boot}/config.txt": CONFIG,
        f"{boot}/cmdline.txt": CMDLINE,
        "var/lib/dpkg/status": f"Package: bash\nArchitecture: all\n\nPackage: dpkg\nArchitecture: {architecture}\n\n",
        "etc/fstab": "PARTUUID=4e639091-02  /  ext4  defaults,noatime  0  1\n",
        f"usr/bin/python{python}": "#!/bin/sh\n",
    }
    for name, content in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "root" / f"usr/bin/python{python}").chmod(0o755)
    return folder / "root"


def prepare(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, "--root", root, *options], capture_output=True, text=True, check=False, timeout=60
    )


def tree(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_text()
    return found


def test_bash_understands_it() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert SCRIPT.stat().st_mode & 0o111


@pytest.mark.parametrize("boot", ["boot/firmware", "boot"])
def test_the_serial_port_is_freed(tmp_path: Path, boot: str) -> None:
    root = raspberry_pi_os(tmp_path, boot=boot)
    done = prepare(root)
    assert done.returncode == 0, done.stdout + done.stderr
    files = tree(root)
    assert files[f"{boot}/config.txt"].startswith(CONFIG)
    added = files[f"{boot}/config.txt"].removeprefix(CONFIG).splitlines()
    assert added[1:6] == ["[all]", "enable_uart=1", "dtoverlay=disable-bt", "[pi5]", "dtparam=uart0=on"]
    assert files[f"{boot}/cmdline.txt"] == CMDLINE.removeprefix("console=serial0,115200 ")
    assert files["etc/systemd/system/serial-getty@ttyAMA0.service"] == "-> /dev/null"
    assert files["etc/systemd/system/hciuart.service"] == "-> /dev/null"
    # What was there before is kept.
    assert files[f"{boot}/config.txt.before-wattchain"] == CONFIG
    assert files[f"{boot}/cmdline.txt.before-wattchain"] == CMDLINE


def test_a_last_line_that_does_not_end_stays_what_it_is(tmp_path: Path) -> None:
    root = raspberry_pi_os(tmp_path)
    config = root / "boot/firmware/config.txt"
    config.write_text("[all]\ndtoverlay=vc4-kms-v3d")
    for _ in range(2):
        assert prepare(root).returncode == 0
    assert config.read_text().startswith("[all]\ndtoverlay=vc4-kms-v3d\n# wattchain begin")
    assert config.read_text().count("# wattchain begin") == 1


def test_what_cannot_be_read_whole_is_not_written(tmp_path: Path) -> None:
    """Half a config.txt could be a Pi that does not start any more."""
    root = raspberry_pi_os(tmp_path)
    config = root / "boot/firmware/config.txt"
    config.write_text(CONFIG + "# wattchain begin\ndtoverlay=my-own\n")
    before = config.read_text()
    done = prepare(root)
    assert done.returncode == 2
    assert 'a line "# wattchain begin" or "# wattchain end" is missing' in done.stderr
    assert config.read_text() == before


def test_the_card_is_spared_and_the_user_is_the_services_own(tmp_path: Path) -> None:
    root = raspberry_pi_os(tmp_path)
    prepare(root)
    files = tree(root)
    assert "Storage=volatile" in files["etc/systemd/journald.conf.d/wattchain.conf"]
    assert "vm.swappiness = 1" in files["etc/sysctl.d/90-wattchain.conf"]
    assert "RuntimeWatchdogSec=14" in files["etc/systemd/system.conf.d/wattchain.conf"]
    # As install-service writes it: neither undoes what the other did.
    assert files["etc/sysusers.d/wattchain.conf"] == SYSUSERS


@pytest.mark.parametrize("options", [(), ("--keep-bluetooth", "--keep-logs"), ("--no-serial",)])
def test_the_second_time_changes_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    root = raspberry_pi_os(tmp_path)
    first = prepare(root, *options)
    assert "changes were made" in first.stdout
    before = tree(root)
    second = prepare(root, *options)
    assert second.returncode == 0
    assert "Every file was as it should be." in second.stdout
    assert "changed:" not in second.stdout
    assert tree(root) == before


def test_another_mind_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    root = raspberry_pi_os(tmp_path)
    prepare(root)
    prepare(root, "--keep-bluetooth")
    config = tree(root)["boot/firmware/config.txt"]
    assert config.count("wattchain begin") == 1
    assert "dtoverlay=miniuart-bt" in config
    assert "disable-bt" not in config
    assert tree(root)["boot/firmware/config.txt.before-wattchain"] == CONFIG  # still the first


def test_a_dry_run_changes_nothing_and_says_everything(tmp_path: Path) -> None:
    root = raspberry_pi_os(tmp_path)
    before = tree(root)
    done = prepare(root, "--dry-run")
    assert done.returncode == 0
    assert tree(root) == before
    assert "would change: /boot/firmware/config.txt" in done.stdout
    assert f"{done.stdout.count('would change: ')} changes would be made" in done.stdout


def test_without_a_board_the_port_is_left(tmp_path: Path) -> None:
    root = raspberry_pi_os(tmp_path)
    prepare(root, "--no-serial")
    assert tree(root)["boot/firmware/config.txt"] == CONFIG
    assert tree(root)["boot/firmware/cmdline.txt"] == CMDLINE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "armhf"}, "32-bit"),
        ({"python": "3.9"}, "Python 3.9 is too old"),
    ],
)
def test_systems_that_will_not_do(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    root = raspberry_pi_os(tmp_path, **changes)
    before = tree(root)
    done = prepare(root)
    assert done.returncode == 2
    assert message in done.stderr
    assert tree(root) == before


def test_other_mistakes(tmp_path: Path) -> None:
    assert "there is no Raspberry Pi OS" in prepare(tmp_path).stderr
    assert "there is no folder" in prepare(tmp_path / "none").stderr
    unknown = prepare(tmp_path, "--fast")
    assert unknown.returncode == 2
    assert "unknown option --fast" in unknown.stderr
    root = raspberry_pi_os(tmp_path)
    (root / "boot/firmware/config.txt").unlink()
    assert "there is no config.txt" in prepare(root).stderr
