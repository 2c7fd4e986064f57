"""The kinds of switches that settings can name ([relay], [[circuits]], [saving]): their fields, and who makes each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from meter.gpio import MAX_PIN, load_library
from meter.mqtt import MqttConnection
from meter.mqtt_settings import check_topic
from meter.switches.boards import board_pin
from meter.switches.command import CommandSwitch
from meter.switches.pins import LatchingSwitch, PinSwitch
from meter.switches.shelly import ShellySwitch, TopicSwitch
from meter.switches.simulated import SimulatedSwitch
from meter.switches.switch import Switch
from primitives.errors import UserError
from wallet.settings_file import Range, check_ranges

NO_PIN = -1
MAX_WORDS = 64
"""Of a command."""


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """What any switch may need; which fields count depends on `kind`."""

    kind: str = "simulated"
    pin: int = NO_PIN
    """GPIO number (BCM); of a latching relay the one whose pulse switches on. -1: none."""
    off_pin: int = NO_PIN
    """A latching relay's pin whose pulse switches off; makes the relay a latching one."""
    active_low: bool = False
    """The pin is low while the relay is on."""
    pulse_ms: int = 100
    """How long a latching relay's coil is fed."""
    board: str = ""
    """Name of a board with relays (meter/switches/boards.py)."""
    relay: int = 1
    """Which of the board's relays."""
    device: str = ""
    """A Shelly's MQTT topic prefix."""
    channel: int = 0
    """Which of the Shelly's switches."""
    topic: str = ""
    """MQTT topic that takes on_payload and off_payload."""
    on_payload: str = "ON"
    off_payload: str = "OFF"
    on_command: tuple[str, ...] = ()
    """Program and its arguments, each a word of its own."""
    off_command: tuple[str, ...] = ()
    state_command: tuple[str, ...] = ()
    """May be left out; ends with 0 for on, 1 for off."""
    timeout_s: Decimal = Decimal(10)
    """What a command or a Shelly's answer may take."""

    @property
    def needs_mqtt(self) -> bool:
        return self.kind in ("shelly", "mqtt")


def check_switch(settings: SwitchSettings, where: str) -> None:
    """Raises UserError for settings, of the section `where`, that make no sense together."""
    if settings.kind not in SWITCH_KINDS:
        known = ", ".join(f'"{kind}"' for kind in SWITCH_KINDS)
        raise UserError(f"{where}.kind is {settings.kind!r}; there is {known}")
    ranges: tuple[Range, ...] = (
        (f"{where}.pin", settings.pin, NO_PIN, MAX_PIN),
        (f"{where}.off_pin", settings.off_pin, NO_PIN, MAX_PIN),
        # A coil that needs longer than 2 s to throw over is broken; one fed longer burns.
        (f"{where}.pulse_ms", settings.pulse_ms, 5, 2_000),
        (f"{where}.channel", settings.channel, 0, 100),
        (f"{where}.timeout_s", settings.timeout_s, Decimal("0.1"), 120),
    )
    check_ranges(ranges)
    for command in (settings.on_command, settings.off_command, settings.state_command):
        if len(command) > MAX_WORDS or any("\0" in word for word in command) or (command and not command[0]):
            raise UserError(f'{where}: a command is a list of up to {MAX_WORDS} words such as ["/usr/bin/relay", "on"]')
    _NEEDS[settings.kind](settings, where)


def open_switch(settings: SwitchSettings, connection: MqttConnection | None) -> Switch:
    """A switch of the kind that the settings name; its device is touched by the first order only. Raises UserError."""
    return SWITCH_KINDS[settings.kind](settings, connection)


def used_pins(switches: Mapping[str, SwitchSettings], inputs: Mapping[str, int] | None = None) -> dict[int, str]:
    """GPIO number -> section or setting that uses it. Raises UserError where two use the same.

    `inputs` are pins that something else drives, by the names of their settings; NO_PIN for none.
    """
    used: dict[int, str] = {}
    for where, pins in [
        *((name, [pin]) for name, pin in (inputs or {}).items()),
        *((where, _pins_of(settings)) for where, settings in switches.items()),
    ]:
        for pin in pins:
            if pin == NO_PIN:
                continue
            if pin in used:
                raise UserError(f"{where} and {used[pin]} use the same pin GPIO{pin}: give each a pin of its own")
            used[pin] = where
    return used


