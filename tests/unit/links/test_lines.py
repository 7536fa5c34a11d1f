from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.links.lines import SCRATCH_BYTES, Line, Lines, Pool, TooLong

MAX = 4 * SCRATCH_BYTES


def receive(lines: Lines, data: bytes) -> int:
    """Give what fits, as a socket would."""
    space = lines.space()
    count = min(len(space), len(data))
    space[:count] = data[:count]
    lines.received(count)
    return count


def cut(lines: Lines) -> list[bytes | None]:
    """Every line there is; None for one that was dropped."""
    found: list[bytes | None] = []
    while (line := lines.next()) is not None:
        found.append(bytes(line.buffer[line.start : line.end]) if isinstance(line, Line) else None)
    return found


def feed(lines: Lines, data: bytes) -> list[bytes | None]:
    found: list[bytes | None] = []
    while data:
        data = data[receive(lines, data) :]
        found += cut(lines)
    return found


def fresh(line_max: int = MAX) -> tuple[Pool, Lines]:
    pool = Pool(64 * MAX)
    return pool, Lines(pool, line_max)


sizes = st.one_of(
    st.integers(0, 20), st.integers(SCRATCH_BYTES - 3, SCRATCH_BYTES + 3), st.integers(MAX - 2, MAX + 2)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(sizes, max_size=6), st.data())
def test_lines_come_out_as_they_went_in_however_they_are_chopped(
    lengths: list[int], data: st.DataObject
) -> None:
    pool, lines = fresh()
    sent = [bytes([65 + index]) * length for index, length in enumerate(lengths)]
    stream = b"".join(line + b"\n" for line in sent)
    found: list[bytes | None] = []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    for start, end in pairwise([0, *cuts, len(stream)]):
        found += feed(lines, stream[start:end])
        lines.park()
    assert found == [line if len(line) <= MAX else None for line in sent]
    assert lines.rest() is None
    assert pool._left_bytes == 64 * MAX


def test_a_connection_between_lines_owns_no_memory() -> None:
    pool, lines = fresh()
    feed(lines, b"x" * SCRATCH_BYTES * 3 + b"\nshort\n")
    assert lines._own is None
    assert pool._left_bytes == 64 * MAX


def test_a_line_that_is_too_long_is_dropped_while_it_comes_and_the_next_is_read() -> None:
    pool, lines = fresh()
    assert feed(lines, b"x" * 10 * MAX) == [None]
    assert pool._left_bytes == 64 * MAX
    assert feed(lines, b"x" * MAX + b"\nnext\n") == [b"next"]


def test_the_end_of_a_long_line_is_not_taken_for_a_line() -> None:
    _pool, lines = fresh()
    assert feed(lines, b"x" * 2 * MAX) == [None]
    assert feed(lines, b"xxx\n{}\n") == [b"{}"]


def test_two_connections_share_the_scratch_buffer_without_mixing() -> None:
    pool = Pool(64 * MAX)
    one, two = Lines(pool, MAX), Lines(pool, MAX)
    assert feed(one, b"first ha") == []
    assert feed(two, b"other\n") == [b"other"]
    assert feed(one, b"lf\n") == [b"first half"]


def test_a_turn_can_be_left_and_taken_up_again() -> None:
    pool = Pool(64 * MAX)
    one, two = Lines(pool, MAX), Lines(pool, MAX)
    receive(one, b"a\nb\nc")
    first = one.next()
    assert isinstance(first, Line)
    one.park()
    feed(two, b"xxxxxxxxxxxxxxxxxx\n")
    assert cut(one) == [b"b"]
    assert feed(one, b"d\n") == [b"cd"]


def test_what_lacks_its_newline_at_the_end_is_the_rest() -> None:
    _pool, lines = fresh()
    feed(lines, b"a\nrest")
    rest = lines.rest()
    assert rest is not None
    assert bytes(rest.buffer[rest.start : rest.end]) == b"rest"


def test_where_all_memory_is_taken_a_long_line_is_dropped_and_the_connection_goes_on() -> None:
    pool = Pool(3 * SCRATCH_BYTES)
    one, two = Lines(pool, MAX), Lines(pool, MAX)
    assert feed(one, b"x" * 100) == []
    receive(two, b"y" * 100)
    dropped = two.next()
    assert isinstance(dropped, TooLong)
    assert "try again" in dropped.reason
    assert feed(two, b"y\n{}\n") == [b"{}"]
    assert feed(one, b"\n") == [b"x" * 100]
    assert feed(two, b"z" * 100) == []


@pytest.mark.parametrize("count", [1, 5])
def test_spare_buffers_are_kept_within_bounds_and_used_again(count: int) -> None:
    pool = Pool(1 << 30)
    buffers = [pool.take(2 * 1024 * 1024) for _ in range(count)]
    for buffer in buffers:
        assert buffer is not None
        pool.give(buffer)
    assert sum(map(len, pool._spare)) <= 4 * 1024 * 1024
    assert pool.take(100) in buffers
