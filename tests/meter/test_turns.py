"""Turns come an interval apart, and none is made up for."""

import asyncio

from meter.drivers.turns import Turns
from primitives.clock import ManualClock


async def test_turns() -> None:
    clock = ManualClock()
    turns = Turns(10, clock)
    await turns.next()
    turn = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    clock.advance_s(9.999)
    await asyncio.sleep(0)
    assert not turn.done()
    clock.advance_s(0.001)
    await turn
    clock.now_s += 12  # late by 2 s: the one after comes 8 s later
    await turns.next()
    turn = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    clock.advance_s(8)
    await turn
    clock.now_s += 1000
    await turns.next()
    turn = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    clock.advance_s(9)
    await asyncio.sleep(0)
    assert not turn.done()
    clock.advance_s(1)
    await turn
