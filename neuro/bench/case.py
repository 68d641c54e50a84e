"""A comparison: ways of doing one thing, timed in turn so that a busy moment of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
    """Medians of interleaved runs.

    Attributes:
        case: what was done.
        contender: what ours was compared with.
        ours_s, theirs_s: median seconds; None for a contender that is missing.
        ratio: median over the rounds of theirs / ours.
        goal: the ratio asked for.
        missing: why there is no figure.
    """

    case: str
    contender: str
    ours_s: float
    theirs_s: float | None
    ratio: float | None
    goal: float | None
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is no goal or no figure."""
        return None if self.goal is None or self.ratio is None else self.ratio >= self.goal

    def to_document(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {**asdict(self), "met": self.met}


def run(case: Case, rounds: int) -> list[Result]:
    """Time ours and every contender `rounds` times in turn, after one round that is not counted."""
    present = [one for one in case.others if one.work is not None]
    works: list[Work] = [case.ours, *(one.work for one in present if one.work is not None)]
    times: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, found in zip(works, times, strict=True):
            seconds = _seconds(work)
            if number:
                found.append(seconds)
    ours, *theirs = times
    found_by_name = dict(zip((one.name for one in present), theirs, strict=True))
    return [_result(case.name, one, ours, found_by_name.get(one.name)) for one in case.others]


def _result(case: str, contender: Contender, ours: list[float], theirs: list[float] | None) -> Result:
    median = statistics.median(ours)
    if theirs is None:
        return Result(case, contender.name, median, None, None, contender.goal, contender.missing)
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
