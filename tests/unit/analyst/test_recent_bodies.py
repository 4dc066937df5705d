"""The table of recent bodies: bounded, keyed, and honest about what it forgets."""

from hypothesis import given
from hypothesis import strategies as st

from onguard_sidecar.analyst.duplicates import SLOTS, WINDOW_S, Recent


@given(st.lists(st.binary(max_size=4), max_size=30))
def test_a_body_is_seen_exactly_when_it_came_before(bodies: list[bytes]) -> None:
    recent, together, last = Recent(b"key"), Recent(b"key"), dict[int, bytes]()
    found = []
    for body in bodies:
        slot = recent._number(body) % SLOTS  # two bodies of one slot overwrite one another
        assert recent.seen(body, now=1.0) == (last.get(slot) == body)
        found.append(last.get(slot) != body)
        last[slot] = body
    assert together.note_all(bodies, now=1.0) == found


def test_an_endless_loop_counts_once_a_minute() -> None:
    recent = Recent(b"key")
    fresh = [second for second in range(600) if not recent.seen(b"x", now=float(second))]
    assert fresh == list(range(0, 600, int(WINDOW_S)))


def test_memory_is_fixed_and_an_overwritten_body_is_new_again() -> None:
    recent = Recent(b"key", slots=1)
    assert [recent.seen(body, now=0.0) for body in (b"a", b"b", b"a", b"a")] == [False, False, False, True]


def test_hashes_depend_on_the_key() -> None:
    assert Recent(b"a")._hashes is not Recent(b"b")._hashes
    one, other = Recent(b"a"), Recent(b"b")
    one.seen(b"x", now=0.0)
    other.seen(b"x", now=0.0)
    assert set(one._hashes) != set(other._hashes)
