"""Reading rules: Python's parser makes the tree, and only what the language of `expressions` has is let through."""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from hardware_models.errors import InputError, unknown_name
from hardware_models.studies.expressions import LARGEST_WHOLE, Array, Evaluate, Expression, Formula, Kind, Term

_QUOTED_OR_DOTTED = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![\w.])[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+""", re.DOTALL
)
_DOT: Final = "\N{MIDDLE DOT}"
"""Stands for the dot of a name while Python's parser reads the rule: a letter to it, and as long."""

_ARITHMETIC: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ORDER: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SAME: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum, "abs": np.abs}
_KINDS: Mapping[type, Kind] = {int: "number", float: "number", bool: "truth", str: "text"}
_LANGUAGE: Final = "comparisons, and, or, not, + - * / // % **, min, max, abs, in [..], numbers, quoted text and names"


def read_rule(text: str, terms: Mapping[str, Term]) -> Expression:
    """Return the rule that `text` states about the names in `terms`.

    Raises:
        InputError: it is no rule of this language, reads an unknown name or none, or compares what cannot be
            compared; the message names the position, counted from 1.
    """
    part, names = _read(text, terms)
    if part.kind != "truth":
        raise InputError(f"rule {text!r} is a {part.kind}; expected a condition such as 'a <= 8', so compare it.")
    if not names:
        raise InputError(f"rule {text!r} reads no name, so it holds everywhere or nowhere; name an axis or drop it.")
    return Expression(text, names, part.run)


def read_quantity(text: str, terms: Mapping[str, Term]) -> Formula:
    """Return the number that `text` makes of the names in `terms`.

    Raises:
        InputError: as `read_rule`; it is a condition or text, or reads no name.
    """
    part, names = _read(text, terms)
    if part.kind != "number":
        raise InputError(f"formula {text!r} is a {part.kind}; expected a number such as 'a * b', so mend it.")
    if not names:
        raise InputError(f"formula {text!r} reads no name, so it is the same everywhere; name an axis or drop it.")
    return Formula(text, names, part.run)


def _read(text: str, terms: Mapping[str, Term]) -> tuple[_Part, tuple[str, ...]]:
    """Return what was read, and the names in it."""
    reader = _Reader(text, terms)
    try:
        part = reader.read()
    except RecursionError as error:
        raise InputError(f"rule {text[:40]!r}... is nested too deeply; split it into several rules.") from error
    return part, tuple(reader.names)


@dataclass(frozen=True)
class _Part:
    kind: Kind
    run: Evaluate
    term: Term | None = None  # of a name
    constant: object = None


