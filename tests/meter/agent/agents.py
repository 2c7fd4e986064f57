"""Agents over a trading node: made as the command makes them, and restarted as a power cut does it."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from contracts.addresses import AUCTION_ADDRESS, MARKET_ADDRESS
from meter.agent.asking import Asker
from meter.agent.decisions import Decision
from meter.agent.journal import Journal
from meter.agent.limits import Limits
from meter.agent.runner import Runner
from tests.meter.agent.trading_node import CHAIN_ID, HOUR_S, Home, TradingNode, key_of

KWH = 1_000
WATT = 10**18
LIMITS = Limits(
    least_ask_wei_per_wh=10**14,
    greatest_bid_wei_per_wh=4 * 10**14,
    greatest_energy_wh=20 * KWH,
    greatest_spend_wei=5 * WATT,
    reserve_permille=200,
    markets=("market",),
    payout_from_wei=WATT // 10,
    least_days=7,
)


class Agent:
    """One home's agent; `restart` forgets all that is not on the disk."""

    def __init__(self, node: TradingNode, home: Home, folder: Path, limits: Limits = LIMITS, *, trial: bool = False):
        self.node, self.home, self.limits, self.trial = node, home, limits, trial
        self.folder = folder / home.name
        self._open = ExitStack()
        self.restart()

    def restart(self) -> None:
        self._open.close()
        self.journal = self._open.enter_context(Journal(self.folder / "agent.sqlite", CHAIN_ID, self.home.owner))
        self.asker = Asker(self.home.owner, self.home.meter, self.folder / "keys", 2)
        key = None if self.trial else key_of(self.home.name)
        self.runner = Runner(
            self.node.client, self.asker, self.journal, self.limits, key, self.node.clock,
            chain_id=CHAIN_ID, confirmations=2,
        )  # fmt: skip

    def close(self) -> None:
        self._open.close()

    def use(self, **changed: object) -> None:
        """Other limits from now on."""
        self.limits = replace(self.limits, **changed)  # type: ignore[arg-type]
        self.restart()

    async def round(self) -> list[Decision]:
        return await self.runner.round()

    @property
    def told(self) -> list[str]:
        """What it has said, in order: the codes."""
        return [one.code for one in reversed(self.journal.decisions(1_000))]

    @property
    def texts(self) -> list[str]:
        return [one.text for one in reversed(self.journal.decisions(1_000))]


class World:
    def __init__(self, node: TradingNode, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.agents: list[Agent] = []
        self.solar, self.home = node.homes[:2]
        self.begun_s = node.now_s

    def agent(self, home: Home, **changed: object) -> Agent:
        agent = Agent(self.node, home, self.folder)
        if changed:
            agent.use(**changed)
        self.agents.append(agent)
        return agent

    async def hours(self, hours: int, *agents: Agent, a_hour: int = 1) -> None:
        """Time passes, and the agents look so often in each hour."""
        for _ in range(hours):
            for number in range(a_hour):
                if number:
                    self.node.tick(HOUR_S // a_hour)
                for agent in agents:
                    await agent.round()
            self.node.pass_hours(1)

    def whole_wei(self) -> int:
        people = [one.owner for one in self.node.homes]
        return sum(self.node.balance_of(one) for one in (*people, MARKET_ADDRESS, AUCTION_ADDRESS))
