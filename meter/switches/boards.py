"""Boards with relays of their own: which GPIO pin moves which relay.

Pins are here only where a source for them was found. Of the boards RPICT3T1_RLY2 and RPICT3V1_RLY2 it is known that
they have two relays, but not on which pins: the settings have to name the pin, as the board's paper does; where the
relays are latching ones, both pins of each.
"""

from dataclasses import dataclass

from primitives.errors import UserError


@dataclass(frozen=True, slots=True)
class RelayBoard:
    name: str
    relays: int
    pins: tuple[int, ...] | None
    """GPIO number (BCM) of relay 1, 2...; None where they are not known."""
    active_low: bool = False
    source: str = ""


BOARDS: tuple[RelayBoard, ...] = (
    RelayBoard("RPICT3T1_RLY2", 2, None, source="lechacal.com, RPICT series"),
    RelayBoard("RPICT3V1_RLY2", 2, None, source="lechacal.com, RPICT series"),
    RelayBoard("Waveshare RPi Relay Board", 3, (26, 20, 21), active_low=True, source="its user manual"),
    RelayBoard(
        "Waveshare RPi Relay Board (B)", 8, (5, 6, 13, 16, 19, 20, 21, 26), active_low=True, source="waveshare.com/wiki"
    ),
    RelayBoard("PiRelay V2", 4, (19, 13, 6, 5), source="github.com/sbcshop/PiRelay-V2"),
)


def find_board(name: str) -> RelayBoard:
    """Raises UserError naming the boards that are known."""
    for board in BOARDS:
        if board.name.lower() == name.lower():
            return board
    known = ", ".join(f'"{board.name}"' for board in BOARDS)
    raise UserError(
        f'there is no relay board "{name}"; known are {known}. For any other, use kind = "gpio" and its pin'
    )


def board_pin(name: str, relay: int, pin: int) -> tuple[int, bool]:
    """The pin of a relay (from 1) on a board, and whether it is active low; `pin` counts where it is 0 or more.

    Raises UserError.
    """
    board = find_board(name)
    if not 1 <= relay <= board.relays:
        raise UserError(f"the board {board.name} has the relays 1 to {board.relays}, not {relay}")
    if pin >= 0:
        return pin, board.active_low
    if board.pins is None:
        raise UserError(
            f"which GPIO pins the relays of {board.name} hang on is not known to this program: find the pin of relay "
            f"{relay} in the paper that came with the board, and set `pin` to its number (of a latching relay the one "
            "that switches on, and `off_pin` to the other)"
        )
    return board.pins[relay - 1], board.active_low
