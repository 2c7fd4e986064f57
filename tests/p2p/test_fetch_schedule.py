"""Who is asked for what: never two at once, never one again that failed, never more than a peer may have waiting."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.fetch_schedule import FetchSchedule
from tests.p2p.memory_network import node

ITEMS = [bytes([number]) * 32 for number in range(6)]
NODES = [node(number) for number in range(1, 4)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["announced", "take", "failed", "settle", "forget"]),
            st.sampled_from(NODES),
            st.lists(st.sampled_from(ITEMS), unique=True),
        )
    )
)
def test_a_schedule_never_asks_two_for_one_thing(steps: list[tuple[str, bytes, list[bytes]]]) -> None:
    schedule = FetchSchedule(4)
    announced: dict[bytes, set[bytes]] = {node_id: set() for node_id in NODES}
    asked: dict[bytes, bytes] = {}
    for step, node_id, items in steps:
        if step == "announced":
            ignored = schedule.announced(node_id, items)
            new = [item for item in items if item not in announced[node_id]]
            room = 4 - len(announced[node_id])
            assert ignored == max(0, len(new) - room)
            announced[node_id].update(new[:room])
        elif step == "take":
            taken = schedule.take(node_id, 2, busy=items)
            assert not set(taken) & (asked.keys() | set(items))
            assert set(taken) <= announced[node_id]
            could = [item for item in announced[node_id] if item not in asked and item not in items]
            assert len(taken) == min(2, len(could))
            asked.update(dict.fromkeys(taken, node_id))
        elif step == "settle":
            for item in items:
                schedule.settle(item)
                asked.pop(item, None)
                for known in announced.values():
                    known.discard(item)
        else:
            failed = items if step == "failed" else list(announced[node_id])
            if step == "failed":
                schedule.failed(node_id, items)
            else:
                schedule.forget_peer(node_id)
            announced[node_id] -= set(failed)
            asked = {item: by for item, by in asked.items() if by != node_id or item not in failed}
        assert len(schedule) == len(set().union(*announced.values()))
