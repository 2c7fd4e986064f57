"""One honest peer among many that do anything: the node gets there, in bounded time, and blames the others alone."""

from dataclasses import replace
from random import Random

import pytest

from p2p.messages import Bodies, GetBodies, GetHeaders, Headers, Message
from p2p.reputation import Offence
from tests.p2p.memory_network import FakeChain
from tests.p2p.sync.world import Peer, copy, grow, world


def do_anything(peer: Peer, random: Random) -> None:
    """Every answer is honest, late for ever, empty, cut short, mixed up, altered or somebody else's."""
    stubbornness = random.choice([0.1, 0.5, 1.0])

    def headers(request: GetHeaders, honest: Headers) -> Message | None:
        if random.random() > stubbornness:
            return honest
        entries = list(honest.headers)
        act = random.randrange(7)
        if act == 0:
            return None
        if act == 1:
            entries = []
        elif act == 2:
            entries = entries[: random.randrange(len(entries) + 1)]
        elif act == 3:
            random.shuffle(entries)
        elif act == 4 and entries:
            position = random.randrange(len(entries))
            altered = bytearray(entries[position].header)
            altered[random.randrange(len(altered))] ^= 1 << random.randrange(8)
            entries[position] = replace(entries[position], header=bytes(altered))
        elif act == 5 and entries:
            entries[-1] = replace(entries[-1], certificate=b"false")
        elif act == 6:
            return Headers((request.request_id + 1) % 2**32, honest.headers)
        return replace(honest, headers=tuple(entries))

    def bodies(request: GetBodies, honest: Bodies) -> Message | None:
        if random.random() > stubbornness:
            return honest
        entries = list(honest.bodies)
        act = random.randrange(6)
        if act == 0:
            return None
        if act == 1:
            entries = []
        elif act == 2:
            entries = entries[:1]
        elif act == 3:
            random.shuffle(entries)
        elif act == 4:
            entries = [b""] * len(entries)
        else:
            entries[random.randrange(len(entries))] = random.randbytes(random.randrange(100))
        return replace(honest, bodies=tuple(entries))

    peer.headers, peer.bodies = headers, bodies


@pytest.mark.parametrize("seed", range(6))
async def test_an_honest_peer_among_liars_is_enough(seed: int) -> None:
    random = Random(seed)
    chain = FakeChain()
    grow(chain, 700, every=1 + random.randrange(3))
    false = copy(chain, random.randrange(700))
    grow(false, 900 - false.best.number, gas_used=5)
    ours = copy(chain, random.choice([0, 0, 300]))
    # The other branch has false headers from its third block on, so that it never becomes ours for good.
    fork = next(one.number for one in false.canonical if one.hash not in chain.blocks)
    ours.invalid_headers = {one.hash for one in false.canonical[fork + 2 :]}
    async with world(ours) as here:
        places = ["liar"] * random.randrange(1, 8) + ["honest"]
        random.shuffle(places)
        honest: Peer | None = None
        for place in places:
            if place == "honest":
                honest = await here.peer(copy(chain))
                continue
            claims = random.choice([None, 10**30, 750])
            liar = await here.peer(copy(random.choice([chain, false, ours])), claims)
            do_anything(liar, random)
        assert honest is not None
        await here.until(lambda: here.chain.best == chain.best, 300)
        assert set(honest.offences) <= {Offence.STALLED_REQUEST}
        assert not honest.offences
