"""One hand-written layer as keys and values: read them with the right type, or refuse them by place and name.

Values come from YAML, typed, or from CSV, as text; an empty cell is a key that was not given. Several numbers in a
cell stand apart by spaces, `x` or `;`.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from hardware_models.errors import InputError

_MANY = re.compile(r"[\s;x×\[\],]+")
_DIGITS = re.compile(r"[0-9]+")
_SHORT = 60
MOST_TIMESTEPS = 1_000_000
LARGEST = 2**53
"""Sizes beyond it are refused: no network has them, and columns of sizes would lose digits."""


class Entries:
    """The entries of one layer.

    Args:
        place: file and line or layer, for messages.
        given: what the layer says.
        defaults: what holds where it says nothing.
    """

    __slots__ = ("defaults", "given", "place")

    def __init__(self, place: str, given: Mapping[str, object], defaults: Mapping[str, object]) -> None:
        self.place = place
        self.given = given
        self.defaults = defaults

    def raw(self, key: str) -> object:
        """Return what is given for `key`, else its default, else None."""
        value = self.given.get(key)
        return self.defaults.get(key) if value is None else value

    def refuse(self, sentence: str) -> NoReturn:
        """Raise an `InputError` at this layer."""
        raise InputError(f"{self.place}: {sentence}")

    def missing(self, key: str, needed_for: str) -> NoReturn:
        """Refuse the layer because it lacks `key`."""
        self.refuse(f"{key} is missing, which is needed for {needed_for}; state it in the layer or as a default.")

    def text(self, key: str) -> str | None:
        """Return a word or name."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            self.refuse(f"{key} is {_shown(value)}; give a word.")
        return str(value).strip()

    def word(self, key: str, known: Collection[str]) -> str | None:
        """Return one of the `known` words."""
        value = self.text(key)
        if value is None:
            return None
        if value.lower() not in known:
            self.refuse(_unknown(key, value, known))
        return value.lower()

    def size(self, key: str, least: int = 1) -> int | None:
        """Return one whole number."""
        found = self.sizes(key, least)
        if found is not None and len(found) != 1:
            self.refuse(f"{key} is {_shown(self.raw(key))}; give one whole number.")
        return found[0] if found else None

    def timesteps(self) -> int | None:
        """Return the number of timesteps."""
        found = self.size("timesteps")
        if found is not None and found > MOST_TIMESTEPS:
            self.refuse(f"timesteps is {found}; give at most {MOST_TIMESTEPS}, for each has a density of its own.")
        return found

    def sizes(self, key: str, least: int = 1) -> tuple[int, ...] | None:
        """Return one or more whole numbers of at least `least`."""
        value = self.raw(key)
        if value is None:
            return None
        numbers = _wholes(_written(value))
        if not numbers:
            self.refuse(f"{key} is {_shown(value)}; give whole numbers, for example 3 or 3x3.")
        if not least <= min(numbers) <= max(numbers) <= LARGEST:
            self.refuse(f"{key} is {_shown(value)}; give numbers of {least} to {LARGEST}.")
        return numbers

    def shares(self, key: str, timesteps: int, most: float = 1.0) -> tuple[float, ...] | None:
        """Return one number from 0 to `most` for each timestep; a single one holds for all of them."""
        value = self.raw(key)
        if value is None:
            return None
        shares = _numbers(_written(value))
        if not shares:
            self.refuse(f"{key} is {_shown(value)}; give a number, or one for each timestep.")
        if not 0 <= min(shares) <= max(shares) <= most:
            wanted = "from 0 to 1" if most == 1 else "of at least 0"
            self.refuse(f"{key} is {_shown(value)}; give numbers {wanted}, for it is a mean over the operand's values.")
        if len(shares) not in (1, timesteps):
            self.refuse(f"{key} has {len(shares)} numbers for {timesteps} timesteps; give one, or one for each.")
        return shares * timesteps if len(shares) == 1 else shares

    def only(self, known: Collection[str], kind: str, anywhere: Collection[str]) -> None:
        """Refuse a given key that a layer of this kind does not have, with the nearest that it has."""
        for key, value in self.given.items():
            if not isinstance(key, str):
                self.refuse(f"the key {_shown(key)} is no word; put it in quotes, or mend it.")
            if key in known or value is None:
                continue
            if key in anywhere:
                self.refuse(f"{key} means nothing to a layer of kind {kind}; remove it, or use {_list(known)}.")
            self.refuse(_unknown("key", key, known))


def _written(value: object) -> str | tuple[str, ...]:
    """Return a value as text, so that YAML and CSV read alike and what is said often is read once."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else str(value)


@functools.lru_cache(maxsize=4096)
def _wholes(written: str | tuple[str, ...]) -> tuple[int, ...]:
    """Return the whole numbers of a value; none where something else stands among them."""
    parts = _parts(written)
    return tuple(map(int, parts)) if all(len(part) < _SHORT and _DIGITS.fullmatch(part) for part in parts) else ()


@functools.lru_cache(maxsize=4096)
def _numbers(written: str | tuple[str, ...]) -> tuple[float, ...]:
    """Return the finite numbers of a value; none where something else stands among them."""
    try:
        numbers = tuple(map(float, _parts(written)))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _parts(written: str | tuple[str, ...]) -> Sequence[str]:
    return written if isinstance(written, tuple) else [part for part in _MANY.split(written) if part]


def _unknown(kind: str, given: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(given.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose one of {_list(known)}."
    return f"unknown {kind} {_shown(given)}; {hint}"


def _list(known: Collection[str]) -> str:
    return ", ".join(sorted(known))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
