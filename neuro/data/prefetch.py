"""Batches made in a background thread, so that reading overlaps with computing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

from hardware_models.errors import InputError

T = TypeVar("T")


def prefetched(batches: Iterator[T], depth: int = 2) -> Generator[T]:
    """Yield the same batches in the same order, made ahead by a thread.

    What the source raises is raised here, in the place of the batch that it did not give. Closing the iterator, or
    leaving it to be collected, closes the source and ends the thread.

    Args:
        batches: the source; nobody else may use it.
        depth: most batches that are ready and not yet taken.

    Raises:
        InputError: `depth` below 1, at the call.
    """
    if depth < 1:
        raise InputError(f"{depth} batches cannot be made ahead; give a depth of at least 1.")
    return _prefetched(batches, depth)


@dataclass(frozen=True)
class _Ended:
    """The end of the source, and what it raised, if anything."""

    error: BaseException | None = None


class _Producer(Generic[T]):
    """What the two threads share. It knows nothing of the consumer, which can so be collected."""

    def __init__(self, batches: Iterator[T], depth: int) -> None:
        self.batches = batches
        self.room = Semaphore(depth)
        self.ready: SimpleQueue[T | _Ended] = SimpleQueue()
        self.stopped = Event()

    def run(self) -> None:
        """Make batches until the source ends or the consumer stops."""
        try:
            while self._may_go_on():
                self.ready.put(next(self.batches))
        except StopIteration:
            self.ready.put(_Ended())
        except BaseException as error:
            self.ready.put(_Ended(error))
        finally:
            if close := getattr(self.batches, "close", None):
                close()

    def _may_go_on(self) -> bool:
        self.room.acquire()
        return not self.stopped.is_set()

    def stop(self) -> None:
        """Let the thread see that nobody waits any more."""
        self.stopped.set()
        self.room.release()


def _prefetched(batches: Iterator[T], depth: int) -> Generator[T]:
    producer = _Producer(batches, depth)
    thread = Thread(target=producer.run, name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(batch := producer.ready.get(), _Ended):
            yield batch
            producer.room.release()
        if batch.error is not None:
            raise batch.error
    finally:
        producer.stop()
        thread.join()
