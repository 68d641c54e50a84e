"""The Triton kernels of norm_lif against BatchNorm, shortcut and neuron one after the other in plain torch."""

from __future__ import annotations

import itertools

import pytest
import torch
from test_triton_lif import reference as neuron_reference
from test_triton_lif import settings
from torch import Tensor
from torch.nn import functional as F
from triton_here import relative, run

from neuro.kernels.dispatch import Request
from neuro.kernels.lif.settings import Settings
from neuro.kernels.norm_lif import triton as kernel
from neuro.kernels.norm_lif.cpu import Inputs
from neuro.kernels.norm_lif.dispatch import OPERATOR

EPS = 0.25
LEAKY = settings("lif", 1.7, v_threshold=0.83, v_reset=0.1, detach_reset=False)
COUNTS = settings("integer", 4 / 3, v_reset=None, levels=3, divisor=3.0, detach_reset=False)
CASES = [
    ((4, 2, 20, 3, 5), False, LEAKY),
    ((4, 2, 20, 3, 5), True, LEAKY),
    ((3, 40, 17), False, LEAKY),
    ((9, 2, 32, 4, 4), True, LEAKY),
    ((4, 2, 20, 3, 5), True, COUNTS),
    ((3, 40, 17), False, COUNTS),
]


def eighths(*shape: int, seed: int, last: bool = False) -> Tensor:
    """Multiples of 1/8: sums and products of a few are exact, fused or not."""
    drawn = torch.randint(-24, 25, shape, generator=torch.Generator().manual_seed(seed)) / 8
    return drawn.movedim(2, -1).contiguous().movedim(-1, 2) if last else drawn


@pytest.mark.parametrize(("shape", "last", "p"), CASES)
@pytest.mark.parametrize(
    ("norm", "residual", "keep"), list(itertools.product(["batch", "given", ""], [True, False], [True, False]))
)
def test_values_and_gradients(
    shape: tuple[int, ...], last: bool, p: Settings, norm: str, residual: bool, keep: bool
) -> None:
    channels = shape[2]
    x = eighths(*shape, seed=0, last=last)
    weight, bias = eighths(channels, seed=1).abs() + 0.125, eighths(channels, seed=2)
    mean, var = (eighths(channels, seed=3), torch.ones(channels) * 0.75) if norm == "given" else (None, None)
    shortcut = eighths(*shape, seed=4, last=last) if residual else None
    start = eighths(*shape[1:], seed=5)
    rstd = None if var is None else torch.rsqrt(var + EPS)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias, shortcut if shortcut is not None else x, start)]
    h = leaves[0]
    if norm:
        h = F.batch_norm(h.flatten(0, 1), mean, var, leaves[1], leaves[2], norm == "batch", 0.0, EPS)
        h = h.unflatten(0, shape[:2])
    h = h + leaves[3] if residual else h
    s, last_v = neuron_reference(h, leaves[4], p)

    given = Inputs(x, shortcut, start, weight if norm else None, bias if norm else None)
    got = run(kernel.forward, given, mean, rstd, p, EPS, keep)
    flips = int((got[0] != s).sum())
    assert flips == 0
    torch.testing.assert_close(got[2], last_v.detach(), rtol=1e-5, atol=1e-5)
    if keep:
        torch.testing.assert_close(got[1], h.detach(), rtol=1e-5, atol=1e-5)
    if norm == "batch":
        var, mean = torch.var_mean(x.double(), [0, 1, *range(3, x.dim())], correction=0)
        torch.testing.assert_close(got[3], mean.float())
        torch.testing.assert_close(got[4], var.float())
        mean, rstd = got[3], got[5]

    grad_s = torch.randn(shape, generator=torch.Generator().manual_seed(6))
    grad_h = torch.randn(shape, generator=torch.Generator().manual_seed(7)) if keep else None
    ((s * grad_s).sum() + ((h * grad_h).sum() if grad_h is not None else 0)).backward()
    kept = got[1] if keep else None
    for wants_sum in (True, False):
        grads = run(kernel.backward, grad_s, grad_h, given, kept, mean, rstd, p, norm == "batch", wants_sum, True)
        if residual:
            assert grads[1].numel() == (grad_s.numel() if wants_sum else 0)
        assert relative(grads[0], leaves[0].grad) < 1e-5
        assert relative(grads[2], leaves[4].grad) < 1e-5
        if residual and wants_sum:
            assert relative(grads[1], leaves[3].grad) < 1e-5
        if norm:
            assert relative(grads[3], leaves[1].grad) < 1e-5
            assert relative(grads[4], leaves[2].grad) < 1e-5


def test_sixteen_bits_are_rounded_after_each_layer() -> None:
    # fp16: the interpreter cuts off where a GPU rounds to bf16. Numbers that fp32 multiplies and adds without rounding:
    # fused or not, which differs between interpreters, they come out the same.
    x, shortcut = (torch.randn(2, 2, 16, 9, generator=torch.Generator().manual_seed(n)).half() for n in (0, 1))
    p, weight, bias = settings("lif", 2.0), torch.full((16,), 1.25), torch.full((16,), 0.1875)
    mean, rstd = torch.zeros(16), torch.ones(16)
    s, h, last, *_ = run(kernel.forward, Inputs(x, shortcut, None, weight, bias), mean, rstd, p, 0.0, True)
    y = torch.addcmul(bias.double()[:, None], x.double(), weight.double()[:, None]).float().half()
    expected = y + shortcut
    assert torch.equal(h, expected)
    spikes, potential = neuron_reference(expected.float(), torch.zeros(2, 16, 9), p)
    assert torch.equal(s.float(), spikes)
    assert torch.equal(last, potential)


def test_empty_batches() -> None:
    x = torch.empty(2, 0, 3, 4)
    given = Inputs(x, None, None, torch.ones(3), torch.zeros(3))
    assert run(kernel.forward, given, None, None, settings(), EPS, False)[0].shape == x.shape


def test_on_a_gpu_it_serves_integer_neurons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for kind, taken in [("", "triton"), ("integer", "triton"), ("tau", "reference"), ("threshold", "reference")]:
        request = Request("cuda", torch.bfloat16, {"kind": kind, "timesteps": 4})
        assert OPERATOR.choose(request).implementation.name == taken
