"""What settings of meters that talk by themselves have in common: a serial line, or a box in the network before it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal

from meter.serial_line import DEFAULT_PORT, PortSettings, SerialPort
from meter.tcp_line import TcpLine, TcpSettings, Wire
from primitives.clock import Clock
from wallet.settings_file import check_ranges


@dataclass(frozen=True, slots=True)
class WireSettings(ABC):
    """[driver]: a meter that talks by itself; each kind has its own `kind`, interval and silence."""

    kind: str
    port: str = DEFAULT_PORT
    host: str = ""
    """A box in the network that passes the bytes on, instead of `port`."""
    tcp_port: int = 23
    interval_s: Decimal = Decimal(10)
    """How often it tells something."""
    silence_s: Decimal = Decimal(60)

    @abstractmethod
    def serial(self) -> PortSettings:
        """How its serial line is set."""

    def wire(self, clock: Clock) -> Wire:
        return TcpLine(self._tcp(), clock) if self.host else SerialPort(self.serial(), clock)

    def check_wire(self) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges((("driver.interval_s", self.interval_s, Decimal("0.5"), 3600),))
        if self.host:
            self._tcp().check()
        else:
            self.serial().check()
            check_ranges(self.serial().ranges())

    def _tcp(self) -> TcpSettings:
        return TcpSettings(self.host, self.tcp_port, self.silence_s)
