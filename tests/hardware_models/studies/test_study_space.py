"""Search spaces: reading, drawing, constraints, and what has changed between two of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.studies.columns import Columns, concat
from hardware_models.studies.space import Space

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = """
axes:
  chip: {choices: [eyeriss, tpu_like]}
  timesteps: {choices: [1, 2, 4, 8]}
  rate: {real: [0.0, 0.5], points: 3}
  hardware.array.rows: {integer: [8, 128], step: 8}
  hardware.array.columns: {integer: [8, 128], log: true}
  hardware.clock: {real: [1.0e+8, 1.0e+9], log: true, points: 10}
  hardware.buffer.size: {choices: [65536, 131072], when: "chip == 'eyeriss'"}
constraints:
  - "hardware.array.rows * hardware.array.columns <= 4096"
  - {rule: "timesteps * rate <= 1", because: "a saturated neuron fires in every timestep"}
  - "hardware.buffer.size == 65536 or timesteps < 8"
"""
DOCUMENT: dict[str, Any] = yaml.safe_load(TEXT)
SPACE = Space.from_document(DOCUMENT)


def changed(**axes: Any) -> dict[str, Any]:
    """The document with axes put in; None takes one out."""
    kept = {**DOCUMENT["axes"], **axes}
    return {"axes": {name: axis for name, axis in kept.items() if axis is not None}}


def test_a_document_comes_back() -> None:
    assert SPACE.to_document() == DOCUMENT
    again = Space.from_document(json.loads(json.dumps(SPACE.to_document())))
    assert again == SPACE
    assert hash(again) == hash(SPACE)
    assert again.differences(SPACE) == []
    assert SPACE != DOCUMENT


def test_values_of_axes_by_hand() -> None:
    grid = SPACE.grid(0, SPACE.size())
    assert SPACE.size() == 4 * 3 * 16 * 5 * 10 * (2 + 1)
    assert sorted(set(grid.values["hardware.array.columns"].tolist())) == [8, 16, 32, 64, 128]
    assert sorted(set(grid.values["hardware.array.rows"].tolist())) == list(range(8, 129, 8))
    assert sorted(set(grid.values["rate"].tolist())) == [0.0, 0.25, 0.5]
    clocks = sorted(set(grid.values["hardware.clock"].tolist()))
    assert (clocks[0], clocks[-1], len(clocks)) == (1e8, 1e9, 10)
    assert np.allclose(np.diff(np.log10(clocks)), 1 / 9)


def test_an_inactive_axis_has_no_value() -> None:
    point = SPACE.grid(SPACE.size() - 1, SPACE.size()).point(0)
    assert point["chip"] == "tpu_like"
    assert point["hardware.buffer.size"] is None
    first = SPACE.grid(0, 1).point(0)
    assert first == {
        **{"chip": "eyeriss", "timesteps": 1, "rate": 0.0, "hardware.array.rows": 8, "hardware.array.columns": 8},
        **{"hardware.clock": 1e8, "hardware.buffer.size": 65536},
    }
    assert [type(value) for value in first.values()] == [str, int, float, int, int, float, int]


def test_broken_names_the_first_constraint() -> None:
    base = SPACE.grid(0, 1).point(0)
    points = [
        base,
        {**base, "hardware.array.rows": 128, "hardware.array.columns": 64, "timesteps": 8, "rate": 0.5},
        {**base, "timesteps": 8, "rate": 0.25},
        {**base, "timesteps": 8, "hardware.buffer.size": 131072},
        {**base, "timesteps": 8, "chip": "tpu_like", "hardware.buffer.size": None},  # has no buffer to speak of
    ]
    assert SPACE.broken(SPACE.columns(points)).tolist() == [-1, 0, 1, 2, -1]
    assert SPACE.broken(SPACE.columns(points)).dtype == np.int16
    assert SPACE.active(SPACE.columns(points))["hardware.buffer.size"].tolist() == [True] * 4 + [False]


def test_an_axis_that_waits_for_an_inactive_one_is_inactive() -> None:
    space = Space.from_document(
        {
            "axes": {
                "c": {"choices": [1, 2], "when": "b != 5"},
                "b": {"choices": [5, 6], "when": "a == 'x'"},
                "a": {"choices": ["x", "y"]},
            }
        }
    )
    grid = space.grid(0, space.size())
    assert [tuple(grid.point(i).values()) for i in range(len(grid))] == [
        (None, 5, "x"),
        (None, None, "y"),
        *[(1, 6, "x"), (2, 6, "x")],
    ]


def test_a_key_is_the_hash_of_what_is_active() -> None:
    space = Space.from_document({"axes": {"b": {"choices": ["é"]}, "a": {"integer": [1, 2]}, "r": {"real": [0, 1]}}})
    columns = space.columns([{"a": 1, "b": "é", "r": 0.1}])
    assert columns.keys() == [hashlib.sha256(b'{"a":1,"b":"\\u00e9","r":0.1}').digest()]
    base = SPACE.grid(SPACE.size() - 1, SPACE.size()).point(0)
    twins = SPACE.columns([{**base, "hardware.buffer.size": size} for size in (None, 65536, 131072)])
    assert len(set(twins.keys())) == 1


@SOME
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 60))
def test_samples_keep_the_constraints_and_lie_on_their_axes(seed: int, count: int, more: int) -> None:
    short, long = SPACE.sample(count, seed), SPACE.sample(count + more, seed)
    assert short.keys() == long.take(np.arange(count)).keys()
    assert (SPACE.broken(long) == -1).all()
    assert SPACE.columns([long.point(i) for i in range(len(long))]).keys() == long.keys()
    assert SPACE.masked(long).keys() == long.keys()


def test_samples_are_uniform_where_they_should_be() -> None:
    space = Space.from_document(
        {"axes": {"log": {"real": [1e-3, 1e3], "log": True}, "flat": {"real": [-1, 3]}, "int": {"integer": [0, 9]}}}
    )
    drawn = space.sample(20_000, seed=3).values
    assert abs(np.mean(np.log10(drawn["log"]))) < 0.05
    assert np.std(np.log10(drawn["log"])) == pytest.approx(6 / 12**0.5, rel=0.03)
    assert np.mean(drawn["flat"]) == pytest.approx(1, abs=0.05)
    assert np.bincount(drawn["int"]) == pytest.approx(np.full(10, 2000), rel=0.1)


def test_another_axis_leaves_the_draws_of_the_rest_alone() -> None:
    one = Space.from_document({"axes": {"a": {"real": [0, 1]}}})
    two = Space.from_document({"axes": {"b": {"choices": [1, 2]}, "a": {"real": [0, 1]}}})
    assert (one.sample(50).values["a"] == two.sample(50).values["a"]).all()


def test_contradictions_are_told_with_counts() -> None:
    document = {"axes": {"a": {"integer": [1, 10]}}, "constraints": ["a > 5", "a < 3"]}
    space = Space.from_document(document)
    with pytest.raises(InputError, match=r"none of the 10 points .*'a > 5' rejects 5, 'a < 3' rejects 5"):
        list(space.feasible())
    with pytest.raises(InputError, match=r"only 0 of 3 points were found in \d+ draws: 'a > 5' rejects"):
        space.sample(3)


def test_points_are_checked() -> None:
    base = SPACE.grid(0, 1).point(0)
    for wrong, sentence in [
        ({"chip": "eyeris"}, "axis 'chip' cannot be eyeris"),
        ({"timesteps": 3}, "axis 'timesteps' cannot be 3"),
        ({"timesteps": 2.0}, "axis 'timesteps' cannot be 2.0"),
        ({"timesteps": True}, "axis 'timesteps' cannot be True"),
        ({"rate": float("nan")}, "axis 'rate' cannot be nan"),
        ({"hardware.array.rows": 12}, "cannot be 12"),
        ({"hardware.array.columns": 48}, "cannot be 48"),
        ({"chip": None}, "point 0 has no value of axis 'chip'"),
        ({"chap": 1}, "unknown axis 'chap'; did you mean 'chip'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            SPACE.columns([{**base, **wrong}])
    with pytest.raises(InputError, match="no points were given"):
        SPACE.columns([])
    with pytest.raises(InputError, match="of type float64; expected int64"):
        SPACE.masked(Columns({**SPACE.grid(0, 1).values, "timesteps": np.array([1.0])}))
    with pytest.raises(InputError, match="axis 'timesteps' cannot be 3"):
        SPACE.masked(Columns({**SPACE.grid(0, 1).values, "timesteps": np.array([3])}))
    with pytest.raises(InputError, match="expected the axes"):
        SPACE.broken(Columns({"chip": np.array(["eyeriss"], dtype=object)}))


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ({"choices": []}, "is empty"),
        ({"choices": [1, 1.0]}, "given twice"),
        ({"choices": [1, "a"]}, "several kinds"),
        ({"choices": [True, 1]}, "several kinds"),
        ({"choices": [None]}, "several kinds"),
        ({"choices": "abc"}, "expected a list"),
        ({"choices": [float("inf")]}, "not finite"),
        ({"choices": [2**53 + 1]}, "beyond"),
        ({"integer": [8, 4]}, "low end 8 is above"),
        ({"integer": [0, 8], "log": True}, "low end of at least 1"),
        ({"integer": [8, 100], "log": True}, "does not reach 100; end at 64"),
        ({"integer": [8, 100], "step": 8}, "does not reach 100; end at 96"),
        ({"integer": [8, 16], "step": 0}, "step"),
        ({"integer": [8, 16], "step": 2, "log": True}, "no step"),
        ({"integer": [1.5, 2]}, "integer"),
        ({"integer": [1]}, "integer"),
        ({"integer": [0, 2**60]}, "go beyond"),
        ({"real": [1, 1]}, "not below"),
        ({"real": [0, 1], "log": True}, "has no logarithm"),
        ({"real": [0, float("nan")]}, "finite"),
        ({"real": ["1e8", 1e9]}, "number"),
        ({"real": [-1e308, 1e308]}, "too far apart"),
        ({"real": [0, 1], "points": 1}, "points"),
        ({"real": [1, 1 + 1e-15], "points": 10}, "fall together"),
        ({"reals": [0, 1]}, "exactly one of"),
        ({"choices": [1], "integer": [1, 2]}, "exactly one of"),
        ({"choices": [1], "log": True}, "unknown key 'log'"),
        ([1, 2], "expected a mapping"),
        ({"choices": [1, 2], "when": "chop == 1"}, "did you mean 'chip'"),
        ({"choices": [1, 2], "when": "x == 1"}, "x wait for each other"),
    ],
)
def test_bad_axes_are_refused_by_name(axis: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        Space.from_document(changed(x=axis))
    assert "x" in str(told.value)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "no mapping of axes"),
        ({"axes": {}}, "no axes"),
        ({"axes": {"a b": {"choices": [1]}}}, "no chain of words"),
        ({"axes": {"if": {"choices": [1]}}}, "no chain of words"),
        ({"axes": {"a": {"choices": [1]}}, "constraint": []}, "did you mean 'constraints'"),
        ({"axes": {"a": {"choices": [1]}}, "constraints": "a < 1"}, "expected a list of rules"),
        ({"axes": {"a": {"choices": [1]}}, "constraints": [{"because": "x"}]}, "constraint 1: rule: it is missing"),
        ({"axes": {"a": {"choices": [1]}}, "constraints": ["a < 1", "a < 1"]}, "given twice"),
        (
            {"axes": {"a": {"choices": [1], "when": "b == 1"}, "b": {"choices": [1], "when": "a == 1"}}},
            "a, b wait for each other",
        ),
    ],
)
def test_bad_spaces_are_refused(document: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Space.from_document(document)


def test_differences_in_words() -> None:
    other = Space.from_document(changed(rate=None, new={"choices": [1]}, timesteps={"choices": [1, 2]}))
    assert SPACE.differences(other) == [
        "axis 'rate' is gone",
        "axis 'new' is new",
        'axis \'timesteps\' was {"choices": [1, 2, 4, 8]} and is {"choices": [1, 2]}',
        "constraint 'hardware.array.rows * hardware.array.columns <= 4096' is gone",
        "constraint 'timesteps * rate <= 1' is gone",
        "constraint 'hardware.buffer.size == 65536 or timesteps < 8' is gone",
    ]


names = st.sampled_from(["a", "b", "c.d"])
axes = st.sampled_from([{"choices": [1, 2]}, {"choices": [2, 1]}, {"integer": [1, 2]}, {"real": [1, 2], "points": 2}])
spaces = st.builds(
    lambda named, rules: Space.from_document({"axes": {"x": {"choices": [1]}, **dict(named)}, "constraints": rules}),
    st.lists(st.tuples(names, axes), max_size=3),
    st.lists(
        st.sampled_from(["x < 2", "x < 3", {"rule": "x < 4", "because": "b"}, {"rule": "x > 0", "because": "c"}]),
        max_size=3,
        unique_by=str,
    ),
)


@SOME
@given(spaces, spaces)
def test_spaces_are_equal_where_nothing_differs(one: Space, other: Space) -> None:
    assert (one == other) == (one.differences(other) == []) == (other.differences(one) == [])
    assert Space.from_document(one.to_document()) == one


def test_columns_are_cut_and_joined() -> None:
    grid = SPACE.grid(0, SPACE.size())
    parts = [grid.take(np.arange(0, 7)), grid.take([]), grid.take(np.arange(len(grid)) >= 7)]
    assert concat(parts).keys() == grid.keys()
    assert concat([SPACE.sample(2), grid.take([-1])]).point(2) == grid.point(len(grid) - 1)
    with pytest.raises(InputError, match="no columns to join"):
        concat([])
    with pytest.raises(InputError, match="only those of one space"):
        concat([grid, Columns({"a": np.arange(2)})])
    for wrong in ({}, {"a": np.arange(2), "b": np.arange(3)}, {"a": np.zeros((2, 2))}):
        with pytest.raises(InputError, match=r"all of one shape \[N\]"):
            Columns(wrong)
    with pytest.raises(InputError, match="only names of columns"):
        Columns({"a": np.arange(2)}, {"b": np.ones(2, dtype=bool)})