def _pins_of(settings: SwitchSettings) -> list[int]:
    if settings.kind == "board":
        return [board_pin(settings.board, settings.relay, settings.pin)[0], settings.off_pin]
    return [settings.pin, settings.off_pin] if settings.kind == "gpio" else []


def _open_simulated(_settings: SwitchSettings, _connection: MqttConnection | None) -> Switch:
    return SimulatedSwitch()


def _open_gpio(settings: SwitchSettings, _connection: MqttConnection | None) -> Switch:
    load_library()
    return _open_pins(settings, settings.pin, active_low=settings.active_low)


def _open_board(settings: SwitchSettings, _connection: MqttConnection | None) -> Switch:
    load_library()
    pin, board_is_active_low = board_pin(settings.board, settings.relay, settings.pin)
    return _open_pins(settings, pin, active_low=board_is_active_low or settings.active_low)


def _open_pins(settings: SwitchSettings, pin: int, *, active_low: bool) -> Switch:
    if settings.off_pin == NO_PIN:
        return PinSwitch(pin, active_low=active_low)
    return LatchingSwitch(pin, settings.off_pin, pulse_s=settings.pulse_ms / 1000, active_low=active_low)


def _open_shelly(settings: SwitchSettings, connection: MqttConnection | None) -> Switch:
    return ShellySwitch(_connected(connection), settings.device, settings.channel, float(settings.timeout_s))


def _open_topic(settings: SwitchSettings, connection: MqttConnection | None) -> Switch:
    return TopicSwitch(
        _connected(connection), settings.topic, settings.on_payload, settings.off_payload, float(settings.timeout_s)
    )


def _open_command(settings: SwitchSettings, _connection: MqttConnection | None) -> Switch:
    return CommandSwitch(settings.on_command, settings.off_command, settings.state_command, float(settings.timeout_s))


def _connected(connection: MqttConnection | None) -> MqttConnection:
    if connection is None:
        raise UserError('a switch of kind "shelly" or "mqtt" needs the section [mqtt] with the broker in the settings')
    return connection


SWITCH_KINDS: dict[str, Callable[[SwitchSettings, MqttConnection | None], Switch]] = {
    "simulated": _open_simulated,
    "gpio": _open_gpio,
    "board": _open_board,
    "shelly": _open_shelly,
    "mqtt": _open_topic,
    "command": _open_command,
}


def _need_pin(settings: SwitchSettings, where: str) -> None:
    if settings.pin == NO_PIN:
        raise UserError(f"{where}.pin is missing: set it to the number of the GPIO pin (17 for GPIO17)")
    _need_two_coils(settings.pin, settings.off_pin, where)


def _need_board(settings: SwitchSettings, where: str) -> None:
    if not settings.board:
        raise UserError(f"{where}.board is missing: set it to the name of the board with the relays")
    pin, _ = board_pin(settings.board, settings.relay, settings.pin)
    if settings.off_pin != NO_PIN and settings.pin == NO_PIN:
        raise UserError(
            f"{where}.off_pin is for a board with latching relays, and {settings.board} has none as far as this "
            f"program knows: leave it out, or set {where}.pin as well"
        )
    _need_two_coils(pin, settings.off_pin, where)


def _need_two_coils(pin: int, off_pin: int, where: str) -> None:
    if pin == off_pin:
        raise UserError(f"{where}.pin and {where}.off_pin are the same: a latching relay has two coils")


def _need_device(settings: SwitchSettings, where: str) -> None:
    _check_topic(settings.device, f"{where}.device")


def _need_topic(settings: SwitchSettings, where: str) -> None:
    _check_topic(settings.topic, f"{where}.topic")


def _need_commands(settings: SwitchSettings, where: str) -> None:
    if not settings.on_command or not settings.off_command:
        raise UserError(f'{where} needs on_command and off_command, lists of words such as ["/usr/bin/relay", "on"]')


def _check_topic(topic: str, name: str) -> None:
    check_topic(topic, name)


_NEEDS: dict[str, Callable[[SwitchSettings, str], None]] = {
    "simulated": lambda _settings, _where: None,
    "gpio": _need_pin,
    "board": _need_board,
    "shelly": _need_device,
    "mqtt": _need_topic,
    "command": _need_commands,
}
