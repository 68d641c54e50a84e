"""Functions by thresholds: within their bound everywhere, and built of thresholds alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hardware_models.errors import InputError
from neuro.coding.ladder import FUNCTIONS, Ladder
from neuro.coding.spike_only import group_norm, layer_norm, softmax

TOLERANCE = 1 / 256


def inputs(name: str) -> torch.Tensor:
    """Numbers between the grid's points and beyond its ends."""
    generator = torch.Generator().manual_seed(1)
    known = FUNCTIONS[name]
    uniform = torch.rand(100_000, generator=generator, dtype=torch.float64)
    if known.decades:
        return 2.0 ** (uniform * 40 - 20)
    return known.low + uniform * (known.high - known.low)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_stays_below_the_tolerance(name: str) -> None:
    ladder, x = Ladder(name, TOLERANCE), inputs(name)
    exact = FUNCTIONS[name].exact(x)
    error = (ladder(x.float()).double() - exact).abs()
    worst = float((error / exact.abs() if FUNCTIONS[name].relative else error).max())
    assert 0.5 * TOLERANCE < worst <= TOLERANCE  # and no more thresholds than are needed
    assert ladder.bound <= TOLERANCE


@pytest.mark.parametrize("name", ["gelu", "silu", "softplus", "sigmoid", "tanh", "elu"])
def test_far_from_zero_nothing_is_cut_off(name: str) -> None:
    x = torch.tensor([-1e4, -50.0, 50.0, 1e4])
    assert torch.allclose(Ladder(name, TOLERANCE)(x), FUNCTIONS[name].exact(x), atol=TOLERANCE, rtol=0)


@given(st.floats(-5, 5, width=32), st.floats(0, 1))
@settings(deadline=None)
def test_between_two_thresholds_the_value_is_constant(x: float, share: float) -> None:
    ladder = Ladder("sigmoid", 0.05)
    edges = [-float("inf"), *ladder.thresholds.tolist(), float("inf")]
    above = min(edge for edge in edges if edge > x)
    other = torch.tensor(x + share * (min(above, x + 1) - x))  # rounded to single precision, as x is
    if other < above:
        assert ladder(other) == ladder(torch.tensor(x))


def test_a_ladder_trains_like_its_function() -> None:
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    Ladder("gelu", TOLERANCE)(x).sum().backward()
    expected = torch.autograd.functional.jacobian(lambda y: F.gelu(y).sum(), x.detach())
    assert torch.allclose(x.grad, expected)


@pytest.mark.parametrize(
    ("name", "tolerance", "said"), [("cosh", 0.1, "gelu"), ("gelu", 0, "1e-6"), ("gelu", 2, "below 1")]
)
def test_what_is_refused(name: str, tolerance: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Ladder(name, tolerance)


def test_written_out_functions_are_the_functions() -> None:
    x = torch.randn(3, 8, 6, dtype=torch.float64)
    weight, bias = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    assert torch.allclose(softmax(x, -1), x.softmax(-1))
    assert torch.allclose(layer_norm(x, [6], weight, bias), F.layer_norm(x, [6], weight, bias))
    gain, shift = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    assert torch.allclose(group_norm(x, 4, gain, shift), F.group_norm(x, 4, gain, shift))
