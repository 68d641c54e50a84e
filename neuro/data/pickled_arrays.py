"""Reads pickles of plain data (dicts, lists, tuples, bytes, str, int, numpy arrays of numbers) without unpickling.

A pickle is a program, and the unpickler runs whatever it names. Here its opcodes (`pickletools`) are interpreted one by
one: a name is never looked up, only compared with the few that stand for an array, and all else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from hardware_models.errors import InputError

_MARK = object()
_INTEGERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
_TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
_BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
_PUSHED = _INTEGERS | _TEXTS | _BYTES
_OLD_STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})  # str of Python 2: bytes, shown as Latin-1
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME", "STOP"})
_KNOWN = frozenset(
    {
        "numpy.core.multiarray._reconstruct",
        "numpy.core.numeric._frombuffer",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
    }
)
_NUMBERS = "biuf"
"""numpy's kinds of dtype whose values are numbers of fixed width."""


class RefusedError(Exception):
    """The pickle wants something else than plain data."""


@dataclass
class _Name:
    """A global, which is compared and never looked up."""

    name: str


@dataclass
class _Blank:
    """An array that was announced and gets its content later, and where the memo keeps it."""

    keys: list[int] = field(default_factory=list)


@dataclass
class _Dtype:
    """A dtype as numpy pickles it: `u1`, and its byte order later."""

    code: str
    order: str = "="

    def plain(self) -> np.dtype[Any]:
        """Return the dtype if it is one of numbers."""
        try:
            dtype = np.dtype(self.code)
        except (TypeError, ValueError, SyntaxError) as error:
            raise RefusedError(f"an array of {self.code!r}") from error
        if dtype.kind not in _NUMBERS:
            raise RefusedError(f"an array of {self.code!r}")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)  # type: ignore[arg-type]


def loads(content: bytes, where: object) -> Any:
    """Return the plain data that a pickle holds.

    Args:
        content: the pickle, protocol 0 to 5, of Python 2 or 3; a `str` of Python 2 becomes bytes.
        where: its file, for the messages.

    Raises:
        InputError: damaged, or it holds something else than plain data, which is named.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.step(opcode.name, argument)
        (result,) = machine.stack
    except RefusedError as error:
        raise InputError(
            f"{where} is a pickle with {error}, which is no plain data and is not run here; fetch the file from its "
            "own source."
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{where} is no pickle, or a damaged one ({error!r}); fetch it again.") from error
    return result


class _Machine:
    """The stack and the memo of the pickle machine."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.special: dict[str, Callable[[], None]] = {
            "MARK": lambda: self.stack.append(_MARK),
            "EMPTY_LIST": lambda: self.stack.append([]),
            "EMPTY_DICT": lambda: self.stack.append({}),
            "TUPLE": lambda: self.stack.append(tuple(self._to_mark())),
            "LIST": lambda: self.stack.append(self._to_mark()),
            "DICT": lambda: self.stack.append(_pairs(self._to_mark())),
            "APPEND": lambda: self._extend(self._pop(1)),
            "APPENDS": lambda: self._extend(self._to_mark()),
            "SETITEM": lambda: self._update(self._pop(2)),
            "SETITEMS": lambda: self._update(self._to_mark()),
            "MEMOIZE": lambda: self._remember(len(self.memo)),
            "STACK_GLOBAL": lambda: self.stack.append(_name(*self._pop(2))),
            "REDUCE": lambda: self.stack.append(_call(*self._pop(2))),
            "BUILD": self._build,
        }

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _OLD_STRINGS:
            self.stack.append(argument.encode("latin-1"))
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self._remember(argument)
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == "GLOBAL":
            self.stack.append(_name(*argument.split(" ", 1)))
        elif name in self.special:
            self.special[name]()
        elif name not in _NOTHING_TO_DO:
            raise RefusedError(f"the opcode {name}")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("its stack is empty")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _to_mark(self) -> list[Any]:
        """Take what was pushed since the last mark, and the mark."""
        taken = []
        while (top := self._pop(1)[0]) is not _MARK:
            taken.append(top)
        return taken[::-1]

    def _remember(self, key: int) -> None:
        top = self.memo[key] = self.stack[-1]
        if isinstance(top, _Blank):
            top.keys.append(key)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("it appends to what is no list")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("it sets items of what is no dict")
        self.stack[-1].update(_pairs(items))

    def _build(self) -> None:
        target, state = self._pop(2)
        if isinstance(target, _Blank):
            _, shape, dtype, fortran, raw = state
            array = _array(raw, dtype, shape, "F" if fortran else "C")
            self.memo.update(dict.fromkeys(target.keys, array))
            self.stack.append(array)
        elif isinstance(target, _Dtype):
            target.order = _text(state[1])
            self.stack.append(target)
        else:
            raise RefusedError(f"a state for a {type(target).__name__}")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if strange := [type(key).__name__ for key in items[::2] if not isinstance(key, str | bytes | int)]:
        raise RefusedError(f"a key that is a {strange[0]}")
    return dict(zip(items[::2], items[1::2], strict=True))


def _name(module: str, name: str) -> _Name:
    """Return one of the known names, in numpy 1's words; numpy 2 calls the same things `numpy._core`."""
    full = f"{module}.{name}"
    known = full.replace("numpy._core.", "numpy.core.")
    if known not in _KNOWN:
        raise RefusedError(f"the name {full}")
    return _Name(known)


def _call(called: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what a call of one of the known names stands for."""
    match called:
        case _Name("numpy.core.multiarray._reconstruct"):
            return _Blank()
        case _Name("numpy.dtype"):
            return _Dtype(_text(arguments[0]))
        case _Name("numpy.core.numeric._frombuffer"):
            raw, dtype, shape, order = arguments
            return _array(raw, dtype, shape, _text(order))
        case _Name("_codecs.encode") if arguments[1:] == ("latin1",):  # bytes, as Python 3 writes them for Python 2
            return arguments[0].encode("latin-1")
        case _:
            raise RefusedError(f"a call of {called.name if isinstance(called, _Name) else type(called).__name__}")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise TypeError("an array without a dtype")
    plain = dtype.plain()
    if not isinstance(raw, bytes | bytearray):
        raise RefusedError("an array whose content is no bytes")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise TypeError("an array whose shape is no tuple of numbers")
    if order not in ("C", "F") or len(raw) != prod(shape) * plain.itemsize:
        raise ValueError(f"{len(raw)} bytes for an array {shape} of {plain}")
    # Copied: `raw` is not ours to write to.
    return np.frombuffer(raw, plain).reshape(shape, order=order).copy()  # type: ignore[call-overload]


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise TypeError(f"a {type(value).__name__} where a text belongs")
    return text
