"""Several nodes, none of them believed: which of them can be followed, and what they prove about accounts.

A node that is found out lying is named, with the reason, and not asked again; one that is behind, or gone, is named
too, and asked again at the next occasion.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from chain.config import ChainConfig
from chain.consensus.qbft.certificate import decode_certificate
from chain.header import Header
from chain.header_rules import BlockFromFuture
from primitives.errors import Invalid, UserError
from wallet.client import NodeUnreachable, RpcError
from wallet.light.follower import DeepFork, Follower, OtherChain, Progress, ReceiptsMissing, Standing
from wallet.light.proofs import InvalidProof, ProvedAccount, check_answer
from wallet.light.source import Source
from wallet.light.store import LightStore, Record
from wallet.light.trust import Trust

MAX_NODES = 16
"""Asked one after another; more do not make the answer truer."""
TURN_TIME_S = 60.0
"""How long one node may be followed while others wait: a million headers on a good line. One that dribbles shall not
keep what the others know from being learnt."""
MAX_ATTEMPTS = 3
"""How often a proof is asked for again at a newer block, where nodes no longer keep the state of the old one."""
STALE_PERIODS = 5
"""So many times the longest pause between two blocks, and news is probably withheld, or the network stands still."""
MIN_STALE_S = 60
"""And this long at least: a round of votes may fail, and a command takes seconds to start on a Pi."""
MARK_EVERY_S = 60
"""How often it is written down that there was nothing new: a client that watches shall not wear out an SD card."""
POW_PAUSE_S = 120
"""With proof of work blocks come at random; nodes by default mine an empty one every minute."""


class Verdict(Enum):
    """What came of asking a node."""

    FOLLOWED = "followed"
    BEHIND = "behind"
    LIES = "lies"
    OTHER_CHAIN = "another chain"
    DEEP_FORK = "another branch"
    REFUSES = "refuses"
    CLOCK = "in the future"
    UNREACHABLE = "unreachable"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as it was last seen."""

    name: str
    verdict: Verdict
    remark: str
    """A sentence; empty where all is well."""

    @property
    def is_usable(self) -> bool:
        """Whether it has the newest block, and so can prove something about it."""
        return self.verdict in (Verdict.FOLLOWED, Verdict.CLOCK)


@dataclass(frozen=True, slots=True)
class Proof:
    """Accounts as they are in the state after one proved block."""

    header: Header
    accounts: Mapping[bytes, ProvedAccount]
    proved_by: str
    """The node that handed out the proofs."""
    confirmations: int
    """It, and the blocks on top of it."""
    is_final: bool
    """Whether nothing can replace it any more, as far as the chain's rules go."""


