"""Evaluation by several processes of this machine, any of which may be killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_end
from typing import Any, Final

import numpy as np

from hardware_models.errors import InputError, RunError
from hardware_models.studies.answers import Evaluate
from hardware_models.studies.chunks import Here, Workers, results_or_reason
from hardware_models.studies.columns import Columns
from hardware_models.studies.ray_workers import RayWorkers
from hardware_models.studies.results import Results

AGAIN: Final = 3
"""How often a chunk is evaluated again whose worker was killed."""

MOST: Final = 1024
"""Workers beyond this are a slip of the pen."""


@contextlib.contextmanager
def workers(wanted: int | str, evaluate: Evaluate) -> Iterator[Workers]:
    """Yield who evaluates: `wanted` processes, `ray`, or the Ray cluster at `ray://HOST:PORT`; one is this process.

    Args:
        wanted: how many, or where.
        evaluate: is sent to every worker once, so it must be one that can be pickled.

    Raises:
        InputError: no such workers; Ray is not installed, or not reached.
        RunError: a worker cannot start.
    """
    text = str(wanted)
    if text == "ray" or text.startswith("ray://"):
        with contextlib.closing(RayWorkers(evaluate, None if text == "ray" else text)) as cluster:
            yield cluster
        return
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise InputError(f"workers were {text!r}; give their number, ray, or ray://HOST:PORT.")
    if int(text) == 1:
        yield Here(evaluate)
        return
    with contextlib.closing(Processes(evaluate, int(text))) as processes:
        yield processes


class Processes:
    """Evaluates by `count` processes.

    A killed one loses the chunk that it was at, which is evaluated again, at most `AGAIN` times. An interrupt ends
    this process alone, which ends the others; where this process is killed they end by themselves.
    """

    def __init__(self, evaluate: Evaluate, count: int) -> None:
        self._processes: list[_Process] = []
        try:
            for number in range(1, count + 1):
                self._processes.append(_Process(evaluate, f"process {number}"))
            for process in self._processes:
                process.wait()
        except BaseException:
            self.close()
            raise

    def run(self, chunks: Sequence[Columns]) -> Iterator[tuple[int, Results | str]]:
        waiting, lost = deque(range(len(chunks))), Counter[int]()
        idle, busy = list(reversed(self._processes)), dict[Future[Results | str], tuple[_Process, int]]()
        while waiting or busy:
            while waiting and idle:
                process, number = idle.pop(), waiting.popleft()
                busy[process.submit(chunks[number])] = process, number
            done, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in done:
                process, number = busy.pop(future)
                idle.append(process)
                try:
                    yield number, process.result(future)
                except BrokenProcessPool:
                    lost[number] += 1
                    process.start()
                    process.wait()
                    if lost[number] <= AGAIN:
                        waiting.appendleft(number)
                    else:
                        yield number, f"the process that evaluated it was killed {lost[number]} times."

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for process in self._processes:
            process.end()


class _Process:
    """One process that evaluates, in a pool of its own: if it is killed, no other is."""

    def __init__(self, evaluate: Evaluate, name: str) -> None:
        self._evaluate, self._name = evaluate, name
        self.start()

    def start(self) -> None:
        """Begin to start the process; an evaluation that cannot be sent to it is an `InputError`."""
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(self._evaluate,))
        try:
            with _interrupts_held():
                self._started = self._pool.submit(os.getpid)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise InputError(f"the evaluation cannot be sent to workers ({error}); use one worker.") from error

    def wait(self) -> None:
        """Wait until the process has started; one that cannot is a `RunError`."""
        try:
            self._started.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process did not start; in a script of your own, call behind "
                "if __name__ == '__main__', else see that the memory suffices."
            ) from error

    def submit(self, points: Columns) -> Future[Results | str]:
        """Begin to evaluate `points`."""
        try:
            return self._pool.submit(_evaluate, points)
        except BrokenProcessPool as error:  # it was killed while it waited
            future: Future[Results | str] = Future()
            future.set_exception(error)
            return future

    def result(self, future: Future[Results | str]) -> Results | str:
        """Return what was found, in the name of this process."""
        found = future.result()
        if isinstance(found, str):
            return found
        return replace(found, worker=np.full(len(found), self._name, dtype=object))

    def end(self) -> None:
        """End the process, whatever it is at."""
        if self._started.done() and not self._started.cancelled() and self._started.exception() is None:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(self._started.result(), signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)


_evaluation: Any = None
"""Of a worker process: what evaluates."""


def _begin(evaluate: Evaluate) -> None:
    global _evaluation
    _evaluation = evaluate
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process where the one that started it has ended, perhaps killed: nobody waits for an answer."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_end([parent.sentinel])
        os._exit(1)


def _evaluate(points: Columns) -> Results | str:
    return results_or_reason(_evaluation, points)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold interrupts (Ctrl-C) back: a process that is started meanwhile never gets one, this one gets it after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
