"""Several nodes: which of them can be followed, what is said of the others, and that answers are proved."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.hexadecimal import to_data
from tests.chain.ledger_world import ADDRESSES, FUNDS_WEI, START_S, World, world_genesis
from tests.chain.qbft.authority_world import CONTRACT, SIGNERS, VALIDATORS, AuthorityWorld, authority_genesis
from tests.wallet.light.light_world import Home, LightNode, ScriptedSource, as_json, child, mined_chain, seal
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError
from wallet.light import client as client_module
from wallet.light.client import LightClient, Verdict
from wallet.light.display import warnings
from wallet.light.follower import SealedTwice
from wallet.light.source import MAX_HEADERS, SealedHeader

NOBODY = b"\x99" * 20


class Town:
    """A qbft ledger with three blocks, two honest nodes over it, and a light client."""

    def __init__(self, folder: Path) -> None:
        self.world = AuthorityWorld.open(folder / "ledger")
        self.world.grow(3, [self.world.transfer(0, 7, 5)])
        self.home = Home(folder / "light", authority_genesis(), self.world.clock)
        self.honest = self.node("http://honest")
        self.other = self.node("http://other")

    def node(self, url: str) -> LightNode:
        return LightNode(self.world.ledger, self.world.clock, url)

    @property
    def head(self) -> Any:
        return self.world.ledger.head()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    with made.world.ledger, made.home.store:
        yield made


def verdicts(client: LightClient) -> dict[str, Verdict]:
    return {name: report.verdict for name, report in client.reports.items()}


async def test_accounts_and_slots_are_proved(town: Town) -> None:
    client = town.home.client(town.honest)
    wanted = {ADDRESSES[0]: (), ADDRESSES[7]: (), NOBODY: (3,), CONTRACT: (0, 1)}
    proof = await client.prove(wanted)
    assert proof.header == town.head
    assert (proof.proved_by, proof.confirmations, proof.is_final) == ("http://honest", 1, True)
    with town.world.ledger.view() as view:
        state = view.state_at(3)
        for address in (ADDRESSES[0], ADDRESSES[7]):
            found = proof.accounts[address]
            assert (found.nonce, found.balance, found.code_hash) == state.account(address)
    assert proof.accounts[ADDRESSES[0]].nonce == 1
    assert (proof.accounts[NOBODY].exists, proof.accounts[NOBODY].slots) == (False, {3: 0})
    assert proof.accounts[CONTRACT].slots == {0: len(VALIDATORS), 1: 0}
    assert warnings(client) == []


async def test_a_lying_node_is_named_and_left_out(town: Town) -> None:
    liar = town.node("http://liar")
    forged = child(town.world.ledger.blocks.canonical_header(2), state_root=b"\x66" * 32)
    sealed = SealedHeader(forged, seal(forged, town.home.store.genesis.hash, SIGNERS[4:7]))
    liar.tamper["wattchain_getHeaders"] = lambda _, result: [*result[:-1], as_json(sealed)]
    client = town.home.client(liar, town.honest)
    proof = await client.prove({ADDRESSES[7]: ()})
    assert proof.accounts[ADDRESSES[7]].balance == FUNDS_WEI + 5
    assert verdicts(client) == {"http://liar": Verdict.LIES, "http://honest": Verdict.FOLLOWED}
    (warning,) = warnings(client)
    assert warning.startswith("Warning: The node http://liar lies and is left out: the 3 seals of block 3")

    asked = len(liar.asked)
    await client.sync()
    assert len(liar.asked) == asked


PROOF_LIES = {
    "balance": lambda _, result: {**result, "balance": hex(10**30)},
    "other account's proof": lambda _, result: {**result, "accountProof": result["accountProof"][::-1]},
    "absent": lambda _, result: {**result, "balance": "0x0", "nonce": "0x0", "accountProof": []},
    "slot": lambda _, result: {**result, "storageProof": [{**result["storageProof"][0], "value": "0x1"}]},
    "no slots": lambda _, result: {**result, "storageProof": []},
    "too many slots": lambda _, result: {**result, "storageProof": result["storageProof"] * 2},
    "a list": lambda _, result: [],
    "nothing": lambda _, result: None,
    "numbers": lambda _, result: {**result, "balance": -1},
    "no data": lambda _, result: {**result, "accountProof": ["0xzz"]},
    "an endless proof": lambda _, result: {**result, "accountProof": ["0x80"] * 10_000},
    "slots that are none": lambda _, result: {**result, "storageProof": [7]},
    "proofs that are none": lambda _, result: {**result, "storageProof": [{"value": "0x4", "proof": "0x"}]},
}


@pytest.mark.parametrize("lie", PROOF_LIES)
async def test_a_false_proof_is_found_out_and_the_next_node_asked(town: Town, lie: str) -> None:
    liar = town.node("http://liar")
    liar.tamper["eth_getProof"] = PROOF_LIES[lie]
    client = town.home.client(liar, town.honest)
    proof = await client.prove({CONTRACT: (0,)})
    assert proof.accounts[CONTRACT].slots == {0: 4}
    assert proof.proved_by == "http://honest"
    assert verdicts(client)["http://liar"] is Verdict.LIES

    alone = town.home.client(liar)
    with pytest.raises(UserError, match=r"No node proves what was asked about block 3.* http://liar: it "):
        await alone.prove({CONTRACT: (0,)})


HEADER_NONSENSE: dict[str, Any] = {
    "a number": 7,
    "numbers": [1, 2],
    "too many": [{"header": "0x", "certificate": "0x"}] * 193,
    "no header": [{"certificate": "0x"}],
    "no rlp": [{"header": "0xff", "certificate": "0x"}],
    "a short list": [{"header": "0xc0", "certificate": "0x"}],
    "a number for a certificate": [{"header": "0xc0", "certificate": 7}],
}


@pytest.mark.parametrize("what", HEADER_NONSENSE)
async def test_nonsense_in_place_of_headers(town: Town, what: str) -> None:
    town.other.tamper["wattchain_getHeaders"] = lambda _, result: HEADER_NONSENSE[what]
    client = town.home.client(town.other, town.honest)
    await client.sync()
    assert verdicts(client) == {"http://other": Verdict.LIES, "http://honest": Verdict.FOLLOWED}
    assert town.home.head == town.head


@pytest.mark.parametrize("claim", [None, "0x", -1, "latest", hex(2**64), {}])
async def test_nonsense_in_place_of_a_number(town: Town, claim: object) -> None:
    town.other.tamper["eth_blockNumber"] = lambda _, result: claim
    client = town.home.client(town.other, town.honest)
    await client.sync()
    assert verdicts(client) == {"http://other": Verdict.LIES, "http://honest": Verdict.FOLLOWED}


async def test_other_headers_than_those_asked_for(town: Town) -> None:
    town.other.tamper["wattchain_getHeaders"] = lambda parameters, result: result[1:]
    client = town.home.client(town.other)
    await client.sync()
    assert "asked for header 0, the node answers with 1" in client.reports["http://other"].remark


async def test_more_headers_than_were_asked_for(town: Town) -> None:
    generous: list[Any] = await town.honest.request("wattchain_getHeaders", "0x0", "0x4")  # type: ignore[assignment]
    town.other.tamper["wattchain_getHeaders"] = lambda parameters, result: generous
    assert len(await town.other.source.headers(0, 4)) == 4
    with pytest.raises(InvalidAnswer):
        await town.other.source.headers(0, 2)


async def test_a_node_that_is_behind_is_not_believed_over_a_further_one(town: Town) -> None:
    town.other.tamper["eth_blockNumber"] = lambda _, result: "0x1"
    town.other.tamper["wattchain_getHeaders"] = lambda parameters, result: result[: max(2 - int(parameters[0], 16), 0)]
    client = town.home.client(town.other, town.honest)
    proof = await client.prove({ADDRESSES[7]: ()})
    assert proof.header == town.head
    assert proof.proved_by == "http://honest"
    assert verdicts(client) == {"http://other": Verdict.BEHIND, "http://honest": Verdict.FOLLOWED}
    assert "Warning: The node http://other is behind: " in warnings(client)[0]

    # Alone, it takes nothing back: there is no proof about the block that is known already.
    alone = town.home.client(town.other)
    with pytest.raises(UserError, match="No node proves"):
        await alone.prove({ADDRESSES[7]: ()})
    assert town.home.head == town.head


async def test_nodes_that_are_gone_or_refuse(town: Town) -> None:
    gone, refusing, old = town.node("http://gone"), town.node("http://refusing"), town.node("http://old")
    gone.is_gone = True

    def refuse(parameters: list[Any], result: Any) -> Any:
        raise RpcError("wattchain_getHeaders", -32601, "the method does not exist/is not available")

    old.tamper["eth_blockNumber"] = refuse
    refusing.tamper["wattchain_getHeaders"] = refuse
    client = town.home.client(gone, refusing, old, town.honest)
    await client.sync()
    assert verdicts(client) == {
        "http://gone": Verdict.UNREACHABLE,
        "http://refusing": Verdict.REFUSES,
        "http://old": Verdict.REFUSES,
        "http://honest": Verdict.FOLLOWED,
    }
    assert len(warnings(client)) == 3
    # They are asked again: whoever was gone may be back.
    gone.is_gone = False
    refusing.tamper.clear()
    await client.sync()
    assert list(verdicts(client).values()).count(Verdict.FOLLOWED) == 3


async def test_a_node_on_another_chain_is_of_no_use(town: Town, tmp_path: Path) -> None:
    genesis = world_genesis()
    home = Home(tmp_path / "pow", genesis, town.world.clock)
    client = home.client(town.honest)
    await client.sync()
    assert verdicts(client) == {"http://honest": Verdict.OTHER_CHAIN}
    assert "keeps another chain" in warnings(client)[0]


async def test_a_proof_is_asked_for_again_at_a_newer_block(town: Town) -> None:
    """The ledger grows between the headers and the proof, and the node keeps the newest state only."""
    grown = []

    def grow_once(parameters: list[Any], result: Any) -> Any:
        if not grown:
            grown.append(town.world.grow(1, [town.world.transfer(0, 7, 100)]))
            raise RpcError("eth_getProof", -32000, "proofs can be made for the latest block only")
        return result

    town.honest.tamper["eth_getProof"] = grow_once
    proof = await town.home.client(town.honest).prove({ADDRESSES[7]: ()})
    assert proof.header == town.head
    assert proof.header.number == 4
    assert proof.accounts[ADDRESSES[7]].balance == FUNDS_WEI + 105


async def test_a_proof_that_nobody_gives(town: Town) -> None:
    def refuse(parameters: list[Any], result: Any) -> Any:
        raise RpcError("eth_getProof", -32000, "not today")

    for node in (town.honest, town.other):
        node.tamper["eth_getProof"] = refuse
    client = town.home.client(town.honest, town.other)
    with pytest.raises(UserError) as caught:
        await client.prove({NOBODY: ()})
    for part in (
        "about block 3",
        "http://honest: The node refused eth_getProof: not today (code -32000).",
        "http://other",
    ):
        assert part in str(caught.value)


async def test_two_final_blocks_stop_everything(town: Town) -> None:
    client = town.home.client(town.honest)
    await client.sync()
    twin = child(town.world.ledger.blocks.canonical_header(2), timestamp_s=town.head.timestamp_s + 1)
    sealed = as_json(SealedHeader(twin, seal(twin, town.home.store.genesis.hash, SIGNERS[1:4])))
    town.other.tamper["wattchain_getHeaders"] = lambda parameters, result: [sealed]
    with pytest.raises(SealedTwice):
        await town.home.client(town.honest, town.other).prove({NOBODY: ()})


async def test_withheld_news_shows_as_age(town: Town) -> None:
    client = town.home.client(town.honest)
    await client.sync()
    assert (client.age_s(), client.is_stale()) == (0, False)
    town.world.clock.now_s += 300  # five times the pause between empty blocks
    assert not client.is_stale()
    town.world.clock.now_s -= 300
    town.world.clock.now_s += 3_000
    assert (client.age_s(), client.is_stale()) == (3_000, True)
    assert "is 50 min old: the network stands still, or the nodes that were asked withhold" in warnings(client)[0]


async def test_the_seals_of_the_head_are_counted(town: Town) -> None:
    client = town.home.client(town.honest)
    assert client.seals() is None
    await client.sync()
    assert client.seals() == (3, 4)


async def test_not_every_question_is_written_down(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    client = town.home.client(town.honest)
    await client.sync()
    first = town.home.store.record().checked_s
    town.world.clock.now_s += client_module.MARK_EVERY_S - 1
    await client.sync()
    assert town.home.store.record().checked_s == first
    town.world.clock.now_s += 1
    await client.sync()
    assert town.home.store.record().checked_s == first + client_module.MARK_EVERY_S


def test_nodes_are_bounded(town: Town) -> None:
    for count in (0, client_module.MAX_NODES + 1):
        with pytest.raises(UserError, match="nodes can be asked"):
            town.home.client(*[town.node(f"http://{index}") for index in range(count)])


class Dribbler(ScriptedSource):
    """Takes for ever to answer, from its second batch on."""

    def __init__(self, headers: list[SealedHeader], name: str) -> None:
        super().__init__(headers, name)
        self.is_slow = True

    async def headers(self, first: int, count: int) -> list[SealedHeader]:
        if self.is_slow and first > MAX_HEADERS - 1:
            await asyncio.Event().wait()
        return await super().headers(first, count)


async def test_a_node_that_dribbles_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TURN_TIME_S", 0.1)
    home = Home(tmp_path, world_genesis(), ManualClock(START_S + 10**6))
    trunk = mined_chain([SealedHeader(home.store.genesis)], 2 * MAX_HEADERS, home.trust.config)
    slow = Dribbler(mined_chain(trunk, 5, home.trust.config), "http://slow")
    quick = ScriptedSource(trunk, "http://quick")
    client = home.client(slow, quick)
    await client.sync()
    assert verdicts(client) == {"http://slow": Verdict.SLOW, "http://quick": Verdict.FOLLOWED}
    assert home.head == trunk[-1].header
    # What it began to tell was kept, and that it was not heard to its end is remembered.
    assert quick.asked[0] == MAX_HEADERS - 1
    assert not home.store.record().is_settled
    slow.is_slow = False
    await client.sync()
    assert home.head == slow.chain[-1].header
    assert home.store.record().is_settled


async def test_a_slow_node_has_all_the_time_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TURN_TIME_S", 0.05)
    home = Home(tmp_path, world_genesis(), ManualClock(START_S + 10**6))
    trunk = mined_chain([SealedHeader(home.store.genesis)], 2 * MAX_HEADERS, home.trust.config)
    slow, gone = Dribbler(trunk, "http://slow"), LightNode(None, home.clock, "http://gone")  # type: ignore[arg-type]

    async def fail(first: int, count: int) -> list[SealedHeader]:
        slow.is_slow = False
        raise NodeUnreachable("gone again")

    other = ScriptedSource(trunk[:2], "http://other")
    other.headers = fail  # type: ignore[method-assign]
    gone.is_gone = True
    client = home.client(slow, gone, other)
    await client.sync()
    assert verdicts(client)["http://slow"] is Verdict.FOLLOWED
    assert home.head == trunk[-1].header


async def test_work_decides_between_nodes_whatever_their_order(tmp_path: Path) -> None:
    home = Home(tmp_path, world_genesis(), ManualClock(START_S + 10**6))
    genesis = [SealedHeader(home.store.genesis)]
    trunk = mined_chain(genesis, 10, home.trust.config)
    poor = ScriptedSource(mined_chain(trunk, 4, home.trust.config, coinbase=b"\x01" * 20), "http://poor")
    rich = ScriptedSource(mined_chain(trunk, 5, home.trust.config, coinbase=b"\x02" * 20), "http://rich")
    for sources in ((poor, rich), (rich, poor)):
        home.store.reset()
        client = home.client(*sources)
        await client.sync()
        assert home.head == rich.chain[-1].header
        assert verdicts(client) == {"http://rich": Verdict.FOLLOWED, "http://poor": Verdict.BEHIND}
    assert not client.is_final


async def test_a_boaster_is_asked_first_and_gains_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, world_genesis(), ManualClock(START_S + 10**6))
    honest = ScriptedSource(mined_chain([SealedHeader(home.store.genesis)], 10, home.trust.config), "http://honest")
    boaster = ScriptedSource(
        mined_chain(honest.chain[:5], 2, home.trust.config, coinbase=b"\x01" * 20), "http://boaster"
    )

    async def boast() -> int:
        return 2**60

    boaster.head_number = boast  # type: ignore[method-assign]
    client = home.client(honest, boaster)
    await client.sync()
    assert list(verdicts(client)) == ["http://boaster", "http://honest"]
    assert home.head == honest.chain[-1].header


async def test_a_block_with_more_confirmations_may_be_asked_for(tmp_path: Path) -> None:
    with (world := World.open(tmp_path / "node")).ledger:
        home = Home(tmp_path / "light", world_genesis(), world.clock)
        node = LightNode(world.ledger, world.clock)
        world.grow(4)
        proof = await home.client(node).prove({ADDRESSES[7]: ()})
        assert (proof.header, proof.confirmations, proof.is_final) == (world.ledger.head(), 1, False)

        with world.ledger.view() as view:
            for confirmations, number in ((3, 2), (5, 0)):
                proof = await home.client(node).prove({ADDRESSES[7]: ()}, confirmations)
                before = view.state_at(number).account(ADDRESSES[7])
                assert before is not None
                assert (proof.header.number, proof.confirmations) == (number, confirmations)
                assert proof.accounts[ADDRESSES[7]].balance == before.balance

        # An answer about another block does not fit: it is that block which is asked for.
        node.tamper["eth_getProof"] = lambda parameters, result: parameters
        for confirmations, number in ((1, 4), (3, 2), (5, 0), (250, 0)):
            with pytest.raises(UserError):
                await home.client(node).prove({ADDRESSES[7]: ()}, confirmations)
            asked = [parameters[2]["blockHash"] for method, parameters in node.asked if method == "eth_getProof"]
            assert asked[-1] == to_data(world.ledger.blocks.canonical_hash(number) or b"")
