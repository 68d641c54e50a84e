"""Values and gradients of our neurons against SpikingJelly's, on random input."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from neuro.neurons import IF, LIF, PLIF, IntegerLIF, surrogate

sj_neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
sj_surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

SURROGATES = {
    "sigmoid": ("Sigmoid", 4.0),
    "atan": ("ATan", 2.0),
    "piecewise_quadratic": ("PiecewiseQuadratic", 1.0),
    "rectangle": ("Rect", 1.0),
}
SHAPES = [(4, 3, 2, 5, 5), (1, 71), (9, 2, 11)]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}

each_surrogate = pytest.mark.parametrize("name", SURROGATES)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp64", "fp32"])
each_reset = pytest.mark.parametrize("v_reset", [0.0, None, -0.25], ids=["hard", "soft", "to-minus-quarter"])
each_detach = pytest.mark.parametrize("detach_reset", [True, False], ids=["detached", "through-reset"])


def _input(shape: tuple[int, ...], dtype: torch.dtype, scale: float = 1.5) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(shape, dtype=torch.double, generator=generator) * scale + 0.5).to(dtype)


def _run(neuron: nn.Module, x: Tensor, single_step: bool) -> tuple[Tensor, list[Tensor], Tensor]:
    """Spikes, gradients with respect to the input and every parameter, last potential."""
    neuron.step_mode = "s" if single_step else "m"
    neuron.to(x.dtype)
    x = x.clone().requires_grad_()
    spikes = torch.stack([neuron(x_t) for x_t in x]) if single_step else neuron(x)
    # A different weight on every spike, so that no gradient can stand in for another.
    weights = torch.linspace(-1, 2, spikes.numel(), dtype=x.dtype).view_as(spikes)
    gradients = torch.autograd.grad((spikes * weights).sum(), [x, *neuron.parameters()])
    return spikes.detach(), list(gradients), neuron.v.detach()


def _assert_same(ours: nn.Module, theirs: nn.Module, x: Tensor, scale: float = 1.0) -> None:
    for single_step in (False, True):
        s1, g1, v1 = _run(ours, x, single_step)
        s2, g2, v2 = _run(theirs, x, single_step)
        ours.reset()
        theirs.reset()
        assert torch.equal(s1 * scale, s2)
        assert (s2 > 0).any(), "nothing fired, nothing was tested"
        assert len(g1) == len(g2)
        tolerance = TOLERANCE[x.dtype]
        torch.testing.assert_close(v1, v2, atol=tolerance, rtol=tolerance)
        for a, b in zip(g1, g2, strict=True):
            assert b.abs().sum() > 0 or len(x) == 1  # in one undecayed step tau has no part
            torch.testing.assert_close(a * scale, b, atol=tolerance * (1 + b.abs().max().item()), rtol=tolerance)


@each_surrogate
@each_dtype
@each_reset
@each_detach
def test_if(name: str, dtype: torch.dtype, v_reset: float | None, detach_reset: bool) -> None:
    peer, alpha = SURROGATES[name]
    for shape, v_threshold in zip(SHAPES, (1.0, 0.5, 1.75), strict=True):
        _assert_same(
            IF(v_threshold, v_reset, surrogate(name, alpha), detach_reset),
            sj_neuron.IFNode(v_threshold, v_reset, getattr(sj_surrogate, peer)(alpha=alpha), detach_reset),
            _input(shape, dtype),
        )


@each_surrogate
@each_dtype
@each_reset
@each_detach
@pytest.mark.parametrize("decay_input", [True, False], ids=["decayed", "undecayed"])
def test_lif(name: str, dtype: torch.dtype, v_reset: float | None, detach_reset: bool, decay_input: bool) -> None:
    peer, alpha = SURROGATES[name]
    for shape, tau in itertools.product(SHAPES, (1.25, 2.0, 5.0)):
        ours = LIF(tau, 1.0, v_reset, decay_input, surrogate(name, alpha), detach_reset)
        theirs = sj_neuron.LIFNode(
            tau, decay_input, 1.0, v_reset, getattr(sj_surrogate, peer)(alpha=alpha), detach_reset
        )
        _assert_same(ours, theirs, _input(shape, dtype, scale=1.5 * tau if decay_input else 1.5))


@each_surrogate
@each_dtype
@each_reset
@each_detach
@pytest.mark.parametrize("decay_input", [True, False], ids=["decayed", "undecayed"])
def test_plif(name: str, dtype: torch.dtype, v_reset: float | None, detach_reset: bool, decay_input: bool) -> None:
    peer, alpha = SURROGATES[name]
    for shape, tau in zip(SHAPES, (1.5, 2.0, 6.0), strict=True):
        ours = PLIF(tau, 1.0, v_reset, decay_input, surrogate(name, alpha), detach_reset)
        theirs = sj_neuron.ParametricLIFNode(
            tau, decay_input, 1.0, v_reset, getattr(sj_surrogate, peer)(alpha=alpha), detach_reset
        )
        assert ours.w.item() == pytest.approx(theirs.w.item(), abs=1e-7)
        _assert_same(ours, theirs, _input(shape, dtype, scale=1.5 * tau if decay_input else 1.5))


@each_dtype
@each_detach
@pytest.mark.parametrize("levels", [1, 4, 6])
@pytest.mark.parametrize("normalize", [False, True], ids=["counts", "normalised"])
def test_integer_lif(dtype: torch.dtype, detach_reset: bool, levels: int, normalize: bool) -> None:
    # SpikingJelly emits counts; ours divides them by `levels` when it normalises, and so the gradient too.
    for shape, tau in itertools.product(SHAPES, (4 / 3, 2.0)):
        _assert_same(
            IntegerLIF(levels, tau, normalize, detach_reset),
            sj_neuron.ILIFNode(
                tau, surrogate_function=sj_surrogate.MultiLevelSpikeCount(levels), detach_reset=detach_reset
            ),
            _input(shape, dtype, scale=levels),
            scale=levels if normalize else 1.0,
        )


def test_integer_lif_has_the_same_default_leak() -> None:
    assert IntegerLIF().tau == sj_neuron.ILIFNode().tau
    assert IntegerLIF().levels == sj_neuron.ILIFNode().surrogate_function.max_spike_count


def test_meta_spikeformer_settings_are_our_defaults() -> None:
    # The published network's neuron: tau 2, decay_input, hard reset to 0, threshold 1, detach_reset, sigmoid.
    x = _input((4, 2, 8), torch.float64, scale=3.0)
    _assert_same(LIF(), sj_neuron.LIFNode(tau=2.0, detach_reset=True), x)
