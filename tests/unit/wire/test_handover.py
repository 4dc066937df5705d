"""Exchanges arrive as they were sent, or not at all and counted; nothing that arrives does harm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard_sidecar import handover
from onguard_sidecar.exchange import BODY_CAP, HEAD_CAP, Exchange
from onguard_sidecar.handover import DATAGRAM_MAX, HandoverError, Receiver

SMALL = Exchange(1, 2, 3, -1, 5, 200, 9, 7, 8, b"head", b"{}", b"", b"x" * 300)
LARGE = SMALL._replace(request_body=b"q" * BODY_CAP, response_body=b"r" * 70_000)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
EXCHANGES = st.builds(Exchange, *[I64] * 9, *[st.binary(max_size=200)] * 4)


@given(st.lists(EXCHANGES, min_size=1))
def test_a_batch_arrives_whole_and_in_order(exchanges: list[Exchange]) -> None:
    datagram = handover.batch(exchanges)
    assert list(Receiver().feed(datagram)) == exchanges
    assert len(datagram) <= handover.EMPTY_BATCH + sum(map(handover.size_in_batch, exchanges))


def test_equal_heads_travel_once() -> None:
    exchange = SMALL._replace(request_head=b"h" * 1000)
    assert len(handover.batch([exchange] * 20)) - len(handover.batch([exchange] * 10)) < 10 * 500


def test_a_large_exchange_arrives_with_its_last_fragment() -> None:
    receiver, parts = Receiver(), handover.fragments(handover.encode(LARGE), 7)
    assert max(map(len, parts)) <= DATAGRAM_MAX
    assert [list(receiver.feed(part)) for part in parts] == [*[[]] * (len(parts) - 1), [LARGE]]
    assert receiver.lost == 0


def test_the_largest_exchange_is_within_the_limit_of_a_message() -> None:
    head, body = b"h" * HEAD_CAP, b"b" * BODY_CAP
    most = SMALL._replace(request_head=head, request_body=body, response_head=head, response_body=body)
    assert len(handover.encode(most)) <= handover.MESSAGE_MAX


@given(st.sets(st.integers(0, 18), min_size=1))
def test_a_message_that_lacks_fragments_is_lost_once_and_the_next_one_arrives(missing: set[int]) -> None:
    receiver, parts = Receiver(), handover.fragments(handover.encode(LARGE), 7)
    assert len(parts) == 19
    for number, part in enumerate(parts):
        if number not in missing:
            assert not list(receiver.feed(part))
    assert list(receiver.feed(handover.batch([SMALL]))) == [SMALL]
    assert receiver.lost == (len(missing) < len(parts))
    assert [x for part in handover.fragments(handover.encode(LARGE), 8) for x in receiver.feed(part)] == [LARGE]


@given(st.integers(0, 3000), st.integers(0, 255), st.booleans())
def test_a_damaged_datagram_raises_nothing_but_its_own_error(at: int, value: int, cut: bool) -> None:
    for datagram in (handover.batch([SMALL] * 3), *handover.fragments(handover.encode(LARGE), 1)[:2]):
        place = at % len(datagram)
        damaged = datagram[:place] if cut else datagram[:place] + bytes([value]) + datagram[place + 1 :]
        receiver = Receiver()
        with contextlib.suppress(HandoverError):
            receiver.feed(damaged)
        assert list(receiver.feed(handover.batch([SMALL]))) == [SMALL]


@given(st.binary(max_size=100), st.sampled_from([b"", b"OGB2", b"OGF1"]))
def test_noise_raises_nothing_but_its_own_error(noise: bytes, kind: bytes) -> None:
    with contextlib.suppress(HandoverError):
        Receiver().feed(kind + noise)


@pytest.mark.parametrize("record", [b"", b"x" * 87, handover.encode(SMALL) + b"x", handover.encode(SMALL)[:-1]])
def test_a_record_whose_lengths_do_not_add_up_is_refused(record: bytes) -> None:
    with pytest.raises(HandoverError, match="expected a record"):
        handover.decode(record)
