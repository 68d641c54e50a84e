"""Arithmetic intensity, waterline and efficiency gap, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.roofline.waterline import attainable_time, efficiency_gap, waterline

# A machine of 100 operations and 10 bytes a second: balance 10 operations per byte.
# Layer A: 1000 operations, 50 bytes: intensity 20, ideal 10 s, memory 5 s.
# Layer B: 100 operations, 100 bytes: intensity 1, ideal 1 s, memory 10 s.
OPERATIONS, BYTES, PEAK, BANDWIDTH = [1000.0, 100.0], [50.0, 100.0], 100.0, 10.0


def test_two_layers_by_hand() -> None:
    found = waterline(OPERATIONS, BYTES, PEAK, BANDWIDTH)
    assert found.balance == 10
    assert found.intensity.tolist() == [20, 1]
    assert found.below.tolist() == [False, True]
    assert found.ideal_s.tolist() == [10, 1]
    assert found.attainable_s.tolist() == [10, 10]
    assert found.efficiency.tolist() == [1, 0.1]
    assert found.sequence_efficiency == pytest.approx(11 / 20)
    assert found.gap_s == pytest.approx(9)


def test_a_layer_that_moves_nothing_is_above_every_waterline() -> None:
    found = waterline([10.0], [0.0], PEAK, BANDWIDTH)
    assert np.isinf(found.intensity[0])
    assert found.efficiency.tolist() == [1]


def test_gap_of_a_measured_latency() -> None:
    # 569 M MACs at 4 T operations a second take 0.2845 ms; measured were 2.2 ms: 12.9 % of the peak.
    gap = efficiency_gap(2 * 569e6, 4e12, 2.2e-3)
    assert gap.ideal_s == pytest.approx(0.2845e-3)
    assert gap.gap_s == pytest.approx(1.9155e-3)
    assert gap.efficiency == pytest.approx(0.12932, rel=1e-4)


def test_machines_broadcast_against_layers() -> None:
    assert waterline(OPERATIONS, BYTES, np.array([[100.0], [200.0]]), BANDWIDTH).attainable_s.shape == (2, 2)


amounts = st.lists(st.floats(0, 1e15), min_size=1, max_size=5)
rates = st.floats(1e-3, 1e15)


@given(amounts, st.floats(0, 1e15), rates, rates, st.floats(1, 100))
def test_more_work_never_takes_less_time(
    operations: list[float], moved: float, peak: float, bandwidth: float, more: float
) -> None:
    before = attainable_time(operations, moved, peak, bandwidth)
    assert (attainable_time(np.array(operations) * more, moved, peak, bandwidth) >= before).all()
    assert (attainable_time(operations, moved * more, peak, bandwidth) >= before).all()
    assert (attainable_time(operations, moved, peak * more, bandwidth) <= before).all()


@given(amounts, rates, rates)
def test_efficiency_is_a_share(operations: list[float], peak: float, bandwidth: float) -> None:
    found = waterline(operations, 1.0, peak, bandwidth)
    assert ((found.efficiency >= 0) & (found.efficiency <= 1)).all()
    assert 0 <= found.sequence_efficiency <= 1
    assert found.gap_s >= -1e-9 * found.attainable_s.sum()


@pytest.mark.parametrize(
    ("change", "word"),
    [({"operations": -1.0}, "operations"), ({"bytes_moved": np.nan}, "bytes"), ({"peak": 0.0}, "peak"),
     ({"bandwidth": -5.0}, "bandwidth")],
)  # fmt: skip
def test_bad_amounts_are_named(change: dict[str, float], word: str) -> None:
    given_ = {"operations": 1.0, "bytes_moved": 1.0, "peak": 1.0, "bandwidth": 1.0} | change
    with pytest.raises(InputError, match=word):
        attainable_time(**given_)


def test_a_latency_below_the_ideal_one_is_refused() -> None:
    with pytest.raises(InputError, match="shorter than operations / peak"):
        efficiency_gap(100.0, 10.0, 9.0)
