"""The terminal that commands print to: one whose reader may leave, and one that knows ASCII only."""

from __future__ import annotations

import codecs
import sys
from typing import Any

from rich.console import Console

_PLAIN = {"µ": "u", "–": "-", "—": "-", "×": "x", "\N{NO-BREAK SPACE}": " ", "→": "->", "±": "+-"}


class Terminal(Console):
    """A console without rich's highlighting, for which a reader who leaves is no fault."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, **settings)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly as `head` expects."""
        raise BrokenPipeError


def speak_plainly() -> None:
    """Let a terminal that is no Unicode one show `uJ` for `µJ` instead of failing."""
    codecs.register_error("neuro-plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower()
        if hasattr(stream, "reconfigure") and not encoding.startswith("utf"):
            stream.reconfigure(errors="neuro-plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in unknown), error.end