class _Reader:
    """Walks the syntax tree of one rule, letting through only what it knows."""

    def __init__(self, text: str, terms: Mapping[str, Term]) -> None:
        self.text, self.terms = text, terms
        self.names: dict[str, None] = {}
        self._parsed = _QUOTED_OR_DOTTED.sub(
            lambda found: found[0] if found[0][0] in "'\"" else found[0].replace(".", _DOT), text
        )

    def read(self) -> _Part:
        return self._part(self._tree())

    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self._parsed, mode="eval").body
        except SyntaxError as error:
            reason = f"{error.msg} at position {max(error.offset or 1, 1)}"
        except (ValueError, MemoryError) as error:
            reason = str(error) or "it is nested too deeply"
        raise InputError(f"rule {self.text!r} cannot be read ({reason}); use {_LANGUAGE}.")

    def _part(self, node: ast.expr) -> _Part:
        match node:
            case ast.Constant(value=value) if type(value) in _KINDS:
                return self._constant(node, value)
            case ast.Name(id=name):
                return self._name(node, name.replace(_DOT, "."))
            case ast.BoolOp(op=op, values=values):
                return _Part("truth", _joined([self._of("truth", v) for v in values], isinstance(op, ast.And)))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                run = self._of("truth", operand)
                return _Part("truth", lambda columns: np.logical_not(run(columns)))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                run = self._of("number", operand)
                return _Part("number", lambda columns: -run(columns))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _Part(
                    "number", _pair(_ARITHMETIC[type(op)], self._of("number", left), self._of("number", right))
                )
            case ast.Compare(left=left, ops=ops, comparators=rights):
                return self._comparison([left, *rights], ops)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return self._call(node, name, args)
        self._refuse(node, f"{ast.unparse(node).replace(_DOT, '.')!r} is not part of the language", f"use {_LANGUAGE}")

    def _of(self, kind: Kind, node: ast.expr) -> Evaluate:
        part = self._part(node)
        if part.kind != kind:
            self._refuse(node, f"expected a {kind}, not a {part.kind}", "mend that operand")
        return part.run

    def _constant(self, node: ast.expr, value: Any) -> _Part:
        kind = _KINDS[type(value)]
        if kind == "number" and not abs(value) <= (LARGEST_WHOLE if type(value) is int else np.finfo(float).max):
            self._refuse(node, "the number is too large", f"keep whole numbers within {LARGEST_WHOLE}")
        operand = np.float64(value) if kind == "number" else value
        return _Part(kind, lambda columns: operand, constant=value)

    def _name(self, node: ast.expr, name: str) -> _Part:
        if name not in self.terms:
            error = unknown_name("name", name, self.terms)
            raise InputError(f"rule {self.text!r}, position {self._position(node)}: {error}")
        self.names[name] = None
        return _Part(self.terms[name].kind, lambda columns: columns[name], self.terms[name])

    def _call(self, node: ast.expr, name: str, args: Sequence[ast.expr]) -> _Part:
        runs = [self._of("number", arg) for arg in args]
        if (len(runs) != 1) if name == "abs" else (len(runs) < 2):
            self._refuse(node, f"{name} has {len(runs)} operands", "give abs one, and min and max two or more")
        function = _FUNCTIONS[name]
        if name == "abs":
            return _Part("number", lambda columns: function(runs[0](columns)))
        return _Part("number", lambda columns: functools.reduce(function, [run(columns) for run in runs]))

    def _comparison(self, sides: Sequence[ast.expr], ops: Sequence[ast.cmpop]) -> _Part:
        tests: list[Evaluate] = []
        for left, op, right in zip(sides, ops, sides[1:], strict=False):
            if isinstance(op, ast.In | ast.NotIn):
                tests.append(self._membership(left, right, isinstance(op, ast.In)))
            elif type(op) in _ORDER:
                tests.append(_pair(_ORDER[type(op)], self._of("number", left), self._of("number", right)))
            elif type(op) in _SAME:
                tests.append(_pair(_SAME[type(op)], *self._alike(left, right)))
            else:
                self._refuse(right, "'is' is not part of the language", "write == or !=")
        return _Part("truth", tests[0] if len(tests) == 1 else _joined(tests, True))

    def _alike(self, left: ast.expr, right: ast.expr) -> tuple[Evaluate, Evaluate]:
        """Return two sides that can be equal: a text that an axis never has is a slip of the pen."""
        one, other = self._part(left), self._part(right)
        if one.kind != other.kind:
            self._refuse(right, f"a {one.kind} never equals a {other.kind}", "compare values of one kind")
        for named, given, node in ((one, other, right), (other, one, left)):
            if named.term and named.kind == "text" and given.constant not in (None, *named.term.choices):
                error = unknown_name("choice", given.constant, named.term.choices)
                raise InputError(f"rule {self.text!r}, position {self._position(node)}: {error}")
        return one.run, other.run

    def _membership(self, left: ast.expr, right: ast.expr, wanted: bool) -> Evaluate:
        if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
            self._refuse(right, "'in' needs a list of values", "write it as in [1, 2]")
        same = [_pair(operator.eq, *self._alike(left, item)) for item in right.elts]
        return lambda columns: functools.reduce(np.logical_or, [test(columns) for test in same]) == wanted

    def _position(self, node: ast.expr) -> int:
        return len(self._parsed.encode().splitlines()[node.lineno - 1][: node.col_offset].decode()) + 1

    def _refuse(self, node: ast.expr, what: str, remedy: str) -> NoReturn:
        raise InputError(f"rule {self.text!r}, position {self._position(node)}: {what}; {remedy}.")


def _pair(function: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda columns: function(left(columns), right(columns))


def _joined(tests: Sequence[Evaluate], all_of: bool) -> Evaluate:
    """Return `and` (`all_of`) or `or` of `tests`; each sees only the rows that those before it leave open."""

    def run(columns: Mapping[str, Array]) -> Array:
        length = len(next(iter(columns.values()))) if columns else 1
        result = np.broadcast_to(np.asarray(tests[0](columns), dtype=bool), length).copy()
        for test in tests[1:]:
            still_open = result if all_of else ~result
            result[still_open] = test({name: values[still_open] for name, values in columns.items()})
        return result

    return run
