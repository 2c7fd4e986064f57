"""The QBFT machine: one validator's part in deciding the blocks of a chain, one height after the other.

Pure: `step` takes an event and returns what is to be done, in order; no clock, socket, disk or task. Follows the
formal specification of QBFT (Enterprise Ethereum Alliance); where it goes further, docs/consensus.md says so and why.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.events import (
    Behind,
    BlockBuilt,
    Blocks,
    Broadcast,
    CancelTimer,
    Decided,
    Equivocation,
    Event,
    MessageReceived,
    NewHead,
    Output,
    OwnKeyElsewhere,
    PeerBehind,
    Persist,
    Rejected,
    RequestProposal,
    Send,
    SetTimer,
    Settings,
    Timer,
    TimerFired,
    TimerKind,
    TransactionsPending,
    Vote,
    VoteKind,
)
from chain.consensus.qbft.height import Accepted, EarlyMessages, HeightState
from chain.consensus.qbft.justification import check_justification, check_round_change, highest_prepared
from chain.consensus.qbft.messages import (
    Commit,
    InvalidConsensusMessage,
    Message,
    Prepare,
    Prepared,
    Proposal,
    RoundChange,
    kind_of,
)
from chain.consensus.qbft.signing import Authenticator, Domain, Recover, Signer, recover_signer
from chain.consensus.qbft.votes import (
    PreparedBlock,
    restore,
    vote_of,
    vote_of_prepared,
    without_void_votes,
)
from primitives.errors import InvalidBlock, InvalidSignature

_M = TypeVar("_M", bound=Message)


class QbftMachine:
    """One validator. `votes` are all rows of its vote store, as the last run left them."""

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        signer: Signer,
        blocks: Blocks,
        votes: Iterable[Vote] = (),
        recover: Recover = recover_signer,
    ) -> None:
        self._settings = settings
        self._domain = domain
        self._signer = signer
        self._blocks = blocks
        self._authenticator = Authenticator(domain, recover)
        stored = tuple(votes)
        self._stored_height = max((vote.height for vote in stored), default=0)
        self._stored = tuple(vote for vote in stored if vote.height == self._stored_height)
        self._state: HeightState | None = None
        self._early = EarlyMessages()
        self._pending = False
        self._timers: dict[TimerKind, Timer] = {}
        self._hinted: set[tuple[bytes, type[Output]]] = set()
        self._unsaved: dict[VoteKind, Vote] = {}
        self._outputs: list[Output] = []

    @property
    def round(self) -> int:
        """Of the present height. Above 0: a proposer failed, or too few validators answer."""
        return 0 if self._state is None else self._state.round

    def step(self, event: Event) -> list[Output]:
        """Take one event in. A Persist, if there is any, is the first output and covers all of the others."""
        match event:
            case NewHead():
                self._begin(event)
            case MessageReceived():
                self._receive(event.message)
            case TimerFired():
                self._fired(event.timer)
            case BlockBuilt():
                self._built(event)
            case TransactionsPending():
                self._pending = event.pending
        state = self._state
        if state is not None and state.voting:
            self._advance(state)
        outputs, self._outputs = self._outputs, []
        if self._unsaved:
            outputs.insert(0, Persist(tuple(self._unsaved[kind] for kind in sorted(self._unsaved))))
            self._unsaved = {}
        return outputs

    # What happens to it

    def _begin(self, head: NewHead) -> None:
        """A new height."""
        number = head.number + 1
        if self._state is not None and number <= self._state.number:
            return
        for kind in list(self._timers):
            self._cancel(kind)
        self._hinted.clear()
        # Below the height of the stored votes (the ledger was restored from an older copy) this node has voted, and no
        # longer knows what: it follows the others until it is there again.
        voting = self._signer.address in head.validators and number >= self._stored_height
        state = self._state = HeightState(number, head.block_hash, head.proposer, head.validators, voting)
        early = self._early.take(number)
        self._set(TimerKind.REPEAT, self._settings.repeat_ms)
        if not voting:
            return
        if self._stored and number == self._stored_height:
            self._resume(state)
        if not state.open:
            period_ms = self._settings.block_period_ms
            self._set(TimerKind.BLOCK, max(period_ms - head.age_ms, 0))
            self._set(TimerKind.EMPTY_BLOCK, max(self._settings.empty_block_period_ms - head.age_ms, 0))
        for message in early:
            self._receive(message)
            self._advance(state)

    def _resume(self, state: HeightState) -> None:
        """Stand again where the stored votes were given."""
        own = restore(self._stored)
        if self._domain.override_at(state.number) is not None:
            own = without_void_votes(own, state.number, self._signer.address, state.validators, self._authenticator)
            if not own.messages:
                return
        state.own = own
        state.round = own.round
        for message in own.messages:
            state.tally.add(self._signer.address, message)
        prepared = own.prepared
        if own.proposal is not None and own.proposal.round == own.round:
            state.accepted = Accepted(own.proposal.block_hash, own.proposal.block, own.proposal)
        elif prepared is not None and prepared.round == own.round:
            state.accepted = Accepted(prepared.block_hash, prepared.block, None)
        self._open_round(state)
        self._outputs += [Broadcast(message) for message in state.newest()]

    def _receive(self, message: Message) -> None:
        state = self._state
        if state is None:
            return
        try:
            sender = self._authenticator.sender(message)
        except InvalidSignature as error:
            self._outputs.append(Rejected(message, str(error)))
            return
        if sender not in state.validators:
            if message.height == state.number and state.voting:
                self._outputs.append(Rejected(message, "its sender is not a validator"))
        elif message.height > state.number:
            self._hint(sender, Behind(sender, message.height))
            if message.height == state.number + 1 and sender != self._signer.address:
                self._early.hold(sender, message)
        elif message.height < state.number:
            # Also where this node has no vote: it may be the only one to hold the block that voted it out.
            self._hint(sender, PeerBehind(sender, message.height))
        elif not state.voting:
            return
        elif sender == self._signer.address:
            if message.round > state.round or state.tally.contradicted(sender, message) is not None:
                self._outputs.append(OwnKeyElsewhere(message))
        elif not state.decided:
            self._collect(state, sender, message)

    def _collect(self, state: HeightState, sender: bytes, message: Message) -> None:
        """A message of another validator for the present height."""
        first = state.tally.contradicted(sender, message)
        if first is not None:
            report = (sender, kind_of(message))
            if report not in state.equivocated:
                state.equivocated.add(report)
                self._outputs.append(Equivocation(sender, first, message))
            return
        try:
            match message:
                case Proposal():
                    self._take_proposal(state, sender, message)
                case RoundChange():
                    self._take_round_change(state, sender, message)
                case _:
                    state.tally.add(sender, message)
        except (InvalidConsensusMessage, InvalidBlock) as error:
            self._outputs.append(Rejected(message, str(error)))

    def _take_proposal(self, state: HeightState, sender: bytes, proposal: Proposal) -> None:
        if state.tally.same_round(sender, proposal) is not None:
            return
        if sender != self._proposer(state, proposal.round):
            raise InvalidConsensusMessage(f"its sender does not propose in round {proposal.round}")
        if self._blocks.block_hash(proposal.block) != proposal.block_hash:
            raise InvalidConsensusMessage("a proposal brings another block than it names")
        if proposal.round < state.round or (proposal.round == state.round and state.accepted is not None):
            state.tally.add(sender, proposal)  # Late commits may still need the block.
            return
        prepare = state.own.prepare
        if prepare is not None and prepare.round == proposal.round and prepare.block_hash != proposal.block_hash:
            raise InvalidConsensusMessage("before a restart its sender proposed another block in this round")
        prepared = check_justification(proposal, self._authenticator, state.validators)
        builder = sender if prepared is None else None
        self._blocks.check(proposal.block, state.number, state.parent_hash, builder)
        state.tally.add(sender, proposal)
        if proposal.round > state.round:
            self._enter(state, proposal.round)
        self._accept(state, proposal)

    def _take_round_change(self, state: HeightState, sender: bytes, change: RoundChange) -> None:
        if state.tally.same_round(sender, change) is None:
            check_round_change(change, self._authenticator, state.validators)
            state.tally.add(sender, self._with_block(state, change))
        if change.round < state.round and (sender, Send) not in self._hinted:
            self._hinted.add((sender, Send))
            # The proposal, with the round changes that justify it, takes the other straight into this round.
            proposal = state.accepted.proposal if state.accepted is not None else None
            answer = state.newest() if proposal is None else [proposal, *state.newest()]
            self._outputs += [Send(sender, message) for message in dict.fromkeys(answer)]

    def _with_block(self, state: HeightState, change: RoundChange) -> RoundChange:
        """With the block that is here already, so that N round changes do not hold N copies of it."""
        if change.prepared is None:
            return change
        known = state.block(change.prepared.block_hash)
        if known is not None:
            return replace(change, block=known)
        if self._blocks.block_hash(change.block) != change.prepared.block_hash:
            raise InvalidConsensusMessage("a round change brings another block than it names")
        return change

    def _fired(self, timer: Timer) -> None:
        state = self._state
        if state is None or self._timers.get(timer.kind) != timer:
            return
        del self._timers[timer.kind]
        match timer.kind:
            case TimerKind.BLOCK:
                state.block_due = True
            case TimerKind.EMPTY_BLOCK:
                state.empty_block_due = True
            case TimerKind.ROUND:
                self._change_round(state, state.round + 1)
            case TimerKind.REPEAT:
                self._hinted.clear()
                self._outputs += [Broadcast(message) for message in state.newest()]
                self._set(TimerKind.REPEAT, self._settings.repeat_ms)

    def _built(self, built: BlockBuilt) -> None:
        state = self._state
        if state is None or (built.height, built.round) != (state.number, state.round):
            return
        if state.requested and state.accepted is None and not state.decided:
            self._propose(state, self._blocks.block_hash(built.block), built.block)

    # What follows from what is known

    def _advance(self, state: HeightState) -> None:
        while not state.decided and (
            self._decide(state) or self._jump(state) or self._open(state) or self._lead(state) or self._commit(state)
        ):
            pass
        self._time(state)

    def _decide(self, state: HeightState) -> bool:
        """A quorum committed a block that is here. In whichever round: it is final, wherever this node stands."""
        committed = state.tally.committed(state.validators.quorum)
        if committed is None:
            return False
        commit, seals = committed
        block = state.block(commit.block_hash)
        if block is None:
            return False
        state.decided = True
        self._cancel(TimerKind.ROUND)
        self._cancel(TimerKind.BLOCK)
        self._cancel(TimerKind.EMPTY_BLOCK)
        certificate = CommitCertificate.of(commit.round, seals)
        self._outputs.append(Decided(state.number, commit.block_hash, block, certificate))
        return True

    def _jump(self, state: HeightState) -> bool:
        """f+1 others, so at least an honest one, have left this round: join the slowest of the f+1 fastest."""
        reached = state.tally.round_reached(state.validators.tolerated_faults + 1)
        if reached <= state.round:
            return False
        self._change_round(state, reached)
        return True

    def _open(self, state: HeightState) -> bool:
        """In round 0: a block is due, so its time begins to run, and its proposer builds it."""
        if state.open or not state.block_due or not (self._pending or state.empty_block_due):
            return False
        self._open_round(state)
        if self._proposer(state, 0) == self._signer.address:
            self._request(state)
        return True

    def _lead(self, state: HeightState) -> bool:
        """In a later round: a quorum has come along, so its proposer puts a block to the vote."""
        if state.round == 0 or state.accepted is not None or state.requested:
            return False
        if self._proposer(state, state.round) != self._signer.address:
            return False
        changes = state.tally.round_changes(state.round)
        if len(changes) < state.validators.quorum:
            return False
        highest = highest_prepared(changes)
        if highest is None or highest.prepared is None:
            self._request(state)
        else:
            self._propose(state, highest.prepared.block_hash, highest.block)
        return True

    def _commit(self, state: HeightState) -> bool:
        """A quorum prepared the accepted block: hold on to it, and commit."""
        accepted, own = state.accepted, state.own
        if accepted is None or (own.commit is not None and own.commit.round == state.round):
            return False
        signatures = state.tally.prepares(state.round, accepted.block_hash)
        if len(signatures) < state.validators.quorum:
            return False
        proof = tuple(signatures[address] for address in sorted(signatures))
        own.prepared = PreparedBlock(state.round, accepted.block_hash, accepted.block, proof)
        vote = vote_of_prepared(state.number, own.prepared)
        self._unsaved[vote.kind] = vote
        own.commit = self._vote(state, Commit(state.number, state.round, accepted.block_hash))
        return True

    def _time(self, state: HeightState) -> None:
        """Let the round's time run: in round 0 from its opening on, later as soon as a quorum is in it or beyond.

        Whoever is ahead of the others waits for them. Once the timeouts grow no more, all rounds take as long, and who
        went on alone would never be met again.
        """
        if not state.open or state.decided or TimerKind.ROUND in self._timers:
            return
        is_met = state.accepted is not None or state.tally.count_in_round(state.round) >= state.validators.quorum
        if state.round == 0 or is_met:
            self._set(TimerKind.ROUND, self._settings.round_timeout_ms(state.round))

    # What it does

    def _request(self, state: HeightState) -> None:
        state.requested = True
        self._outputs.append(RequestProposal(state.number, state.round, state.parent_hash))

    def _propose(self, state: HeightState, block_hash: bytes, block: bytes) -> None:
        changes = state.tally.round_changes(state.round) if state.round > 0 else []
        highest = highest_prepared(changes)
        proposal = Proposal(
            state.number,
            state.round,
            block_hash,
            block=block,
            round_changes=tuple(change.without_proof() for change in changes),
            prepare_signatures=highest.prepare_signatures if highest is not None else (),
        )
        state.own.proposal = self._vote(state, proposal)
        self._accept(state, state.own.proposal)

    def _accept(self, state: HeightState, proposal: Proposal) -> None:
        state.accepted = Accepted(proposal.block_hash, proposal.block, proposal)
        if not state.open:
            self._open_round(state)
        prepare = state.own.prepare
        if prepare is None or prepare.round != proposal.round:  # After a restart it may have been sent before.
            state.own.prepare = self._vote(state, Prepare(state.number, proposal.round, proposal.block_hash))

    def _change_round(self, state: HeightState, round_: int) -> None:
        self._enter(state, round_)
        locked = self._locked(state)
        change = RoundChange(
            state.number,
            round_,
            Prepared(locked.round, locked.block_hash) if locked is not None else None,
            prepare_signatures=locked.prepare_signatures if locked is not None else (),
            block=locked.block if locked is not None else b"",
        )
        state.own.round_change = self._vote(state, change)

    def _locked(self, state: HeightState) -> PreparedBlock | None:
        """The block that this node names in a round change: somebody may have decided it."""
        return state.own.prepared

    def _vote(self, state: HeightState, message: _M) -> _M:
        """Sign, remember, count and send a message. The Persist of this step comes before the send."""
        signed = self._authenticator.signed(message, self._signer)
        vote = vote_of(signed)
        self._unsaved[vote.kind] = vote
        state.tally.add(self._signer.address, signed)
        self._outputs.append(Broadcast(signed))
        return signed

    def _enter(self, state: HeightState, round_: int) -> None:
        state.round = round_
        state.accepted = None
        state.requested = False
        self._open_round(state)

    def _open_round(self, state: HeightState) -> None:
        state.open = True
        self._cancel(TimerKind.BLOCK)
        self._cancel(TimerKind.EMPTY_BLOCK)
        self._cancel(TimerKind.ROUND)

    # Helpers

    def _proposer(self, state: HeightState, round_: int) -> bytes:
        return state.validators.proposer(round_, state.previous_proposer, self._settings.proposer_policy)

    def _hint(self, sender: bytes, hint: Behind | PeerBehind) -> None:
        """Say it once between two repeats: a sender of many old messages gets no more answers for it."""
        if (sender, type(hint)) not in self._hinted:
            self._hinted.add((sender, type(hint)))
            self._outputs.append(hint)

    def _set(self, kind: TimerKind, delay_ms: int) -> None:
        self._cancel(kind)
        state = self._state
        if state is not None:
            self._timers[kind] = Timer(kind, state.number, state.round)
            self._outputs.append(SetTimer(self._timers[kind], delay_ms))

    def _cancel(self, kind: TimerKind) -> None:
        timer = self._timers.pop(kind, None)
        if timer is not None:
            self._outputs.append(CancelTimer(timer))
