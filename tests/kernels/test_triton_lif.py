"""The Triton kernel of multi-step neurons against a plain loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from triton_here import relative, run

from neuro.kernels.dispatch import Request
from neuro.kernels.lif import triton as kernel
from neuro.kernels.lif.dispatch import OPERATOR
from neuro.kernels.lif.settings import SURROGATES, Settings

ALPHA = {"sigmoid": 4.0, "atan": 2.0, "triangle": 0.3, "rectangle": 1.0, "piecewise_quadratic": 1.0}

DERIVATIVES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": lambda u, a: a * torch.sigmoid(a * u) * (1 - torch.sigmoid(a * u)),
    "atan": lambda u, a: a / 2 / (1 + (math.pi / 2 * a * u) ** 2),
    "triangle": lambda u, a: a * (1 - u.abs()).clamp_min(0),
    "rectangle": lambda u, a: a * (u.abs() < 0.5 / a).to(u.dtype),
    "piecewise_quadratic": lambda u, a: (a - a * a * u.abs()).clamp_min(0),
}


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, name: str) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(u)
        ctx.name = name
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        (u,) = ctx.saved_tensors
        return grad * DERIVATIVES[ctx.name](u, ALPHA[ctx.name]), None


class Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor, levels: int) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(h)
        ctx.levels = levels
        return h.clamp(0, levels).round()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        (h,) = ctx.saved_tensors
        return grad * ((h >= 0) & (h <= ctx.levels)), None


def reference(x: Tensor, v: Tensor, p: Settings, tau: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The step equations, one after the other."""
    tau = p.tau if tau is None else tau
    spikes = []
    for x_t in x:
        if p.charge == "if":
            h = v + x_t
        elif p.charge == "integer":
            h = v * (1 - 1 / tau) + x_t
        elif p.charge == "lif":
            h = v + (x_t - (v - p.rest)) / tau
        else:
            h = v - (v - p.rest) / tau + x_t
        s = Count.apply(h, p.levels) if p.charge == "integer" else Spike.apply(h - p.v_threshold, p.surrogate)
        kept = s.detach() if p.detach_reset else s
        if p.charge == "integer":
            v = h - kept
            s = s / p.divisor
        else:
            v = h - p.v_threshold * kept if p.v_reset is None else h * (1 - kept) + p.rest * kept
        spikes.append(s)
    return torch.stack(spikes), v


def settings(charge: str = "lif", tau: float = 2.0, **given) -> Settings:  # type: ignore[no-untyped-def]
    name = given.pop("surrogate", "sigmoid")
    return Settings(charge, tau, **({"v_threshold": 0.7, "v_reset": 0.0} | given), surrogate=name, alpha=ALPHA[name])


NEURONS = [
    settings(charge, tau, v_reset=v_reset, surrogate=name, detach_reset=detach)
    for (charge, tau), v_reset, (name, detach) in zip(
        itertools.cycle([("if", 1.0), ("lif", 2.0), ("lif", 1.7), ("lif_undecayed", 1.3), ("lif_undecayed", 4.0)]),
        itertools.cycle([0.0, None, 0.3]),
        list(itertools.product(SURROGATES, [True, False])) * 3,
        strict=False,
    )
] + [
    settings("integer", 4 / 3, v_reset=None, levels=levels, divisor=divisor, detach_reset=detach)
    for levels, divisor, detach in [(4, 4.0, True), (4, 1.0, False), (3, 3.0, False)]
]


