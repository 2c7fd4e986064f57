"""Whether a node's word on a meter's last reading can be true: what is not is no reason to go on from there.

The meter continues behind the ledger's registers where its outbox is an old copy, and its own signature makes energy of
them. So a node that lies must not be believed more than the meter's connection could have carried since.
"""

from meter.head import Head
from wallet.client import InvalidAnswer

# Beside the time between: a block's clock may be early, a coarse register may have stepped, readings come out of turn.
SPARE_S = 3600
SPARE_WH = 10_000
SPARE_READINGS = 1000


def check_word(last: Head, head: Head | None, now_s: int, most_w: int) -> None:
    """`last` by the node's word, behind our own `head`. Raises InvalidAnswer; a new outbox has nothing to compare."""
    if head is None or head.sequence == 0 or could_follow(last, head, now_s, most_w):
        return
    raise InvalidAnswer(
        f"by the node's word the ledger holds reading {last.sequence}, of {last.registers.import_wh} Wh taken, where "
        f"this meter cannot be yet behind its own reading {head.sequence}: look whether the computer's clock is right, "
        "and ask another node. If it is true, move the outbox away and keep it: the meter goes on behind the ledger"
    )


def could_follow(later: Head, head: Head, now_s: int, most_w: int) -> bool:
    """Whether the meter itself can have come from one to the other by now, `most_w` being more than it ever carries."""
    before, after = head.registers, later.registers
    passed_s = after.time_s - before.time_s
    most_wh = passed_s * most_w // 3600 + SPARE_WH
    return (
        0 <= passed_s <= max(now_s - before.time_s, 0) + SPARE_S
        and 0 <= after.import_wh - before.import_wh <= most_wh
        and 0 <= after.export_wh - before.export_wh <= most_wh
        and later.sequence - head.sequence <= passed_s + SPARE_READINGS
    )
