"""What makes a round change or a proposal acceptable: the rule that carries a block over from round to round.

A block that some honest node may have decided was prepared by a quorum. Any quorum of round changes includes one of
those that prepared it, so the highest prepared block among them is the only one that may be proposed again
(QBFT specification, isProposalJustification and validRoundChange).
"""

from collections.abc import Sequence

from chain.consensus.qbft.messages import (
    InvalidConsensusMessage,
    Prepare,
    Prepared,
    Proposal,
    RoundChange,
)
from chain.consensus.qbft.signing import Authenticator
from chain.consensus.qbft.validators import ValidatorSet
from primitives.errors import InvalidSignature


def check_round_change(change: RoundChange, authenticator: Authenticator, validators: ValidatorSet) -> None:
    """Whether it proves what it says was prepared. Its sender, and its block's hash, are checked by the caller.

    Raises InvalidConsensusMessage.
    """
    if change.round == 0:
        raise InvalidConsensusMessage("a round change to round 0")
    if change.prepared is None:
        if change.prepare_signatures or change.block:
            raise InvalidConsensusMessage("a round change proves something, but says that nothing was prepared")
        return
    _check_prepared(change.prepared, change, change.prepare_signatures, authenticator, validators)


def check_justification(proposal: Proposal, authenticator: Authenticator, validators: ValidatorSet) -> Prepared | None:
    """Whether the round changes allow this proposal; what was prepared, or None where the block may be a new one.

    Raises InvalidConsensusMessage. Sender, block and block hash are checked by the caller.
    """
    if proposal.round == 0:
        if proposal.round_changes or proposal.prepare_signatures:
            raise InvalidConsensusMessage("a proposal of round 0 needs no justification")
        return None
    _check_senders(proposal.round_changes, authenticator, validators)
    highest = highest_prepared(proposal.round_changes)
    if highest is None:
        if proposal.prepare_signatures:
            raise InvalidConsensusMessage("a proposal proves a prepared block that no round change names")
        return None
    if highest.prepared is None or highest.prepared.block_hash != proposal.block_hash:
        raise InvalidConsensusMessage("the proposed block is not the one prepared in the highest round")
    _check_prepared(highest.prepared, highest, proposal.prepare_signatures, authenticator, validators)
    return highest.prepared


def highest_prepared(changes: Sequence[RoundChange]) -> RoundChange | None:
    """The round change whose block was prepared in the highest round; None where nothing was prepared."""
    highest: RoundChange | None = None
    reached = -1
    for change in changes:
        if change.prepared is not None and change.prepared.round > reached:
            highest, reached = change, change.prepared.round
    return highest


def _check_senders(changes: Sequence[RoundChange], authenticator: Authenticator, validators: ValidatorSet) -> None:
    senders = set()
    for change in changes:
        try:
            sender = authenticator.sender(change)
        except InvalidSignature as error:
            raise InvalidConsensusMessage(f"a round change in a proposal: {error}") from error
        if sender not in validators or sender in senders:
            raise InvalidConsensusMessage("a round change in a proposal is repeated, or not of a validator")
        senders.add(sender)
    if len(senders) < validators.quorum:
        raise InvalidConsensusMessage(
            f"{len(senders)} round changes justify a proposal; {validators.quorum} are needed"
        )


def _check_prepared(
    prepared: Prepared,
    change: RoundChange,
    signatures: Sequence[bytes],
    authenticator: Authenticator,
    validators: ValidatorSet,
) -> None:
    if prepared.round >= change.round:
        raise InvalidConsensusMessage(f"a block prepared in round {prepared.round} before round {change.round}")
    prepare = Prepare(change.height, prepared.round, prepared.block_hash)
    if not authenticator.quorum_signed(prepare, signatures, validators):
        raise InvalidConsensusMessage("no quorum of prepares stands behind a block that is said to be prepared")
