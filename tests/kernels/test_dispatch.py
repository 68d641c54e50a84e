"""Which implementation runs, why, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import torch

from hardware_models.errors import InputError, RunError
from neuro.kernels import dispatch, lif, native
from neuro.kernels.dispatch import Implementation, Operator, Request, explain, using
from neuro.neurons import FireReset

CPU = Request("cpu", torch.float32)


def _never(request: Request) -> str:
    return ""


def _always(reason: str) -> Callable[[Request], str]:
    return lambda request: reason


@pytest.fixture
def operator() -> Iterator[Operator]:
    """An operator whose native implementation takes fp32 only."""
    made = Operator(
        "made-up",
        [
            Implementation("triton", _always("the tensor is not on a GPU"), lambda: "triton"),
            Implementation(
                "native", lambda request: "" if request.dtype == torch.float32 else "not fp32", lambda: "native"
            ),
            Implementation("reference", _never, lambda: "reference"),
        ],
    )
    yield made
    del dispatch.OPERATORS["made-up"]
    dispatch._logged.clear()


def test_the_first_that_can_is_taken(operator: Operator) -> None:
    assert operator(CPU) == "native"
    choice = operator.choose(Request("cpu", torch.float64))
    assert choice.implementation.name == "reference"
    assert choice.passed_over == (("triton", "the tensor is not on a GPU"), ("native", "not fp32"))


def test_a_wish_is_followed(operator: Operator) -> None:
    with using("reference"):
        assert operator(CPU) == "reference"
        with using(**{"made-up": "native"}):
            assert operator(CPU) == "native"
    assert operator(CPU) == "native"


def test_an_unknown_implementation_is_refused(operator: Operator) -> None:
    with using("natve"), pytest.raises(InputError, match="native"):
        operator.choose(CPU)


def test_strict_refuses_what_would_be_slower(operator: Operator) -> None:
    with using(strict=True):
        assert operator(CPU) == "native"  # no GPU is asked for, so triton is no loss
        with pytest.raises(RunError, match="native cannot run here \\(not fp32\\)"):
            operator.choose(Request("cpu", torch.float64))


def test_the_environment_wishes(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_KERNELS", "made-up=reference,auto")
    assert operator(CPU) == "reference"
    monkeypatch.setenv("NEURO_KERNELS", "made-up=auto, reference")
    assert operator(CPU) == "native"
    monkeypatch.setenv("NEURO_KERNELS", "made-up=")
    with pytest.raises(InputError, match="operator=implementation"):
        operator.choose(CPU)
    monkeypatch.setenv("NEURO_KERNELS", "auto")
    monkeypatch.setenv("NEURO_KERNELS_STRICT", "1")
    with pytest.raises(RunError):
        operator.choose(Request("cpu", torch.float64))


def test_a_choice_is_told_once(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "neuro.kernels"):
        for _ in range(3):
            operator.choose(CPU)
            operator.choose(Request("cpu", torch.float64))
    assert [(record.levelname, record.args[3]) for record in caplog.records] == [
        ("INFO", "native"),
        ("WARNING", "reference"),
    ]
    assert "not fp32" in caplog.text


def test_explain_lists_every_operator() -> None:
    rows = list(explain())
    assert {name for name, *_ in rows} == set(dispatch.OPERATORS)
    assert ("lif", "reference", "cpu", "") in rows


def test_lif_without_a_compiler_is_fused_and_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(4, 50) * 2
    s, v = lif.multi_step(x, None, FireReset(), 2.0, True)
    monkeypatch.setattr(native, "why_not", lambda: "no C compiler was found")
    with using(strict=True), pytest.raises(RunError, match="no C compiler was found"):
        lif.multi_step(x, None, FireReset(), 2.0, True)
    found = lif.multi_step(x, None, FireReset(), 2.0, True)
    assert torch.equal(found[0], s)
    assert torch.equal(found[1], v)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.25])
def test_lif_fused_equals_the_reference(v_reset: float | None, detach: bool) -> None:
    p, found = FireReset(1.0, v_reset, detach_reset=detach), {}
    for name in ("fused", "reference"):
        x = (torch.rand(4, 50, generator=torch.Generator().manual_seed(1)) * 2).requires_grad_()
        with using(name):
            s, v = lif.multi_step(x, None, p, 3.0, True)
        found[name] = s, v, torch.autograd.grad(s.cumsum(1).sum(), x)[0]
    assert torch.equal(found["fused"][0], found["reference"][0])
    assert torch.equal(found["fused"][1], found["reference"][1])
    torch.testing.assert_close(found["fused"][2], found["reference"][2], rtol=1e-6, atol=1e-5)
