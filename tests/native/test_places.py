"""Places that holders share: who has the most, and which of theirs were idle for longest."""

from hypothesis import given
from hypothesis import strategies as st

from modelward_native.wire.places import Places

STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "touch"]), st.sampled_from("abcd"), st.integers(0, 5)))


@given(STEPS)
def test_what_holders_have_is_what_they_took_and_did_not_give_back(steps: list[tuple[str, str, int]]) -> None:
    places, expected = Places(), {holder: list[int]() for holder in "abcd"}
    for step, holder, item in steps:
        held = expected[holder]
        if step == "enter" and item not in held:
            places.enter(holder, item)
            held.append(item)
        elif step == "leave":
            assert places.leave(holder, item) == (item in held)
            expected[holder] = [each for each in held if each != item]
        elif step == "touch":
            places.touch(holder, item)
            if item in held:
                expected[holder] = [*(each for each in held if each != item), item]
        counts = sorted(map(len, expected.values()), reverse=True)
        assert {holder: [*places.of(holder)] for holder in "abcd"} == expected
        assert (places.taken, places.most) == (sum(counts), counts[0])
        largest = [len(expected[holder]) for holder in places.largest(3)]
        assert largest == [count for count in counts if count][:3]


def test_of_equal_holders_each_has_its_turn() -> None:
    places = Places()
    for holder in "abc":
        places.enter(holder, 1)
    assert {places.largest(1)[0] for _ in range(3)} == set("abc")
