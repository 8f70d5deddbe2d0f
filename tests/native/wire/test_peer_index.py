"""What peers hold of what they share: who has the most, and which of theirs were idle for longest."""

from hypothesis import given
from hypothesis import strategies as st

from modelward_native.wire.peer_index import PeerIndex

STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "touch"]), st.sampled_from("abcd"), st.integers(0, 5)))


@given(STEPS)
def test_what_peers_have_is_what_they_took_and_did_not_give_back(steps: list[tuple[str, str, int]]) -> None:
    index, expected = PeerIndex(), {peer: list[int]() for peer in "abcd"}
    for step, peer, item in steps:
        held = expected[peer]
        if step == "enter" and item not in held:
            index.enter(peer, item)
            held.append(item)
        elif step == "leave":
            assert index.leave(peer, item) == (item in held)
            expected[peer] = [each for each in held if each != item]
        elif step == "touch":
            index.touch(peer, item)
            if item in held:
                expected[peer] = [*(each for each in held if each != item), item]
        counts = sorted(map(len, expected.values()), reverse=True)
        assert {peer: [*index.of(peer)] for peer in "abcd"} == expected
        assert (index.taken, index.most) == (sum(counts), counts[0])
        largest = [len(expected[peer]) for peer in index.largest(3)]
        assert largest == [count for count in counts if count][:3]


def test_of_equal_peers_each_has_its_turn() -> None:
    index = PeerIndex()
    for peer in "abc":
        index.enter(peer, 1)
    assert {index.largest(1)[0] for _ in range(3)} == set("abc")
