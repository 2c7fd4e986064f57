"""What a long-running command tells systemd, where systemd started it: ready, alive, stopping, and one line of status.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the socket that $NOTIFY_SOCKET names. Where there is no
such socket nobody listens, and every call does nothing. A command that runs well must not end because of whoever
watches it, so no call raises.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

# What `systemctl status` shows on one line of a terminal.
MAX_STATUS_CHARACTERS = 200
# Alive is told this many times within the time after which systemd would restart the command, as sd_watchdog advises.
PINGS_A_TIMEOUT = 2


class ServiceManager:
    """The manager of this process; one that is absent hears nothing."""

    def __init__(self, address: str = "", watchdog_timeout_s: float | None = None) -> None:
        self.watchdog_timeout_s = watchdog_timeout_s
        """After so long without `alive` the manager restarts this process; None where it does not watch."""
        # A name that begins with @ is in Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._last_status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServiceManager":
        """Values that make no sense are as good as absent."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        timeout = environment.get("WATCHDOG_USEC", "")
        # The variables are inherited; the watchdog is meant for the process that it names.
        is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        is_number = timeout.isascii() and timeout.isdigit() and len(timeout) < 16
        watches = is_for_us and is_number and int(timeout) > 0
        return cls(address, int(timeout) / 1_000_000 if watches else None)

    @property
    def ping_interval_s(self) -> float | None:
        """How often to say `alive`; None where nobody watches."""
        return None if self.watchdog_timeout_s is None else self.watchdog_timeout_s / PINGS_A_TIMEOUT

    @property
    def is_present(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The command does from now on what it is for."""
        self._tell("READY=1", f"STATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        if status != self._last_status:
            self._last_status = status
            self._tell(f"STATUS={_one_line(status)}")

    def alive(self) -> None:
        """To be said only where the work really goes on."""
        if self.watchdog_timeout_s is not None:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=stopping")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # Not blocking: a manager that does not read must not hold up what it watches.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.setblocking(False)
            out.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_STATUS_CHARACTERS]
