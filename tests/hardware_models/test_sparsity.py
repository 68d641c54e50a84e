"""What zeros save: hand-worked shares, and the order skip <= gate <= none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware_models.sparsity import SparsityRule

NONE, GATE, SKIP = (SparsityRule(policy=policy) for policy in ("none", "gate", "skip"))
densities = st.floats(0, 1)


def test_shares_at_a_quarter() -> None:
    quarter = np.array([0.25])
    assert [rule.energy_share(quarter)[0] for rule in (NONE, GATE, SKIP)] == [1.0, 0.25, 0.25]
    assert [rule.time_share(quarter)[0] for rule in (NONE, GATE, SKIP)] == [1.0, 1.0, 0.25]


def test_a_group_is_skipped_only_when_all_of_it_is_zero() -> None:
    # Four values, each zero with probability 3/4: all zero with (3/4)^4 = 81/256.
    pairs = SparsityRule(policy="group-skip", group=4)
    assert pairs.energy_share(np.array([0.25]))[0] == pytest.approx(1 - 81 / 256)


def test_the_busiest_unit_sets_the_time_of_skipping() -> None:
    assert SKIP.time_share(np.array([0.1]), np.array([0.4]))[0] == 0.4
    assert GATE.time_share(np.array([0.1]), np.array([0.4]))[0] == 1.0


@given(densities, st.integers(2, 64))
def test_skip_is_never_dearer_than_gate_nor_gate_than_none(density: float, group: int) -> None:
    d = np.array([density])
    grouped = SparsityRule(policy="group-skip", group=group)
    for share in ("energy_share", "time_share"):
        skip, gate, none, blocks = (getattr(rule, share)(d)[0] for rule in (SKIP, GATE, NONE, grouped))
        assert skip <= gate <= none
        assert skip - 1e-12 <= blocks <= none


@given(densities, densities)
def test_more_values_never_cost_less(one: float, other: float) -> None:
    low, high = np.array([min(one, other)]), np.array([max(one, other)])
    for rule in (NONE, GATE, SKIP, SparsityRule(policy="group-skip", group=8)):
        assert rule.energy_share(low)[0] <= rule.energy_share(high)[0] + 1e-15
        assert rule.time_share(low)[0] <= rule.time_share(high)[0] + 1e-15


@pytest.mark.parametrize("settings", [{"policy": "gate", "group": 4}, {"policy": "group-skip"}, {"policy": "drop"}])
def test_a_rule_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SparsityRule.model_validate(settings)
