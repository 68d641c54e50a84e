"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"([\\`*_{}\[\]|#~$])")


def escaped(text: str) -> str:
    """Make any text stand as itself, on one line."""
    return _SIGNS.sub(r"\\\1", " ".join(text.split())).replace("<", "&lt;").replace(">", "&gt;")


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Return a table; the columns after the first `text_columns` are numbers."""
    rule = ["---" if i < text_columns else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *rows])


def percent(share: float | None) -> str:
    """Write a share with two decimals; `-` where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"
