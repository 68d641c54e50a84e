"""Sentences folded to the width of a terminal, with hanging indents."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text


def wrapped(text: str, width: int, prefix: str = "", style: str = "") -> Iterator[Text]:
    """Yield the lines of `text`, the first after `prefix` and the others below the first one's text."""
    lines = textwrap.wrap(text, width, initial_indent=prefix, subsequent_indent=" " * len(prefix))
    return (Text(line, style=style) for line in lines)


def print_wrapped(console: Console, text: str, prefix: str = "", style: str = "") -> None:
    """Print `text` folded to the console's width."""
    for line in wrapped(text, console.width, prefix, style):
        console.print(line, soft_wrap=True)
