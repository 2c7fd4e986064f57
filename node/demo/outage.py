"""The demo's power cut: one node is killed in the midst of everything, and comes back later."""

from enum import Enum, auto

from node.demo.network import DemoNetwork
from node.demo.observation import View
from node.demo.screen import Screen
from node.demo.stage import Household, Stage

OFF_AT, ON_AT = 3, 2
"""Off after a third of the hours, on again after half of them."""


class _Act(Enum):
    BEFORE = auto()
    OFF = auto()
    OVER = auto()


class Outage:
    """Strikes the node that the last household's meter talks to."""

    def __init__(self, stage: Stage, network: DemoNetwork, screen: Screen) -> None:
        self._household = stage.households[-1]
        self._node = stage.nodes[len(stage.households) - 1]
        self._network = network
        self._screen = screen
        self._act = _Act.BEFORE

    async def follow(self, view: View) -> None:
        """Do what is due at this point of the play."""
        readings = next(home.readings for home in view.households if home.name == self._household.name)
        hours = _hours(self._household)
        if self._act is _Act.BEFORE and readings * OFF_AT >= hours:
            await self._network.kill(self._node)
            self._act = _Act.OFF
            self._screen.event(
                f"{self._node.name} loses its power. The meter of {self._household.name} goes on with another node, "
                "the other three nodes go on making blocks."
            )
        elif self._act is _Act.OFF and readings * ON_AT >= hours:
            await self.end()

    async def end(self) -> None:
        """The power is back, where it was off."""
        if self._act is _Act.OFF:
            self._act = _Act.OVER
            await self._network.start(self._node)
            self._screen.event(f"{self._node.name} has power again, and fetches the blocks that it missed.")


def _hours(household: Household) -> int:
    return len(household.profile_wh)
