"""Quantizers: levels, state, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from quant.quantizers import Binary, Pact, PowerOfTwo, Quantizer, ShiftedPReLU, Spikes, Ternary, Uniform

torch.manual_seed(0)
X = torch.randn(4, 6, 5)

EVERY: dict[str, Quantizer] = {
    "unsigned": Uniform(4, False),
    "signed": Uniform(4, True, narrow=True),
    "affine": Uniform(4, False, affine=True),
    "by channel": Uniform(3, True, channels=6, axis=1),
    "fixed": Uniform(8, True, learned=False),
    "pact": Pact(3),
    "mean": Binary("mean", axis=1),
    "learned": Binary("learned", "polynomial", channels=6, axis=1),
    "shifted": Binary("one", channels=6, axis=1, shift=True),
    "threshold": Ternary("threshold", axis=1),
    "bitnet": Ternary("mean"),
    "powers": PowerOfTwo(3, channels=6, axis=1),
    "spikes": Spikes(2, membrane_bits=8),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_result_is_codes_times_scale(name: str) -> None:
    quantizer = copy.deepcopy(EVERY[name])
    quantizer.initialise(X)
    low, high = quantizer.limits()
    codes = quantizer.codes(X)
    assert torch.equal(codes, codes.round())
    assert low <= codes.min()
    assert codes.max() <= high
    expected = (codes - quantizer.zero_point()) * quantizer.scale(X)
    assert torch.allclose(quantizer(X), expected, atol=1e-6)


OF_THE_TENSOR = {"mean", "threshold", "bitnet", "shifted", "spikes", "powers"}
"""Those whose scale, threshold or time depends on the tensor."""


@pytest.mark.parametrize("name", sorted(EVERY.keys() - OF_THE_TENSOR))
def test_quantizing_again_changes_nothing(name: str) -> None:
    quantizer = copy.deepcopy(EVERY[name])
    quantizer.initialise(X)
    once = quantizer(X)
    assert torch.allclose(quantizer(once), once, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_all_state_is_there_from_the_beginning(name: str) -> None:
    fresh, used = copy.deepcopy(EVERY[name]), copy.deepcopy(EVERY[name])
    names = list(fresh.state_dict())
    used.initialise(X)
    used(X).sum().backward() if list(used.parameters()) else None
    assert list(used.state_dict()) == names
    fresh.load_state_dict(used.state_dict())
    assert torch.equal(fresh(X), used(X))


@pytest.mark.parametrize("name", EVERY)
def test_it_is_copied_and_pickled(name: str) -> None:
    quantizer = copy.deepcopy(EVERY[name])
    quantizer.initialise(X)
    again = pickle.loads(pickle.dumps(quantizer))
    assert torch.equal(again(X), quantizer(X))


LEARNED = [name for name, one in EVERY.items() if list(one.parameters())]


@pytest.mark.parametrize("name", LEARNED)
def test_every_parameter_learns(name: str) -> None:
    quantizer = copy.deepcopy(EVERY[name])
    quantizer.initialise(X)
    parameters = dict(quantizer.named_parameters())
    x = X.clone().requires_grad_()
    (quantizer(x) * torch.linspace(-1, 2, X.numel()).view_as(X)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters.values())
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@settings(deadline=None)
@given(st.integers(2, 8), st.floats(0.1, 100))
def test_more_bits_are_nearer(bits: int, size: float) -> None:
    x = X * size

    def error(width: int) -> float:
        quantizer = Uniform(width, True)
        quantizer.initialise(x)
        return float((quantizer(x) - x).square().mean().detach())

    assert error(bits + 1) <= error(bits) * 1.001


def test_scales_follow_the_size_of_the_values() -> None:
    small, large = Uniform(4, True), Uniform(4, True)
    small.initialise(X)
    large.initialise(X * 8)
    assert (large.scale_ / small.scale_).item() == pytest.approx(8, rel=1e-4)


def test_zero_is_exact_with_a_zero_point() -> None:
    quantizer = Uniform(4, False, affine=True)
    quantizer.initialise(torch.tensor([-0.2, 3.0, 1.0]))
    assert quantizer(torch.zeros(1)).item() == 0


def test_the_gradient_of_a_scale_is_divided_as_lsq_says() -> None:
    """g = 1 / sqrt(elements of a sample x greatest code)."""
    quantizer = Uniform(3, True, elements=8)
    x = torch.full((2, 8), 100.0)  # all beyond the range: each has the gradient 3
    quantizer(x).sum().backward()
    assert quantizer.scale_.grad is not None
    assert quantizer.scale_.grad.item() == pytest.approx(2 * 8 * 3 / (8 * 3) ** 0.5)


def test_zeros_alone_leave_the_scale() -> None:
    for quantizer in (Uniform(4, True), Pact(4), Binary("learned"), Spikes(2)):
        quantizer.initialise(torch.zeros(4, 3))
        assert [float(p.detach()) for p in quantizer.parameters()] == [1.0]
        assert quantizer(torch.zeros(4, 3)).isfinite().all()


@pytest.mark.parametrize("quantizer", [Uniform(4, True), Pact(4), Binary("learned"), Spikes(2), PowerOfTwo(3)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(quantizer: Quantizer, bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        copy.deepcopy(quantizer).initialise(torch.tensor([1.0, bad]))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="zero point"):
        Uniform(4, True, affine=True)
    with pytest.raises(InputError, match="unknown scale"):
        Binary("median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="T = 0"):
        Spikes(0)
    with pytest.raises(InputError, match="leak of 2"):
        Spikes(4, leak=2)


def test_spikes_keep_samples_apart_wherever_the_batch_is() -> None:
    """Two timesteps of three samples, once in axis 0 and once in axis 1 with two entries around them."""
    x = torch.rand(6, 5)
    plain = Spikes(2)(x)
    around = x.repeat(2, 1).t().contiguous()
    turned = Spikes(2, place=(1, 2))(around)
    assert torch.equal(turned.t(), plain.repeat(2, 1))


def test_the_shifted_prelu_by_hand() -> None:
    layer = ShiftedPReLU(2, axis=1)
    with torch.no_grad():
        layer.before.copy_(torch.tensor([1.0, 0.0]))
        layer.after.copy_(torch.tensor([0.0, 10.0]))
    assert layer(torch.tensor([[3.0, -4.0], [0.0, 2.0]])).tolist() == [[2.0, 9.0], [-0.25, 12.0]]
