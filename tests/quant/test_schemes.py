"""The arithmetic against values worked out by hand, numpy and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hardware_models.errors import InputError
from quant import schemes

VALUES = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40)


def gradient(y: Tensor, x: Tensor) -> list[float]:
    return torch.autograd.grad(y.sum(), x)[0].tolist()


@pytest.mark.parametrize(
    ("bits", "signed", "narrow", "expected"),
    [(1, False, False, (0, 1)), (4, False, False, (0, 15)), (4, True, False, (-8, 7)), (4, True, True, (-7, 7))],
)
def test_ranges_of_integers(bits: int, signed: bool, narrow: bool, expected: tuple[int, int]) -> None:
    assert schemes.integer_range(bits, signed, narrow) == expected


@pytest.mark.parametrize("bits", [0, 17, -1, True, 2.0])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match="from 1 to 16"):
        schemes.integer_range(bits, signed=False)


def test_one_narrow_bit_is_refused() -> None:
    with pytest.raises(InputError, match="from 2 to 16"):
        schemes.integer_range(1, signed=True, narrow=True)


@given(VALUES, st.floats(0.01, 10), st.integers(0, 15), st.integers(1, 16))
def test_uniform_codes_are_those_of_numpy(values: list[float], scale: float, zero: int, bits: int) -> None:
    high = 2**bits - 1
    x = torch.tensor(values)
    found = schemes.uniform_codes(x, torch.tensor(scale), zero, 0, high)
    expected = np.round(np.clip(np.float32(values) / np.float32(scale) + np.float32(zero), 0, high))
    assert found.tolist() == expected.tolist()


def test_halves_are_rounded_to_even() -> None:
    assert schemes.round_through(torch.tensor([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]


def test_the_learned_step_has_the_gradient_of_lsq() -> None:
    """LSQ eq. 3: -x/s + round(x/s) inside, the limits outside."""
    x = torch.tensor([-9.0, 0.3, 0.8, 20.0])
    scale = torch.tensor(0.5, requires_grad=True)
    each = [torch.autograd.grad(schemes.uniform_codes(v, scale, 0.0, -4, 3) * scale, scale)[0].item() for v in x]
    assert each == pytest.approx([-4, 1 - 0.6, 2 - 1.6, 3])


def test_values_outside_of_the_range_have_no_gradient() -> None:
    x = torch.tensor([-9.0, 0.3, 20.0], requires_grad=True)
    assert gradient(schemes.uniform_codes(x, torch.tensor(0.5), 0.0, -4, 3) * 0.5, x) == [0, 1, 0]


def test_a_scaled_gradient() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    y = schemes.scaled_gradient(x, 0.25)
    assert (y.item(), gradient(y, x)) == (3, 0.25)


def test_pact_clips_and_learns_from_what_it_clipped() -> None:
    """PACT eq. 2 and 3, two bits up to 3: steps of one."""
    x = torch.tensor([-1.0, 0.4, 1.6, 5.0], requires_grad=True)
    clip = torch.tensor(3.0, requires_grad=True)
    y = schemes.pact(x, clip, 2)
    assert y.tolist() == [0, 0, 2, 3]
    assert gradient(schemes.pact(x, clip, 2), x) == [0, 1, 1, 0]
    assert torch.autograd.grad(schemes.pact(x.detach(), clip, 2).sum(), clip)[0].item() == 1


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [("clipped", [0, 1, 1, 1, 0]), ("polynomial", [0, 1, 2, 1.5, 0]), ("identity", [1, 1, 1, 1, 1])],
)
def test_signs_and_their_gradients(estimator: schemes.Estimator, expected: list[float]) -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 0.25, 2.0], requires_grad=True)
    y = schemes.sign(x, estimator)
    assert y.tolist() == [-1, -1, 1, 1, 1]
    assert gradient(y, x) == pytest.approx(expected)


def test_an_unknown_gradient_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'polynomial'"):
        schemes.sign(torch.zeros(1), "polynomal")  # type: ignore[arg-type]


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=30))
def test_mean_magnitude_is_the_best_binary_scale(values: list[float]) -> None:
    """XNOR-Net eq. 6: no other factor of sign(w) is nearer to w."""
    w = torch.tensor([values])
    signs = schemes.sign(w)

    def error(scale: Tensor) -> float:
        return float((w - scale * signs).square().sum())

    best = schemes.mean_magnitude(w, (1,))
    for factor in (0.9, 1.1):
        assert error(best) <= error(best * factor) + 1e-6


def test_ternary_weights_by_hand() -> None:
    """Mean magnitude 1, threshold 0.7; of the two above it the scale is 1.75."""
    w = torch.tensor([[0.1, -2.0, 0.4, 1.5]])
    threshold, scale = schemes.ternary_threshold(w, (1,))
    assert (threshold.item(), scale.item()) == pytest.approx((0.7, 1.75))
    assert schemes.ternary_codes(w, threshold).tolist() == [[0, -1, 0, 1]]


def test_powers_of_two_by_hand() -> None:
    """Three bits: 0 and 1, 2, 4 of either sign; the border between 1 and 2 is sqrt(2)."""
    x = torch.tensor([0.4, -0.6, 1.4, 1.5, -3.0, 100.0, 0.0])
    assert schemes.power_of_two_codes(x, torch.tensor(1.0), 3).tolist() == [0, -1, 1, 2, -4, 4, 0]


@pytest.mark.parametrize("bits", [1, 6])
def test_other_powers_of_two_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match="2 to 5"):
        schemes.power_of_two_codes(torch.zeros(1), torch.ones(1), bits)


@given(st.floats(-1, 3), st.integers(1, 12))
def test_equal_currents_fire_as_often_as_they_are_large(current: float, timesteps: int) -> None:
    """From half a threshold: round(T x / theta) times, at least 0 and at most T."""
    total = current * timesteps
    if abs(total - math.floor(total) - 0.5) < 1e-3:
        return  # the border, where rounding decides
    x = torch.full((timesteps, 1), current * 2.0)
    count = schemes.spikes(x, torch.tensor(2.0)).sum().item()
    assert count == max(0, min(timesteps, round(total)))


def test_a_membrane_by_hand() -> None:
    """v = .5 + .75 = 1.25 fires, .25 left; + .75 = 1.0 fires, 0 left; + .75 does not."""
    fired = schemes.spikes(torch.full((3, 1), 0.75), torch.tensor(1.0))
    assert fired.flatten().tolist() == [1, 1, 0]


def test_a_leak_by_hand() -> None:
    """v = .25 + .7 = .95; .475 + .7 = 1.175 fires; .0875 + .7 does not."""
    fired = schemes.spikes(torch.full((3, 1), 0.7), torch.tensor(1.0), leak=0.5)
    assert fired.flatten().tolist() == [0, 1, 0]


def test_an_integer_membrane_rounds_and_saturates() -> None:
    """Three bits: steps of 1/2 from -2 to 1.5. .5 + .2 is rounded to .5, so nothing adds up; -9 saturates at -2."""
    assert schemes.spikes(torch.full((4, 1), 0.2), torch.tensor(1.0), membrane_bits=3).sum() == 0
    assert schemes.spikes(torch.full((4, 1), 0.2), torch.tensor(1.0)).sum() == 1
    low = schemes.spikes(torch.tensor([[-9.0], [3.0]]), torch.tensor(1.0), membrane_bits=3)
    assert low.flatten().tolist() == [0, 1]
    assert schemes.spikes(torch.tensor([[-9.0], [3.0]]), torch.tensor(1.0)).flatten().tolist() == [0, 0]


def test_the_surrogate_gradient_is_a_triangle() -> None:
    for current, expected in ((0.5, 1.0), (0.25, 0.75), (0.75, 0.75), (-0.5, 0.0), (2.0, 0.0)):
        x = torch.tensor([[current]], requires_grad=True)
        assert gradient(schemes.spikes(x, torch.tensor(1.0)), x)[0][0] == pytest.approx(expected)  # type: ignore[index]
