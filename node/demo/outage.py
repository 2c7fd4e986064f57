"""The demo's power cut: one node is killed in the midst of everything, and comes back later."""

from enum import Enum, auto

from node.demo.network import DemoNetwork
from node.demo.observation import View
from node.demo.screen import Screen
from node.demo.stage import Stage

OFF_AT, ON_AT = 12, 5
"""Off after a twelfth of the hours, on again after a fifth of them: at night, from two to five."""


class _Act(Enum):
    BEFORE = auto()
    OFF = auto()
    OVER = auto()


class Outage:
    """Strikes the node that the second home's meter talks to."""

    def __init__(self, stage: Stage, network: DemoNetwork, screen: Screen) -> None:
        self._household = stage.households[1]
        self._node = stage.node_of(self._household)
        self._network = network
        self._screen = screen
        self._act = _Act.BEFORE

    async def follow(self, view: View) -> None:
        """Do what is due at this point of the play."""
        readings = view.home(self._household).readings
        rows = len(self._household.profile.net_wh)
        if self._act is _Act.BEFORE and readings * OFF_AT >= rows:
            await self._network.kill(self._node)
            self._act = _Act.OFF
            self._screen.event(
                f"{self._node.name} loses its power. The meter of {self._household.name} goes on with another node, "
                "the other three nodes go on making blocks."
            )
        elif self._act is _Act.OFF and readings * ON_AT >= rows:
            await self.end()

    async def end(self) -> None:
        """The power is back, where it was off."""
        if self._act is _Act.OFF:
            self._act = _Act.OVER
            await self._network.start(self._node)
            self._screen.event(f"{self._node.name} has power again, and fetches the blocks that it missed.")