def drive(*shape: int, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("p", NEURONS, ids=str)
def test_values_and_gradients(p: Settings) -> None:
    x, v, grad = drive(4, 3, 37).requires_grad_(), drive(3, 37, seed=1).requires_grad_(), drive(4, 3, 37, seed=2)
    s, last = reference(x, v, p)
    s.backward(grad)
    got_s, got_last = run(kernel.forward, x.detach(), v.detach(), None, p, packed=False)
    torch.testing.assert_close(got_s, s, rtol=0, atol=0)
    torch.testing.assert_close(got_last, last, rtol=0, atol=0)
    got_x, got_v, got_tau = run(kernel.backward, grad, x.detach(), v.detach(), None, p, wants_v=True)
    assert relative(got_x, x.grad) < 1e-6
    assert relative(got_v, v.grad) < 1e-6
    assert got_tau.numel() == 0


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 17, 33])
def test_any_number_of_timesteps(steps: int) -> None:
    p, x, grad = settings("lif", 1.7), drive(steps, 5, 7).requires_grad_(), drive(steps, 5, 7, seed=2)
    rest = torch.zeros(5, 7).requires_grad_()
    s, last = reference(x, rest, p)
    s.backward(grad)
    got_s, got_last = run(kernel.forward, x.detach(), None, None, p, packed=False)
    assert torch.equal(got_s, s)
    assert torch.equal(got_last, last)
    got_x, got_v, _ = run(kernel.backward, grad, x.detach(), None, None, p, wants_v=True)
    assert relative(got_x, x.grad) < 1e-6
    assert relative(got_v, rest.grad) < 1e-6
    packed, _ = run(kernel.forward, x.detach(), None, None, p, packed=True)
    assert packed.shape == (-(-steps // 8), 5, 7)
    for t in range(steps):
        assert torch.equal((packed[t // 8] >> (t % 8) & 1).float(), s[t])


@pytest.mark.parametrize("charge", ["lif", "lif_undecayed"])
@pytest.mark.parametrize("steps", [4, 19])
def test_a_learned_time_constant_has_its_gradient(charge: str, steps: int) -> None:
    p, x, grad = settings(charge, v_reset=0.2), drive(steps, 1500), drive(steps, 1500, seed=3)
    tau = torch.tensor(1.7, requires_grad=True)
    s, _ = reference(x, torch.full((1500,), 0.2), p, tau)
    s.backward(grad)
    assert torch.equal(run(kernel.forward, x, None, tau.detach(), p, packed=False)[0], s)
    _, nothing, got = run(kernel.backward, grad, x, None, tau.detach(), p, wants_v=False)
    assert nothing.numel() == 0
    assert relative(got, tau.grad) < 1e-4  # a sum of thousands of either sign, in another order


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_in_and_out_with_a_state_of_32(dtype: torch.dtype) -> None:
    p, x, grad = settings("lif", 1.7), drive(4, 3, 40).to(dtype), drive(4, 3, 40, seed=2).to(dtype)
    wide = x.float().requires_grad_()
    s, last = reference(wide, torch.zeros(3, 40), p)
    s.backward(grad.float())
    got_s, got_last = run(kernel.forward, x, None, None, p, packed=False)
    assert got_s.dtype == dtype
    assert torch.equal(got_s.float(), s)
    assert torch.equal(got_last, last)
    got_x, _, _ = run(kernel.backward, grad, x, None, None, p, wants_v=False)
    assert got_x.dtype == dtype
    assert relative(got_x.float(), wide.grad) < (1e-3 if dtype == torch.float16 else 8e-3)


def test_channels_last_keeps_its_layout() -> None:
    p, x = settings(), drive(3, 2, 5, 4, 6)
    last = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (3, 2))
    s, v = run(kernel.forward, last, drive(2, 5, 4, 6, seed=1), None, p, packed=False)
    expected, expected_v = run(kernel.forward, x, drive(2, 5, 4, 6, seed=1), None, p, packed=False)
    assert s.stride() == last.stride()
    assert torch.equal(s, expected)
    assert torch.equal(v, expected_v)
    assert torch.equal(
        run(kernel.forward, last, None, None, p, packed=True)[0], run(kernel.forward, x, None, None, p, True)[0]
    )


def test_other_layouts_are_copied() -> None:
    p, x = settings(), drive(6, 20, 4)
    for given in (x.transpose(0, 2), x[::2], x[:, ::3], x[..., :3]):
        s, _ = run(kernel.forward, given, None, None, p, packed=False)
        assert torch.equal(s, run(kernel.forward, given.contiguous(), None, None, p, packed=False)[0])
        grad = torch.ones(()).expand(given.shape)
        got, _, _ = run(kernel.backward, grad, given, None, None, p, wants_v=False)
        assert torch.equal(
            got, run(kernel.backward, torch.ones(given.shape), given.contiguous(), None, None, p, wants_v=False)[0]
        )


def test_empty_batches() -> None:
    x = torch.empty(4, 0, 3)
    s, v = run(kernel.forward, x, None, None, settings(), packed=False)
    assert (s.shape, v.shape) == ((4, 0, 3), (0, 3))
    assert run(kernel.forward, x, None, None, settings(), packed=True)[0].shape == (1, 0, 3)
    assert run(kernel.backward, x, x, None, None, settings(), wants_v=True)[0].shape == (4, 0, 3)


@pytest.mark.parametrize("v_reset", [0.0, None, 0.3])
@pytest.mark.parametrize("charge", ["if", "lif", "integer"])
def test_nan_and_infinity_spread_as_in_the_reference(charge: str, v_reset: float | None) -> None:
    x = torch.tensor([[math.nan, math.inf, -math.inf, 1.0], [1.0, 1.0, 1.0, math.nan], [-1.0, 2.0, 3.0, 1.0]])
    p = settings(charge, v_reset=None if charge == "integer" else v_reset, levels=4)
    start = torch.full((4,), p.rest)
    x_ = x.clone().requires_grad_()
    s, last = reference(x_, start, p)
    s.sum().backward()
    got_s, got_last = run(kernel.forward, x, None, None, p, packed=False)
    torch.testing.assert_close(got_s, s.detach(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(got_last, last.detach(), rtol=0, atol=0, equal_nan=True)
    got_x, _, _ = run(kernel.backward, torch.ones_like(x), x, None, None, p, wants_v=False)
    torch.testing.assert_close(got_x, x_.grad, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_more_than_one_program() -> None:
    p, x = settings("lif_undecayed", 3.0), drive(2, 2 * kernel.BLOCK + 5)
    assert torch.equal(
        run(kernel.forward, x, None, None, p, packed=False)[0], reference(x, torch.zeros(x.shape[1:]), p)[0]
    )


def test_on_a_gpu_it_serves_integer_neurons_and_learned_time_constants_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for details in ({}, {"kind": "integer"}, {"learned_tau": True}):
        assert OPERATOR.choose(Request("cuda", torch.float16, details)).implementation.name == "triton"
    request = Request("cuda", torch.float16, {"learned_threshold": True})
    assert OPERATOR.choose(request).implementation.name == "reference"
