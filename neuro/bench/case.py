"""A comparison: ways of doing one thing, timed in turn so that a busy moment of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """One way of doing it.

    Attributes:
        name: for people.
        work: does it once; None where it cannot be done here.
        missing: why not.
        goal: how many times as long as ours it should take; None where nothing was asked.
    """

    name: str
    work: Work | None
    missing: str = ""
    goal: float | None = None


@dataclass(frozen=True)
class Case:
    """What is compared: ours first, then the others."""

    name: str
    ours: Work
    others: Sequence[Contender]


@dataclass(frozen=True)
class Result:
    """What was measured of ours and of one contender.

    Attributes:
        case: what was done.
        contender: what ours was compared with.
        ours, theirs: median seconds of interleaved runs, or bytes; None where there is no figure.
        ratio: of times, the median over the rounds of theirs / ours; of bytes, ours / theirs.
        goal: the ratio asked for: at least that of times, at most that of bytes.
        unit: of ours and theirs, `s` or `bytes`.
        missing: why there is no figure.
    """

    case: str
    contender: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    goal: float | None
    unit: str = "s"
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is no goal or no figure."""
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio >= self.goal if self.unit == "s" else self.ratio <= self.goal

    def to_document(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {**asdict(self), "met": self.met}


def run(case: Case, rounds: int) -> list[Result]:
    """Time ours and every contender `rounds` times in turn, after one round that is not counted.

    Before each timed run the same work runs once untimed, so that it finds caches and the memory allocator as it leaves
    them itself, and not as the contender before it did. A contender that fails in the first round is left out, with its
    reason.
    """
    _seconds(case.ours)
    others = [_warmed_up(one) for one in case.others]
    present = [one for one in others if one.work is not None]
    works: list[Work] = [case.ours, *(one.work for one in present if one.work is not None)]
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, found in zip(works, times, strict=True):
            work()
            found.append(_seconds(work))
    ours, *theirs = times
    found_by_name = dict(zip((one.name for one in present), theirs, strict=True))
    return [_result(case.name, one, ours, found_by_name.get(one.name)) for one in others]


def one_line(error: BaseException) -> str:
    """Return an error as one line, for `missing`."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _warmed_up(one: Contender) -> Contender:
    if one.work is None:
        return one
    try:
        _seconds(one.work)
    except Exception as error:  # other people's software, compilers among it, fails in its own ways
        return replace(one, work=None, missing=one_line(error))
    return one


def _result(case: str, contender: Contender, ours: list[float], theirs: list[float] | None) -> Result:
    median = statistics.median(ours)
    if theirs is None:
        return Result(case, contender.name, median, None, None, contender.goal, missing=contender.missing)
    ratio = statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))
    return Result(case, contender.name, median, statistics.median(theirs), ratio, contender.goal)


def _seconds(work: Work) -> float:
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