class LightClient:
    """One chain, followed by several nodes."""

    def __init__(self, trust: Trust, store: LightStore, follower: Follower, sources: Sequence[Source]) -> None:
        if not 0 < len(sources) <= MAX_NODES:
            raise UserError(f"From 1 to {MAX_NODES} nodes can be asked, not {len(sources)}.")
        self._trust = trust
        self._store = store
        self._follower = follower
        self._sources = list(sources)
        self.reports: dict[str, NodeReport] = {}
        """By the name of the node, in the order in which they were asked."""

    @property
    def config(self) -> ChainConfig:
        return self._trust.config

    @property
    def record(self) -> Record:
        return self._store.record()

    async def sync(self, progress: Progress | None = None) -> Record:
        """Ask every node for what is new. `reports` then tell what each was worth. Raises SealedTwice."""
        self.reports = {name: one for name, one in self.reports.items() if one.verdict is Verdict.LIES}
        sources = [source for source in self._sources if source.name not in self.reports]
        claims = await asyncio.gather(*[self._claim(source) for source in sources])
        # Who claims most is asked first, so that most work is done once; what is believed does not depend on it.
        order = sorted(zip(claims, sources, strict=True), key=lambda pair: -pair[0])
        left = [source for claim, source in order if claim >= 0]
        slow: list[Source] = []
        while left:
            source = left.pop(0)
            try:
                async with asyncio.timeout(TURN_TIME_S if left or self._is_one_followed() else None):
                    self._report(source, *await self._follow(source, progress))
            except TimeoutError:
                slow.append(source)
                self._report(source, Verdict.SLOW, f"what it has takes more than {TURN_TIME_S:g} seconds")
        for source in [] if self._is_one_followed() else slow:
            self._report(source, *await self._follow(source, progress))
        self._mark(all_compared=not slow)
        return self.record

    async def prove(
        self, wanted: Mapping[bytes, Sequence[int]], confirmations: int = 1, progress: Progress | None = None
    ) -> Proof:
        """These accounts and slots of them, all after the same block: the newest that has so many confirmations.

        It synchronises first. Raises UserError where no node can prove them, SealedTwice.
        """
        reasons: dict[str, str] = {}
        for _ in range(MAX_ATTEMPTS):
            head = (await self.sync(progress)).head
            header = self._header_below(head, confirmations)
            for source in self._usable():
                accounts = await self._ask(source, header, wanted, reasons)
                if accounts is not None:
                    height = head.number - header.number + 1
                    return Proof(header, accounts, source.name, height, self.is_final)
            if not any(report.is_usable for report in self.reports.values()):
                break
        reasons = {report.name: report.remark for report in self.reports.values() if report.remark} | reasons
        raise UserError(
            f"No node proves what was asked about block {self.record.head.number}. "
            + " ".join(f"{name}: {reason.rstrip('.')}." for name, reason in reasons.items())
        )

    def age_s(self) -> int:
        """Of the newest proved block, by this computer's clock."""
        return self.age_s_of(self.record.head)

    def age_s_of(self, header: Header) -> int:
        return max(self._trust.clock.time_s() - header.timestamp_s, 0)

    @property
    def is_final(self) -> bool:
        """Whether a proved block can be replaced by no other one."""
        return self._trust.is_qbft

    def is_stale(self) -> bool:
        """Whether the newest proved block is so old that there should be a newer one."""
        config = self._trust.config
        pause_s = max(config.block_time_s, config.empty_block_period_s if self._trust.is_qbft else POW_PAUSE_S)
        return self.age_s() > max(STALE_PERIODS * pause_s, MIN_STALE_S)

    def seals(self) -> tuple[int, int] | None:
        """(seals on the newest proved block, validators that could have sealed it); None where there are none."""
        proved = self.record.proved
        if proved.sealed_by is None:
            return None
        return len(decode_certificate(proved.head.certificate).seals), len(proved.sealed_by)

    def _is_one_followed(self) -> bool:
        return any(report.verdict is Verdict.FOLLOWED for report in self.reports.values())

    def _mark(self, *, all_compared: bool) -> None:
        """Write down that there is nothing new, if there is not, and not too often."""
        record, now_s = self.record, self._trust.clock.time_s()
        settles = all_compared and not record.is_settled
        if self._is_one_followed() and (settles or now_s >= record.checked_s + MARK_EVERY_S):
            self._store.mark(now_s, is_settled=all_compared)

    def _header_below(self, head: Header, confirmations: int) -> Header:
        number = max(head.number - confirmations + 1, 0)
        header = self._store.header(number)
        if header is None:
            raise UserError(f"Block {number} is not among the headers that are kept; ask for fewer confirmations.")
        return header

    def _usable(self) -> list[Source]:
        reports = self.reports
        return [source for source in self._sources if source.name in reports and reports[source.name].is_usable]

    async def _ask(
        self, source: Source, header: Header, wanted: Mapping[bytes, Sequence[int]], reasons: dict[str, str]
    ) -> dict[bytes, ProvedAccount] | None:
        accounts = {}
        try:
            for address, slots in wanted.items():
                answer = await source.account(address, slots, header.hash)
                accounts[address] = check_answer(answer, header.state_root, address, slots)
        except (NodeUnreachable, RpcError) as error:
            reasons[source.name] = str(error)
            return None
        except Invalid as error:
            what = "hands out a false proof" if isinstance(error, InvalidProof) else "answers nonsense"
            self._report(source, Verdict.LIES, f"it {what}: {error}")
            return None
        return accounts

    async def _claim(self, source: Source) -> int:
        """The number of the node's newest block as it says; negative where it gives none."""
        verdict, remark = Verdict.UNREACHABLE, ""
        try:
            return await source.head_number()
        except NodeUnreachable as error:
            remark = str(error)
        except RpcError as error:
            verdict, remark = Verdict.REFUSES, str(error)
        except Invalid as error:
            verdict, remark = Verdict.LIES, str(error)
        self._report(source, verdict, remark)
        return -1

    async def _follow(self, source: Source, progress: Progress | None) -> tuple[Verdict, str]:
        before = self.record.head.number
        try:
            standing = await self._follower.follow(source, progress)
        except NodeUnreachable as error:
            return Verdict.UNREACHABLE, str(error)
        except RpcError as error:
            return Verdict.REFUSES, str(error)
        except OtherChain as error:
            return Verdict.OTHER_CHAIN, str(error)
        except DeepFork as error:
            return Verdict.DEEP_FORK, str(error)
        except BlockFromFuture as error:
            return Verdict.CLOCK, f"{error}; does this computer's clock go right?"
        except ReceiptsMissing as error:
            return Verdict.REFUSES, str(error)
        except Invalid as error:
            return Verdict.LIES, str(error)
        if standing is Standing.BEHIND:
            return Verdict.BEHIND, f"it knows less than others do: block {before} is proved already"
        return Verdict.FOLLOWED, ""

    def _report(self, source: Source, verdict: Verdict, remark: str) -> None:
        self.reports[source.name] = NodeReport(source.name, verdict, remark)
