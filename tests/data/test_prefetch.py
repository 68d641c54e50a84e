"""Batches from a background thread: order, errors, and the end of the thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from hardware_models.errors import InputError
from neuro.data.prefetch import prefetched


class Source:
    """Counts up to `count`, then raises; knows what was asked of it."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.made, self.closed = 0, threading.Event()
        self.threads: set[str] = set()
        self.step = threading.Semaphore(0)  # released after each that is made

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.made += 1
                self.threads.add(threading.current_thread().name)
                self.step.release()
                yield number
            if self.error:
                raise self.error
        finally:
            self.closed.set()


def running() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_order_is_unchanged_and_another_thread_makes_the_batches(depth: int) -> None:
    source = Source(20)
    assert list(prefetched(iter(source), depth)) == list(range(20))
    assert source.threads == {"prefetch"}
    assert source.closed.is_set()
    assert running() == 0


def test_an_empty_source() -> None:
    assert list(prefetched(iter([]))) == []


def test_no_more_than_depth_are_made_ahead() -> None:
    source = Source(10)
    batches = prefetched(iter(source), 3)
    assert source.made == 0
    assert next(batches) == 0
    for _ in range(3):
        assert source.step.acquire(timeout=5)
    assert not source.step.acquire(timeout=0.05)
    assert source.made == 3  # the one that was taken counts until the next is asked for
    assert next(batches) == 1
    assert source.step.acquire(timeout=5)
    batches.close()


def test_an_error_comes_in_its_place() -> None:
    batches = prefetched(iter(Source(3, InputError("cannot read the image 3"))))
    taken = []
    with pytest.raises(InputError, match="cannot read the image 3"):
        taken.extend(batches)
    assert taken == [0, 1, 2]
    assert next(batches, None) is None
    assert running() == 0


def test_closing_early_closes_the_source_and_ends_the_thread() -> None:
    source = Source(10**9)
    batches = prefetched(iter(source))
    assert next(batches) == 0
    batches.close()
    assert source.closed.is_set()
    assert running() == 0
    assert source.made <= 4


def test_a_consumer_that_fails_or_forgets_ends_the_thread() -> None:
    source = Source(10**9)

    def consume() -> None:
        for number in prefetched(iter(source)):
            if number == 2:
                raise KeyError(number)

    with pytest.raises(KeyError):
        consume()
    gc.collect()
    assert source.closed.is_set()
    assert running() == 0


def test_closing_before_the_first_batch_starts_nothing() -> None:
    source = Source(3)
    prefetched(iter(source)).close()
    assert (source.made, running()) == (0, 0)


def test_a_depth_of_nothing_is_refused_at_the_call() -> None:
    with pytest.raises(InputError, match="depth of at least 1"):
        prefetched(iter([]), 0)
