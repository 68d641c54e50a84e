"""What torch.export complains about, as one sentence with the line of the user's code and a way out."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardware_models.errors import InputError

_INSIDE = (Path(torch.__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2] / "neuro")
"""Code of these folders is no user's."""

_CALLER = Path(__file__).with_name("export.py")
"""Above it in the stack is whoever asked for the capture."""

_LIBRARIES = ("/site-packages/", "/dist-packages/", "<")
"""Nor is it what lies there, as long as there is other code to point at."""

_DATA_DEPENDENT = ("data-dependent", "GuardOnDataDependent", "Cannot cast FakeTensor", "aten._local_scalar_dense")


def complaint(error: Exception, again: Callable[[], Any]) -> InputError:
    """Return the error to raise for one that `torch.export` raised; `again` exports once more."""
    text = f"{type(error).__name__} {error}"
    if any(sign in text for sign in _DATA_DEPENDENT):
        return InputError(
            f"{line_of(error)} decides by the values of a tensor what to run next, which no fixed network can do; "
            "write it with torch.where, or convert the part of the network behind it."
        )
    if "Constraints violated" in text or "ConstraintViolation" in text or "specialized" in text:
        lines = _lines_that_fix_shapes(again)
        if len(lines) > 3:
            lines = [*lines[:3], f"{len(lines) - 3} more"]
        return InputError(
            f"{' and '.join(lines) or line_of(error)} fixes the size of the batch; take sizes from x.shape instead of "
            "numbers, and let nothing else depend on how many samples there are."
        )
    return InputError(
        f"torch.export cannot capture the network at {line_of(error)} ({said(error)}); change that line, "
        "or give a program that was exported with a dynamic first axis."
    )


def forward_complaint(error: Exception, inputs: Iterable[Tensor]) -> InputError:
    """Return the error to raise where the network itself fails on its example inputs."""
    shapes = ", ".join(str(list(x.shape)) for x in inputs)
    return InputError(
        f"the network fails on inputs {shapes} at {line_of(error)} ({said(error)}); give an example input "
        "of the shape and type that it takes."
    )


def batch_complaint(error: Exception, inputs: Iterable[Tensor]) -> InputError:
    """Return the error to raise where it fails on twice as many samples as it was given."""
    return InputError(
        f"{line_of(error)} fixes the size of the batch ({said(error)}); take sizes from x.shape instead of numbers."
    )


def of_users(frames: Iterable[traceback.FrameSummary]) -> str | None:
    """Return the innermost line of user's code, else of a library's, else None: `file.py:12 (forward)`."""
    outside = [f for f in frames if f.filename[:1] != "<" and not _is_inside(f.filename)]
    own = [f for f in outside if not any(part in f.filename for part in _LIBRARIES)]
    for frame in [*outside[-1:], *own[-1:]][::-1]:
        return f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})"
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch.export's half-finished graphs and warnings from the terminal: the sentence says what is needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def line_of(error: BaseException) -> str:
    """Return the line of user's code where an error arose."""
    found = of_users(traceback.extract_tb(error.__traceback__))
    if found:
        return found
    named = re.search(r'File "([^"]+)", line (\d+), in (\w+)', str(error))
    return f"{Path(named[1]).name}:{named[2]} ({named[3]})" if named else "its own code"


def said(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = re.sub(r"\s+", " ", str(error).split("\n\n")[0]).strip().rstrip(".")
    return f"{type(error).__name__}: {text[:250]}" if text else type(error).__name__


def _is_inside(filename: str) -> bool:
    python = filename.startswith(sysconfig.get_path("stdlib")) and "-packages" not in filename
    return python or any(Path(filename).is_relative_to(folder) for folder in _INSIDE)


class _Guards(logging.Handler):
    """Notes which line of the network was running whenever torch.export fixed something about a shape."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        stack = traceback.extract_stack()
        above = max((i for i, frame in enumerate(stack) if frame.filename == str(_CALLER)), default=-1)
        line = of_users(stack[above + 1 :])
        if "[guard added]" in record.getMessage() and line and line not in self.lines:
            self.lines.append(line)


def _lines_that_fix_shapes(again: Callable[[], Any]) -> list[str]:
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    handlers, level, propagate, disabled = logger.handlers, logger.level, logger.propagate, logging.root.manager.disable
    guards = _Guards()
    logger.handlers, logger.propagate = [guards], False
    logger.setLevel(logging.INFO)
    logging.disable(logging.NOTSET)
    try:
        with contextlib.suppress(Exception):  # the complaint that is being explained
            again()
    finally:
        logging.disable(disabled)
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    return guards.lines
