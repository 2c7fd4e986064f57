"""A real MQTT broker (mosquitto) on a free port of this machine, for tests: started, stopped, frozen, begun again.

Tests ask for the fixture `broker` (tests/meter/conftest.py); they are skipped where mosquitto is not installed.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
HOST = "127.0.0.1"
# It is there within 20 ms; a machine that does everything at once may need a while.
READY_TIMEOUT_S = 15.0


class Broker:
    """One mosquitto process and its folder. Ended by its process id alone."""

    def __init__(self, folder: Path, passwords: dict[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} {HOST}", "persistence false", "user root", "log_dest stderr"]
        if passwords is None:
            lines.append("allow_anonymous true")
        else:
            lines += ["allow_anonymous false", f"password_file {_password_file(folder, passwords)}"]
        lines += options
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")

    async def start(self) -> None:
        """Returns when it takes connections."""
        self._process = self._spawn()
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                if self._process.poll() is not None:
                    raise RuntimeError((self.folder / "mosquitto.log").read_text(errors="replace"))
                try:
                    _, writer = await asyncio.open_connection(HOST, self.port)
                except OSError:
                    await asyncio.sleep(0.01)  # nothing tells when a process begins to listen
                    continue
                writer.close()
                await writer.wait_closed()
                return

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert MOSQUITTO is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            return subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=log)

    def stop(self) -> None:
        """As a power cut ends it: nothing is said to anybody."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing any more; `stop` ends it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def client(self, **options: object) -> aiomqtt.Client:
        """A client of this broker for the test's own part; enter it before use."""
        return aiomqtt.Client(HOST, self.port, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def running_broker(
    folder: Path, passwords: dict[str, str] | None = None, options: Sequence[str] = ()
) -> AsyncIterator[Broker]:
    """A broker until the block ends; with passwords of users it lets nobody else in. More lines of its settings."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = Broker(folder, passwords, options)
    try:
        await broker.start()
    except RuntimeError:  # another test took the port in the meantime
        broker = Broker(folder, passwords, options)
        await broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _password_file(folder: Path, passwords: dict[str, str]) -> Path:
    path = folder / "passwords"
    path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
    path.chmod(0o600)
    assert MOSQUITTO is not None
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed: apt-get install mosquitto")
    subprocess.run([tool, "-U", str(path)], check=True)
    return path
