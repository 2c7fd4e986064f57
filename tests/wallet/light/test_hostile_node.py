"""A node that answers at random: whatever it sends, the client believes the truth or nothing, and says which."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.errors import UserError
from tests.chain.ledger_world import ADDRESSES
from tests.chain.qbft.authority_world import CONTRACT, AuthorityWorld, authority_genesis
from tests.wallet.light.light_world import Home, LightNode, run
from wallet.light.client import Verdict

METHODS = ("eth_blockNumber", "wattchain_getHeaders", "eth_getProof")
JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "0x",
    "0x0",
    "0xff",
    "latest",
    "0x" + "00" * 40,
    [],
    {},
    [[]],
    10**30,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorityWorld]:
    made = AuthorityWorld.open(tmp_path_factory.mktemp("ledger"))
    with made.ledger:
        made.grow(6, [made.transfer(0, 7, 5), made.transfer(1, 6, 7)])
        yield made


def mutated(value: Any, random: Random) -> Any:
    """The value with one thing in it changed, wherever that is."""
    if random.random() < 0.1:
        return random.choice(JUNK)
    if isinstance(value, list) and value:
        changed, place = list(value), random.randrange(len(value))
        match random.randrange(5):
            case 0:
                del changed[place]
            case 1:
                changed.insert(place, random.choice(value))
            case 2:
                random.shuffle(changed)
            case _:
                changed[place] = mutated(value[place], random)
        return changed
    if isinstance(value, dict) and value:
        name = random.choice(sorted(value))
        if random.random() < 0.2:
            return {key: one for key, one in value.items() if key != name}
        return {**value, name: mutated(value[name], random)}
    if isinstance(value, str) and len(value) > 2:
        place = random.randrange(2, len(value))
        match random.randrange(4):
            case 0:
                return value[:place]
            case 1:
                return value + value[2:place]
            case _:
                return value[:place] + random.choice("0123456789abcdef") + value[place + 1 :]
    return random.choice(JUNK)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(METHODS), st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_truth_or_nothing(world: AuthorityWorld, method: str, random: Random, changes: int) -> None:
    liar, honest = LightNode(world.ledger, world.clock, "http://liar"), LightNode(world.ledger, world.clock)

    def lie(parameters: list[Any], result: Any) -> Any:
        for _ in range(changes):
            result = mutated(result, random)
        return result

    liar.tamper[method] = lie
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder), authority_genesis(), world.clock)
        with home.store, world.ledger.view() as view:
            proof = None
            with contextlib.suppress(UserError):
                proof = run(home.client(liar).prove({ADDRESSES[7]: (), CONTRACT: (0, 9)}))
            if proof is not None:
                account = view.state_at(proof.header.number).account(ADDRESSES[7])
                assert account is not None
                assert view.header_by_number(proof.header.number) == proof.header
                assert proof.accounts[ADDRESSES[7]].balance == account.balance
                assert proof.accounts[CONTRACT].slots == {0: 4, 9: 0}
            assert view.header_by_number(home.head.number) == home.head
            # And an honest node beside it is as good as alone.
            client = home.client(liar, honest)
            proved = run(client.prove({CONTRACT: (0,)}))
            assert proved.header == view.head()
            assert client.reports["http://honest"].verdict is Verdict.FOLLOWED
