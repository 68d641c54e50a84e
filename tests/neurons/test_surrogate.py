"""Surrogate gradients against primitives differentiated numerically, known areas, tables and SpikingJelly."""

import math

import pytest
import torch

from hardware_models.errors import InputError
from neuro.neurons import SURROGATES, Surrogate, surrogate

# Functions whose derivatives the surrogates are, as plain arithmetic on floats.


def _sigmoid(x: float, a: float) -> float:
    return 1 / (1 + math.exp(-a * x))


def _atan(x: float, a: float) -> float:
    return math.atan(math.pi / 2 * a * x) / math.pi + 0.5


def _triangle(x: float, a: float) -> float:
    # The integral of a (1 + x) from -1 to 0, then of a (1 - x) from 0 to 1.
    if x <= -1:
        return 0.0
    if x <= 0:
        return a * (1 + x) ** 2 / 2
    return a * (1 - (1 - min(x, 1)) ** 2 / 2)


def _rectangle(x: float, a: float) -> float:
    return min(max(a * x + 0.5, 0.0), 1.0)


def _piecewise_quadratic(x: float, a: float) -> float:
    if abs(x) > 1 / a:
        return float(x > 0)
    return 0.5 + a * x - a * a * x * abs(x) / 2


PRIMITIVES = {
    "sigmoid": _sigmoid,
    "atan": _atan,
    "triangle": _triangle,
    "rectangle": _rectangle,
    "piecewise_quadratic": _piecewise_quadratic,
}
ALPHAS = [0.3, 1.0, 2.0, 4.0]


def _kinks(name: str, a: float) -> list[float]:
    return {
        "triangle": [-1, 0, 1],
        "rectangle": [-0.5 / a, 0.5 / a],
        "piecewise_quadratic": [-1 / a, 0, 1 / a],
    }.get(name, [])


def _gradient(spike_fn: Surrogate, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(spike_fn(x).sum(), x)[0]


def test_every_surrogate_has_a_primitive_here() -> None:
    assert set(PRIMITIVES) == set(SURROGATES)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", PRIMITIVES)
def test_derivative_is_that_of_the_primitive(name: str, alpha: float) -> None:
    step = 1e-5
    grid = torch.linspace(-3.71, 3.53, 241).tolist()
    points = [x for x in grid if all(abs(x - k) > 3 * step for k in _kinks(name, alpha))]
    primitive = PRIMITIVES[name]
    expected = [(primitive(x + step, alpha) - primitive(x - step, alpha)) / (2 * step) for x in points]
    got = _gradient(surrogate(name, alpha), torch.tensor(points, dtype=torch.double))
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.double), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", PRIMITIVES)
def test_area_under_the_derivative(name: str, alpha: float) -> None:
    # Points dense around 0 and reaching out to 8e4, for arctan's long tails.
    x = torch.linspace(-12, 12, 400_001, dtype=torch.double).sinh()
    area = torch.trapezoid(_gradient(surrogate(name, alpha), x), x).item()
    assert area == pytest.approx(alpha if name == "triangle" else 1.0, abs=3e-4)


@pytest.mark.parametrize(
    ("alpha", "x", "expected"),
    [
        # alpha (1 - |x|) inside [-1, 1], nothing outside
        (0.3, -1.5, 0.0),
        (0.3, -1.0, 0.0),
        (0.3, -0.75, 0.075),
        (0.3, 0.0, 0.3),
        (0.3, 0.25, 0.225),
        (0.3, 0.9, 0.03),
        (0.3, 1.0, 0.0),
        (1.0, -0.5, 0.5),
        (1.0, 0.125, 0.875),
        (2.0, 0.75, 0.5),
        (2.0, 40.0, 0.0),
    ],
)
def test_triangle_by_hand(alpha: float, x: float, expected: float) -> None:
    assert _gradient(surrogate("triangle", alpha), torch.tensor(x)).item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("sigmoid", "Sigmoid"),
        ("atan", "ATan"),
        ("piecewise_quadratic", "PiecewiseQuadratic"),
        ("rectangle", "Rect"),
    ],
)
def test_equals_spikingjelly(name: str, peer: str, alpha: float) -> None:
    theirs = pytest.importorskip("spikingjelly.activation_based.surrogate")
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2000, dtype=torch.double, generator=generator) * 2
    ties = torch.tensor([0.0, 0.5 / alpha, -0.5 / alpha, 1 / alpha, -1 / alpha], dtype=torch.double)
    x = torch.cat([x, ties])
    torch.testing.assert_close(
        _gradient(surrogate(name, alpha), x),
        _gradient(getattr(theirs, peer)(alpha=alpha), x),
        atol=1e-12,
        rtol=1e-12,
    )
    assert torch.equal(surrogate(name, alpha)(x), getattr(theirs, peer)(alpha=alpha)(x))


def test_usual_sharpness() -> None:
    usual = {"sigmoid": 4.0, "atan": 2.0, "triangle": 0.3, "rectangle": 1.0, "piecewise_quadratic": 1.0}
    assert {name: s.alpha for name, s in SURROGATES.items()} == usual
    assert surrogate("atan").alpha == 2.0
    assert surrogate("atan", 5).alpha == 5
    assert SURROGATES["atan"].alpha == 2.0  # the registered one is not changed


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_forward_is_the_heaviside_step(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[-3.0, -1e-3, -0.0], [0.0, 1e-3, 3.0]], dtype=dtype)
    spikes = SURROGATES[name](x)
    assert spikes.dtype == dtype
    assert spikes.tolist() == [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]
    assert _gradient(SURROGATES[name], x).dtype == dtype


@pytest.mark.parametrize("name", PRIMITIVES)
def test_chain_rule(name: str) -> None:
    x = torch.tensor([0.2, -0.3], dtype=torch.double, requires_grad=True)
    (SURROGATES[name](2 * x) * torch.tensor([3.0, -5.0])).sum().backward()
    expected = SURROGATES[name].derivative(2 * x.detach(), SURROGATES[name].alpha) * torch.tensor([6.0, -10.0])
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("name", ["sigmoid", "atan", "triangle", "piecewise_quadratic"])
def test_nan_is_silent_forward_and_shows_in_the_gradient(name: str) -> None:
    nan = torch.tensor([math.nan])
    assert SURROGATES[name](nan).item() == 0
    assert _gradient(SURROGATES[name], nan).isnan().all()


@pytest.mark.parametrize("alpha", [0, -1.0, math.nan, math.inf, "2"])
def test_bad_alpha(alpha: object) -> None:
    with pytest.raises(InputError, match=r"'atan' was given alpha=.*above 0"):
        surrogate("atan", alpha)  # type: ignore[arg-type]


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown surrogate 'sigmoyd'; did you mean 'sigmoid'"):
        surrogate("sigmoyd")
