"""Node, meter and agent as services of a real systemd: `make test-systemd`, as root, with Debian's systemd-container.

A container is booted whose root is this system with a layer of memory above it, so nothing here is changed. In it all
are installed by `wattchain install-service`, looked at, killed, frozen, installed again and uninstalled.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BOOT_TIMEOUT_S = 60.0
WAIT_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.2
PROGRAM = Path("/opt/wattchain-test/bin/wattchain")
METER_SETTINGS = Path("/var/lib/wattchain/meter/meter.toml")
AGENT_SETTINGS = Path("/var/lib/wattchain/agent/agent.toml")
OPERATOR = "0x" + "11" * 20
AGENT = f"""
[account]
key = "keys/owner.json"
[ledger]
chain_id = 1947
[agent]
meter = "{OPERATOR}"
least_ask_price = 0.1
greatest_energy_per_day = 5
dry_run = false
interval_s = 10
"""


def main() -> int:
    if "--inside" in sys.argv:
        inside()
        return 0
    if os.geteuid() != 0:
        print("This boots a container: run it as root.")
        return 2
    if shutil.which("systemd-nspawn") is None or shutil.which("nsenter") is None:
        print("systemd-nspawn is missing. Install it with: sudo apt-get install systemd-container")
        return 2
    with container() as leader:
        command = ["nsenter", "-t", str(leader), "-a", sys.executable, "-m", "tests.systemd", "--inside"]
        environment = {**os.environ, "HOME": "/root", "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(["env", f"--chdir={REPOSITORY}", *command], env=environment, check=False).returncode


@contextlib.contextmanager
def container() -> Iterator[int]:
    """A booted container; the process id of its systemd."""
    bound = {str(Path(path).resolve()) for path in (REPOSITORY, sys.prefix, sys.base_prefix)}
    with tempfile.TemporaryDirectory(prefix="systemd-test-") as root:
        nspawn = [
            *("systemd-nspawn", "--register=no", "--keep-unit", "--quiet", f"--directory={root}", "--volatile=overlay"),
            *("--private-network", "--machine=wattchain-test", "--console=pipe"),
            *(f"--bind-ro={path}" for path in sorted(bound)),
            *("--boot", "systemd.unit=basic.target"),
        ]
        script = f'mount --make-rprivate / && mount --bind / {root} && exec "$@"'
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield wait_for("the container to boot", lambda: _booted(process), BOOT_TIMEOUT_S)
        finally:
            process.send_signal(signal.SIGTERM)  # systemd-nspawn powers the container off
            try:
                process.wait(WAIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _booted(process: "subprocess.Popen[bytes]") -> int | None:
    if process.poll() is not None:
        raise AssertionError(f"the container ended with status {process.returncode}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if not children:
        return None
    state = subprocess.run(
        ["nsenter", "-t", children[0], "-a", "/bin/systemctl", "is-system-running"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return int(children[0]) if state in ("running", "degraded") else None


def inside() -> None:
    """In the container."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    PROGRAM.parent.mkdir(parents=True)
    PROGRAM.write_text(f'#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\nexec {sys.executable} -m node "$@"\n')
    PROGRAM.chmod(0o755)
    password = Path("/root/password")
    password.write_text("secret\n")
    password.chmod(0o600)

    wattchain(
        "init",
        "--data-dir",
        "/var/lib/wattchain/node",
        "--operator",
        OPERATOR,
        "--consensus",
        "qbft",
        "--chain-id",
        1947,
    )
    install("node")
    wait_for("the node's line of status", lambda: "block 0" in shown("node", "StatusText") or None)
    said("The node is a service, ready and active.")

    driver = ("--driver", "simulated-home", "--set", "driver.interval_s=1", "--live", "0", "--no-relay")
    wattchain("meter", "setup", "--yes", "--settings", METER_SETTINGS, *driver, "--password-file", password)
    text = METER_SETTINGS.read_text()
    METER_SETTINGS.write_text(re.sub("^password_file.*$", "", text, flags=re.MULTILINE))
    install("meter", "--credential", f"meter-password={password}")
    wait_for("a sample in the meter's line of status", lambda: " Wh taken" in shown("meter", "StatusText") or None)
    said("The meter is a service: it has its password from systemd, and measures.")

    wattchain(
        "wallet", "new", "--name", "owner", "--keystore", AGENT_SETTINGS.parent / "keys", "--password-file", password
    )
    key_file = next((AGENT_SETTINGS.parent / "keys").glob("*"))
    AGENT_SETTINGS.write_text(AGENT.replace("owner.json", key_file.name))
    install("agent", "--credential", f"account-password={password}")
    wait_for("the agent's line of status", lambda: "decide" in shown("agent", "StatusText") or None)
    assert shown("agent", "ActiveState") == "active"
    said("The agent is a service: it has its password from systemd, asks the node, and says why it does nothing.")

    assert "done" not in install("meter"), "a second installation changed something"
    said("A second installation changes nothing.")

    before = shown("meter", "MainPID")
    os.kill(int(before), signal.SIGKILL)
    wait_for("the meter to be back", lambda: shown("meter", "MainPID") not in ("0", before) or None)
    wait_for("the meter to measure again", lambda: " Wh taken" in shown("meter", "StatusText") or None)
    assert list(Path("/run/wattchain-meter").glob("*.state")), "the state between readings is gone"
    said("Killed, the meter is started again, and what it kept in memory is there.")

    for kind in ("node", "meter", "agent"):
        override = Path(f"/etc/systemd/system/wattchain-{kind}.service.d/test.conf")
        override.parent.mkdir()
        override.write_text("[Service]\nWatchdogSec=4\nRestartSec=1\n")
        systemctl("daemon-reload")
        systemctl("restart", f"wattchain-{kind}")
        os.kill(int(shown(kind, "MainPID")), signal.SIGSTOP)
        wait_for("the watchdog", lambda: shown(kind, "NRestarts") == "1" or None)  # noqa: B023
        wait_for(f"the {kind} to be back", lambda: shown(kind, "ActiveState") == "active" or None)  # noqa: B023
        said(f"Frozen, the {kind} is ended by the watchdog and started again.")

    for kind in ("node", "meter", "agent"):
        status = Path(f"/proc/{shown(kind, 'MainPID')}/status").read_text()
        for line in ("CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            assert line in status, f"{line} is not in force"
        assert shown(kind, "User") == "wattchain"
    said("They run as wattchain, without capabilities, with a filter of system calls.")

    for kind in ("agent", "meter", "node"):
        wattchain("install-service", kind, "--uninstall")
        assert not Path(f"/etc/systemd/system/wattchain-{kind}.service").exists()
    assert shown("meter", "ActiveState") == "inactive"
    assert METER_SETTINGS.exists()
    assert AGENT_SETTINGS.exists()
    said("All are uninstalled; their data are still there.")


def install(kind: str, *options: object) -> str:
    """What was said."""
    return wattchain("install-service", kind, "--program", PROGRAM, *options)


def wattchain(*arguments: object) -> str:
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"wattchain {arguments}: {done.stderr}"
    return done.stderr


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=True)


def shown(kind: str, name: str) -> str:
    command = ["systemctl", "show", "--value", f"--property={name}", f"wattchain-{kind}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(what: str, found: "Callable[[], int | bool | None]", timeout_s: float = WAIT_TIMEOUT_S) -> int:
    """What `found` finds, as soon as it is not None: another process's doing, of which nobody tells."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if (answer := found()) is not None:
            return int(answer)
        time.sleep(POLL_INTERVAL_S)
    states = [
        f"{kind}: {shown(kind, 'ActiveState')}, {shown(kind, 'StatusText')}" for kind in ("node", "meter", "agent")
    ]
    raise AssertionError(f"waited {timeout_s:.0f} s for {what}; {'; '.join(states)}")


def said(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
