"""What a ledger may be ahead of an old copy of an outbox, and what a node that lies may not."""

import pytest

from meter.drivers.driver import Registers
from meter.head import Head, first_head
from meter.node_word import SPARE_READINGS, SPARE_S, SPARE_WH, check_word, could_follow
from wallet.client import InvalidAnswer

NOW_S = 1_750_000_000
HOUR_S = 3600
MOST_W = 50_000
OURS = Head(7, b"\x01" * 32, Registers(NOW_S - 10 * HOUR_S, 1000, 500), None)


def later(sequence: int, after_s: int, import_wh: int, export_wh: int) -> Head:
    ours = OURS.registers
    registers = Registers(ours.time_s + after_s, ours.import_wh + import_wh, ours.export_wh + export_wh)
    return Head(sequence, b"\x02" * 32, registers, None)


@pytest.mark.parametrize(
    ("head", "is_possible"),
    [
        (later(8, 0, 0, 0), True),
        (later(17, 10 * HOUR_S, 500_000 + SPARE_WH, 500_000 + SPARE_WH), True),
        (later(17, 10 * HOUR_S, 500_001 + SPARE_WH, 0), False),
        (later(17, 10 * HOUR_S, 0, 500_001 + SPARE_WH), False),
        (later(17, 10 * HOUR_S + SPARE_S, 0, 0), True),
        (later(17, 10 * HOUR_S + SPARE_S + 1, 0, 0), False),
        (later(8, -1, 0, 0), False),
        (later(8, 60, -1, 0), False),
        (later(8, 60, 0, -1), False),
        (later(7 + 60 + SPARE_READINGS, 60, 0, 0), True),
        (later(8 + 60 + SPARE_READINGS, 60, 0, 0), False),
    ],
)
def test_what_the_meter_can_have_come_to(head: Head, is_possible: bool) -> None:
    assert could_follow(head, OURS, NOW_S, MOST_W) is is_possible


def test_a_new_outbox_has_nothing_to_compare() -> None:
    for ours in (None, first_head()):
        check_word(later(100, 10**9, 10**9, 0), ours, NOW_S, MOST_W)
    with pytest.raises(InvalidAnswer, match="by the node's word the ledger holds reading 100"):
        check_word(later(100, 10**9, 10**9, 0), OURS, NOW_S, MOST_W)
