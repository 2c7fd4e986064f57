"""A meter's calibrations as the ledger has them: where they stand, and each as meter and person signed it.

Where they stand is a node's word. The signed ones lie in the transactions that brought them, and prove themselves: a
node that lies can hide them, not make them.
"""

from typing import cast

from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.calibration_format import MAX_PPM, MIN_PPM, ONE_PPM, Calibration, Quantity
from meter.calibration import MAX_RECORDS
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.ledger import Node
from meter.log_stretches import LogStretches
from meter.signed_calibration import History, InvalidHistory, SignedCalibration, Standing
from primitives.errors import Invalid, InvalidAbi
from wallet.calibrations import CALIBRATIONS
from wallet.client import BlockTag, InvalidAnswer

WINDOW_BLOCKS = 10_000
"""What a node looks through at once; fewer where it refuses that."""
MAX_WINDOWS = 1000
"""Ten million blocks back: four years of blocks of 15 s."""

Arguments = tuple[bytes, bytes, int, int, int, int, int, int]


class NoCalibrations(Exception):
    """The ledger has no such contract."""


def record_call(signed: SignedCalibration) -> bytes:
    """The data of a transaction that carries a calibration."""
    return CALIBRATIONS.abi.encode_call("record", (signed.calibration.arguments(), signed.by_meter, signed.by_person))


async def read_standing(node: Node, meter: bytes, block: BlockTag) -> Standing:
    """By the node's word. Raises NoCalibrations, or one of NodeTrouble."""
    abi = CALIBRATIONS.abi
    answers = []
    for name in ("standingOf", "factorsOf"):
        data = await node.call(CALIBRATIONS_ADDRESS, abi.encode_call(name, (meter,)), block)
        if not data:
            raise NoCalibrations
        try:
            answers.append(abi.decode_result(name, data))
        except InvalidAbi as error:
            raise InvalidAnswer(f"the node's answer about calibrations makes no sense: {error}") from error
    sequence, time_s = cast(tuple[int, int], answers[0])
    factors = []
    for quantity, channel, ppm in cast(list[tuple[int, int, int]], answers[1][0]):
        if not (1 <= quantity <= len(QUANTITIES_WITH_FACTORS) and MIN_PPM <= ppm <= MAX_PPM):
            raise InvalidAnswer(f"the node tells of a factor of {ppm} millionths for quantity {quantity}")
        if ppm != ONE_PPM:
            factors.append(Factor(QUANTITIES_WITH_FACTORS[quantity - 1], channel, ppm))
    return Standing(sequence, time_s, Factors(tuple(factors)))


async def read_signed(node: Node, meter: bytes, chain_id: int, count: int) -> History | None:
    """The first `count` calibrations of a meter with their signatures, each checked; None where some are not found.

    Raises one of NodeTrouble, also where what is found was not signed by both.
    """
    if count > MAX_RECORDS:
        return None
    topics = CALIBRATIONS.abi.event("CalibrationChanged").topics(meter=meter)
    stretches = LogStretches(
        lambda first_block, last_block: node.logs([CALIBRATIONS_ADDRESS], topics, first_block, last_block),
        WINDOW_BLOCKS,
    )
    until, found, asked = await node.block_number(), dict[int, SignedCalibration](), 0
    for _ in range(MAX_WINDOWS):
        stretch = await stretches.backward(until, 0)
        asked += len(stretch.found)
        if asked > MAX_RECORDS:
            raise InvalidAnswer("the node tells of more calibrations than a meter can have")
        for log in stretch.found:
            signed = _signed_in(await node.transaction_data(log.transaction_hash))
            if signed is not None and 1 <= signed.calibration.sequence <= count:
                found[signed.calibration.sequence] = signed
        if len(found) >= count or stretch.first_block == 0:
            break
        until = stretch.first_block - 1
    if len(found) != count:
        return None
    history = History(records=tuple([found[sequence] for sequence in sorted(found)]))
    try:
        history.check(chain_id, meter)
    except InvalidHistory as error:
        raise InvalidAnswer(f"the node tells of calibrations that nobody can have made: {error}") from error
    return history


def _signed_in(data: bytes | None) -> SignedCalibration | None:
    """The calibration that a transaction brought; None where it came through another contract, or is not known."""
    function = CALIBRATIONS.abi.function("record")
    try:
        if data is None or data[:4] != function.selector:
            return None
        arguments, by_meter, by_person = function.decode_call(data)
        meter, person, sequence, time_s, quantity, channel, old_ppm, new_ppm = cast(Arguments, arguments)
        change = Calibration(meter, person, sequence, time_s, Quantity(quantity), channel, old_ppm, new_ppm)
        return SignedCalibration(change, cast(tuple[bytes, bytes], by_meter), cast(tuple[bytes, bytes], by_person))
    except (Invalid, ValueError) as error:
        raise InvalidAnswer(f"the node's answer about a calibration makes no sense: {error}") from error
