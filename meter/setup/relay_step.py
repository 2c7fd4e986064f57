"""The relay's step of `wattchain meter setup`: which switch there is, and whether it clicks when it should.

Nothing is switched before the person agreed: the lights of a home may hang on it. Whether it clicked only a person can
say; a switch that tells its own state is asked as well.
"""

import contextlib
import dataclasses
import signal
from dataclasses import dataclass
from typing import Any

from meter.setup.broker import ask_broker, connected
from meter.setup.person import Person, handling
from meter.setup.sections import Chosen, parse_value
from meter.switches.catalogue import SwitchSettings, check_switch, open_switch
from meter.switches.switch import Switch, SwitchTrouble
from primitives.clock import Clock
from primitives.errors import UserError

RELAY = "relay"
OFF_S = 3.0
"""Long enough to see that the lights are off, too short for a freezer to notice."""
KINDS = (
    ("gpio", "a relay at a GPIO pin of this Pi"),
    ("board", "a relay board on the Pi's header"),
    ("shelly", "a Shelly, over MQTT"),
    ("mqtt", "another switch that obeys MQTT messages"),
    ("command", "a program that switches"),
    ("simulated", "none yet: only pretend to switch"),
)
ASKED = {
    "gpio": ("pin", "active_low"),
    "board": ("board", "relay", "pin"),
    "shelly": ("device", "channel"),
    "mqtt": ("topic",),
    "command": ("on_command", "off_command"),
    "simulated": (),
}


@dataclass(frozen=True, slots=True)
class RelayTest:
    """What came of the test."""

    clicked: bool | None
    """As the person said, or the switch itself where nobody was asked; None where it was not tried."""
    trouble: str = ""


class RelayStep:
    def __init__(self, person: Person, chosen: Chosen, clock: Clock, wanted: bool | None, *, does_test: bool) -> None:
        """`wanted` says whether there is a relay at all; None asks. `does_test` clicks it without a question."""
        self._person = person
        self._chosen = chosen
        self._clock = clock
        self._wanted = wanted
        self._does_test = does_test

    async def run(self) -> RelayTest | None:
        """Raises UserError."""
        person, chosen = self._person, self._chosen
        is_named = bool(chosen.values[RELAY])
        question = "   Is there a relay that is to switch the supply as the ledger says?"
        if not (is_named or self._wanted) and (
            self._wanted is False or not person.agrees(question, usual=False, option="--relay or --no-relay")
        ):
            chosen.values[RELAY].clear()
            chosen.set(RELAY, "enabled", False)
            person.tell("   No relay: the meter measures and leaves the supply alone.")
            return None
        if chosen.get(RELAY, "kind") is None:
            kind = person.choice("   Which", KINDS, usual=None, option="--set relay.kind=KIND")
            chosen.set(RELAY, "kind", kind)
        while True:
            self._ask_settings()
            test = await self._try()
            is_well = test.clicked is not False and not test.trouble
            if is_well or not person.agrees("   Change its settings and try again?", usual=False):
                return test
            for name in ASKED.get(str(chosen.get(RELAY, "kind")), ()):
                chosen.values[RELAY].pop(name, None)

    async def _try(self) -> RelayTest:
        """Raises UserError where nobody is there to put wrong settings right."""
        settings = self._settings()
        try:
            check_switch(settings, RELAY)
        except UserError as error:
            if self._person.yes:
                raise
            self._person.tell(f"   That cannot be: {error}")
            return RelayTest(None, str(error))
        if settings.needs_mqtt:
            ask_broker(self._person, self._chosen)
        return await self._test(settings)

    def _ask_settings(self) -> None:
        kind = self._chosen.kind_of(RELAY)
        for name in ASKED.get(str(self._chosen.get(RELAY, "kind")), ()):
            if self._chosen.get(RELAY, name) is None:
                usual = next(item.default for item in dataclasses.fields(kind) if item.name == name)
                self._ask_setting(kind, name, usual)

    def _ask_setting(self, kind: type, name: str, usual: Any) -> None:
        value = self._person.answer(
            f"   {_QUESTIONS.get(name, name.replace('_', ' '))}",
            lambda typed: parse_value(kind, RELAY, name, _as_boolean(typed) if isinstance(usual, bool) else typed),
            usual=None if usual in ("", (), -1) and not self._person.yes else _shown(usual),
            option=f"--set relay.{name}=VALUE",
        )
        if value != usual:
            self._chosen.set(RELAY, name, value)

    def _settings(self) -> SwitchSettings:
        names = {item.name for item in dataclasses.fields(SwitchSettings)}
        return SwitchSettings(**{name: value for name, value in self._chosen.values[RELAY].items() if name in names})  # type: ignore[arg-type]

    async def _test(self, settings: SwitchSettings) -> RelayTest:
        """Off and on again."""
        person = self._person
        if not self._does_test and not person.agrees(
            f"   Try it now? THE SUPPLY BEHIND IT GOES OFF for {OFF_S:.0f} seconds, then on.",
            usual=False,
            option="--test-relay",
        ):
            return RelayTest(None)
        try:
            async with connected(self._chosen, self._clock) as connection:
                confirmed = await self._click(open_switch(settings, connection))
        except (SwitchTrouble, UserError) as error:
            person.tell(f"   That did not work: {error}.")
            return RelayTest(False, str(error))
        if person.yes:
            return RelayTest(confirmed)
        clicked = person.agrees("   Did it click, and was the supply off while it said so?", usual=True)
        if not clicked:
            person.tell(
                "   Look at the pin's number (as the Pi's makers count, not the place on the header), at the relay's\n"
                "   own power, and try active_low: many relay boards switch on while their pin is low."
            )
        return RelayTest(clicked)

    async def _click(self, switch: Switch) -> bool | None:
        """What the switch says of itself. Raises SwitchTrouble, UserError."""
        try:
            # The person's own connection may hang on the supply; the wizard must live to switch it on again.
            with handling(signal.SIGHUP, signal.SIG_IGN):
                said = [await self._set(switch, is_on=False)]
                try:
                    await self._clock.sleep_s(OFF_S)
                finally:
                    said.append(await self._set(switch, is_on=True))
        finally:
            with contextlib.suppress(SwitchTrouble):
                await switch.close()
        return None if None in said else all(said)

    async def _set(self, switch: Switch, *, is_on: bool) -> bool | None:
        """Whether the switch says that it is in that state; None where it cannot tell."""
        await switch.set(is_on)
        self._person.tell(f"   The relay is {'on' if is_on else 'OFF'}.")
        state = await switch.state()
        return None if state is None else state == is_on


_QUESTIONS = {
    "pin": "GPIO number of the pin (17 is GPIO17)",
    "active_low": "Is the relay on while its pin is low? (true or false)",
    "board": "Name of the board",
    "relay": "Which of its relays",
    "device": "The Shelly's MQTT topic prefix",
    "channel": "Which of the Shelly's switches",
    "topic": "MQTT topic that it obeys",
    "on_command": "Program that switches on, with commas between its words",
    "off_command": "Program that switches off, with commas between its words",
}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _as_boolean(text: str) -> str:
    return {"y": "true", "n": "false"}.get(text.lower(), text)
