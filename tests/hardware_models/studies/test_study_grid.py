"""The grid: each point once, in blocks, as many as an enumeration by hand of the whole product finds."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.studies.columns import concat
from hardware_models.studies.space import Space

choices = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Up to five axes, each perhaps waiting for one that comes before it in the order of names."""
    axes: dict[str, Any] = {}
    for name in "abcde"[: draw(st.integers(1, 5))]:
        axis: dict[str, Any] = {"choices": draw(choices)}
        if axes and draw(st.booleans()):
            axis["when"] = f"{draw(st.sampled_from(sorted(axes)))} >= {draw(st.integers(0, 5))}"
        axes[name] = axis
    order = draw(st.permutations(list(axes)))
    return {"axes": {name: axes[name] for name in order}, "constraints": draw(st.sampled_from([[], ["a < 3"]]))}


def by_hand(document: dict[str, Any]) -> set[frozenset[tuple[str, int]]]:
    """Every combination of values, each reduced to its active axes."""
    axes = document["axes"]
    found = set()
    for values in itertools.product(*(axis["choices"] for axis in axes.values())):
        point = dict(zip(axes, values, strict=True))
        for name in sorted(axes):  # a condition reads an earlier name
            read, _, least = axes[name].get("when", "").partition(" >= ")
            if read and (read not in point or point[read] < int(least)):
                del point[name]
        found.add(frozenset(point.items()))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.integers(1, 7))
def test_the_grid_holds_each_point_once(document: dict[str, Any], block: int) -> None:
    space = Space.from_document(document)
    grid = space.grid(0, space.size())
    points = [
        frozenset((name, value) for name, value in grid.point(index).items() if value is not None)
        for index in range(len(grid))
    ]
    expected = by_hand(document)
    assert len(points) == space.size() == len(expected)
    assert set(points) == expected
    assert len(set(grid.keys())) == len(grid)
    stops = [*range(0, space.size(), block), space.size()]
    assert concat([space.grid(*ends) for ends in itertools.pairwise(stops)]).keys() == grid.keys()
    if document["constraints"]:
        kept = sum(dict(point)["a"] < 3 for point in points)
        if kept:
            assert sum(len(part) for part in space.feasible(block)) == kept
        else:
            with pytest.raises(InputError, match="none of the"):
                list(space.feasible(block))


def test_a_plain_grid_is_row_major() -> None:
    space = Space.from_document({"axes": {"a": {"choices": ["x", "y"]}, "b": {"integer": [1, 3]}}})
    grid = space.grid(0, 6)
    assert grid.values["a"].tolist() == ["x", "x", "x", "y", "y", "y"]
    assert grid.values["b"].tolist() == [1, 2, 3, 1, 2, 3]


def test_a_space_too_large_to_number_still_has_a_size() -> None:
    axes: dict[str, Any] = {f"a{index}": {"integer": [1, 1000]} for index in range(9)}
    axes["b"] = {"choices": [1, 2, 3], "when": "a0 > 400"}
    space = Space.from_document({"axes": axes})
    assert space.size() == 1000**8 * (400 + 600 * 3)
    with pytest.raises(InputError, match="too many to number; sample"):
        space.grid(0, 1)
    assert len(space.sample(3)) == 3


def test_a_far_block_is_made_without_the_others() -> None:
    space = Space.from_document({"axes": {f"a{index}": {"integer": [0, 9]} for index in range(15)}})
    point = space.grid(123_456_789_012_345, 123_456_789_012_346).point(0)
    assert "".join(map(str, point.values())) == "123456789012345"


def test_what_has_no_grid_is_refused() -> None:
    real = Space.from_document({"axes": {"a": {"real": [0, 1]}}})
    with pytest.raises(InputError, match="axis 'a' has no points for a grid"):
        real.size()
    wide = {"a": {"integer": [1, 2**30]}, "b": {"choices": [1, 2], "when": "a > 5"}}
    with pytest.raises(InputError, match="conditions read a, which have 1073741824 combinations"):
        Space.from_document({"axes": wide}).size()
    with pytest.raises(InputError, match="points 0 to 3 were asked of a grid of 2"):
        Space.from_document({"axes": {"a": {"choices": [1, 2]}}}).grid(0, 3)
