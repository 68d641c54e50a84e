"""Rules: what they mean row by row is what Python means by them, and everything else is refused with its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.studies.expressions import Expression, Term
from hardware_models.studies.rule_reader import read_rule

TERMS = {
    "a": Term("number"),
    "a.b": Term("number"),
    "pass.overhead": Term("number"),
    "barrier.32": Term("number"),
    "chip": Term("text", ("eyeriss", "tpu_like")),
    "sparse": Term("truth"),
}


def columns(**given: Any) -> dict[str, Any]:
    base = {"a": [1, 2, 4], "a.b": [10, 20, 40], "pass.overhead": [0.5, 0.0, 2.0], "barrier.32": [3, 3, 3]}
    named: dict[str, Any] = {name: np.array(values) for name, values in {**base, **given}.items()}
    named["chip"] = np.array(["eyeriss", "tpu_like", "eyeriss"], dtype=object)
    named["sparse"] = np.array([True, False, True])
    return named


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("a <= 2", [True, True, False]),
        ("1 < a <= 4", [False, True, True]),
        ("a.b == 10 * a", [True, True, True]),
        ("pass.overhead > 0", [True, False, True]),
        ("barrier.32 - a >= 1", [True, True, False]),
        ("chip == 'eyeriss'", [True, False, True]),
        ('chip in ["tpu_like"]', [False, True, False]),
        ("a not in [1, 4]", [False, True, False]),
        ("sparse and a > 1", [False, False, True]),
        ("not sparse or a == 1", [True, True, False]),
        ("sparse == False", [False, True, False]),
        ("max(a, 3) + min(a, 3, 2) == 5", [False, True, False]),
        ("abs(a - 2) == 2", [False, False, True]),
        ("a ** 2 % 3 == 1 and a // 3 == 1", [False, False, True]),
        ("-a / 2 < -1", [False, False, True]),
        ("pass.overhead == 0 or 1 / pass.overhead > 1", [True, True, False]),
        ("pass.overhead != 0 and 1 / pass.overhead > 1", [True, False, False]),
        ("chip == 'eyeriss' or a.b in [20] # the rest", [True, True, True]),
    ],
)
def test_rules_by_hand(rule: str, expected: list[bool]) -> None:
    assert read_rule(rule, TERMS)(columns()).tolist() == expected


def test_names_are_told_once() -> None:
    assert read_rule("a < a.b and a > 0", TERMS).names == ("a", "a.b")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("a.c < 2", r"position 1: unknown name 'a.c'; did you mean"),
        ("a < 2 and chop == 'eyeriss'", r"position 11: unknown name 'chop'; did you mean 'chip'"),
        ("chip == 'eyeris'", r"position 9: unknown choice 'eyeris'; did you mean 'eyeriss'"),
        ("'tpu' == chip", r"position 1: unknown choice 'tpu'"),
        ("chip in ['eyeriss', 'x']", r"position 21: unknown choice 'x'"),
        ("chip < 'b'", "position 1: expected a number, not a text"),
        ("a == 'eyeriss'", "a number never equals a text"),
        ("a and sparse", "position 1: expected a truth, not a number"),
        ("a + 1", "is a number; expected a condition"),
        ("1 < 2", "reads no name"),
        ("a <", "cannot be read"),
        ("", "cannot be read"),
        ("a < 2\0", "cannot be read"),
        ("a[0] < 2", r"position 1: 'a\[0\]' is not part of the language"),
        ("__import__('os') == 1", "is not part of the language"),
        ("max(a) < 2", "max has 1 operands"),
        ("abs(a, 2) < 2", "abs has 2 operands"),
        ("max(a, 2, key=abs) < 2", "is not part of the language"),
        ("(lambda: a)() < 2", "is not part of the language"),
        ("(a if sparse else 2) < 2", "is not part of the language"),
        ("a & 2 < 1", "'a & 2' is not part of the language"),
        ("~a < 1", "is not part of the language"),
        ("f'{a}' == chip", "is not part of the language"),
        ("a is 2", "'is' is not part of the language"),
        ("a in []", "needs a list of values"),
        ("a in chip", "needs a list of values"),
        ("a < 9007199254740993", "position 5: the number is too large"),
        ("a < 1e999", "the number is too large"),
        ("pass < 1", "cannot be read"),
        ("a.b.c < 1", "unknown name 'a.b.c'"),
        ("(" * 500 + "a" + ")" * 500 + " < 1", "cannot be read"),
        ("not " * 5000 + "sparse", "rule 'not not"),
    ],
)
def test_everything_else_is_refused(rule: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_rule(rule, TERMS)


def test_a_slip_is_told_in_one_sentence() -> None:
    with pytest.raises(InputError) as told:
        read_rule("a < 2 and chop == 'eyeriss'", TERMS)
    assert str(told.value).startswith("rule \"a < 2 and chop == 'eyeriss'\", position 11: unknown name 'chop'; did you")
    assert str(told.value).count("rule") == 1


@pytest.mark.parametrize(
    "rule", ["1 / pass.overhead > 0", "a % pass.overhead == 0", "(0 - a) ** 0.5 > 0", "a ** 1e6 < 3"]
)
def test_what_has_no_value_is_no_quiet_false(rule: str) -> None:
    with pytest.raises(InputError, match="cannot be evaluated at a point"):
        read_rule(rule, TERMS)(columns())


def test_large_products_do_not_wrap_around() -> None:
    huge = columns(a=np.array([2**40] * 3))
    assert read_rule("a * a > 1", TERMS)(huge).all()


numbers = st.sampled_from(["a", "a.b", "barrier.32", "2", "0.5", "7"])
sums = st.recursive(
    numbers,
    lambda part: st.one_of(
        st.builds("({} {} {})".format, part, st.sampled_from(["+", "-", "*"]), part),
        st.builds("min({}, {})".format, part, part),
        st.builds("abs({})".format, part),
    ),
    max_leaves=5,
)
comparisons = st.builds("{} {} {}".format, sums, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), sums)
truths = st.recursive(
    comparisons | st.just("sparse"),
    lambda part: st.one_of(
        st.builds("({} and {})".format, part, part),
        st.builds("({} or {})".format, part, part),
        st.builds("not {}".format, part),
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=150)
@given(truths)
def test_columns_hold_what_python_says_of_each_row(rule: str) -> None:
    given_columns = columns()
    rule = f"({rule}) and a > 0"
    found = read_rule(rule, TERMS)(given_columns)
    for index in range(3):
        row = {name: values[index].item() for name, values in given_columns.items() if name not in ("chip",)}
        spelled = rule.replace("a.b", "ab").replace("barrier.32", "barrier")
        names = {"a": row["a"], "ab": row["a.b"], "barrier": row["barrier.32"], "sparse": row["sparse"]}
        assert bool(eval(spelled, {"min": min, "abs": abs}, names)) == found[index]


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab.12 <>=!+-*/%()[],'\"\\northip#\n·é", max_size=25))
def test_any_text_is_a_rule_or_an_input_error(text: str) -> None:
    try:
        rule = read_rule(text, TERMS)
    except InputError:
        return
    assert isinstance(rule, Expression)
