"""Errors that name what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that says what to do."""


class RunError(RuntimeError):
    """A fault while running: a full disk, a loss that became NaN, an interruption."""


def unknown_name(kind: str, given: object, known: Iterable[str]) -> InputError:
    """Return an `InputError` for an unknown `kind` with the nearest of the `known` names."""
    names = sorted(known)
    nearest = difflib.get_close_matches(str(given), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else "choose one of the known names."
    return InputError(f"unknown {kind} {given!r}; {hint} Known: {', '.join(names)}.")
