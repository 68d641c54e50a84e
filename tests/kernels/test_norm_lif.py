"""norm_lif: bits of the modules where statistics are given, gradients of double precision, torch's promises."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.dispatch import using
from neuro.kernels.lif import IntegerNeuron, Neuron
from neuro.kernels.norm_lif import Norm, Output, norm_lif, update_running
from neuro.models import create_model
from neuro.models.neurons import neuron_factory
from neuro.models.norm_neuron import normalized, shortcut
from neuro.models.reparameterize import ConvBN
from neuro.neurons import IF, LIF, FireReset, surrogate

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())

LIF2 = Neuron(FireReset(), tau=2.0, decay_input=True)
NEURONS: dict[str, Neuron | IntegerNeuron] = {
    "lif": LIF2,
    "if": Neuron(FireReset(1.0, -0.25), leak=False),
    "soft": Neuron(FireReset(0.5, None, surrogate("atan")), tau=3.0),
    "through-reset": Neuron(FireReset(1.0, 0.5, surrogate("sigmoid"), detach_reset=False), tau=3.0, decay_input=True),
    "integer": IntegerNeuron(4, 4 / 3, divisor=4.0),
}
SHAPES = [(4, 3, 5, 7, 9), (1, 2, 3, 1, 2), (2, 2, 300, 3, 5), (4, 2, 6), (16, 1, 8, 4, 4), (2, 1, 3, 50, 50)]
each_neuron = pytest.mark.parametrize("neuron", NEURONS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_layout = pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)


class Case(NamedTuple):
    x: Tensor
    residual: Tensor
    grad_s: Tensor
    grad_h: Tensor
    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor


def case(shape: tuple[int, ...], last: bool = False, dtype: torch.dtype = torch.float32, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    channels = shape[2]

    def tensor() -> Tensor:
        t = torch.randn(shape, generator=generator).mul(2).add(1).to(dtype)
        return t.movedim(2, -1).contiguous().movedim(-1, 2) if last else t

    numbers = torch.rand(4, channels, generator=generator)
    return Case(tensor(), tensor(), tensor(), tensor(), numbers[0] + 1, *(numbers[1:3] - 0.5), numbers[3] + 0.5)


def gradients(
    how: str, c: Case, norm: str, neuron: Neuron | IntegerNeuron, with_residual: bool, keep: bool, dtype: torch.dtype
) -> tuple[Output, list[Tensor]]:
    """Outputs and the gradients of x, shortcut, weight and bias, computed in `dtype`."""
    leaves = [t.to(dtype).requires_grad_() for t in (c.x.detach(), c.residual.detach(), c.weight, c.bias)]
    x, residual, weight, bias = leaves
    statistics = (c.mean.to(dtype), c.var.to(dtype)) if norm == "given" else (None, None)
    given_norm = None if norm == "none" else Norm(weight, bias, *statistics)
    with using(how):
        found = norm_lif(x, given_norm, neuron, residual if with_residual else None, keep_sum=keep)
    loss = (found.s * c.grad_s.to(dtype)).sum()
    if found.h is not None:
        loss = loss + (found.h * c.grad_h.to(dtype)).sum()
    wanted = [t for t, used in zip(leaves, (True, with_residual, norm != "none", norm != "none"), strict=True) if used]
    return found, list(torch.autograd.grad(loss, wanted))


@each_neuron
@each_shape
@each_layout
@each_dtype
def test_given_statistics_give_the_bits_of_the_modules(
    neuron: str, shape: tuple[int, ...], last: bool, dtype: torch.dtype
) -> None:
    c = case(shape, last, dtype)
    for with_residual, normed in itertools.product((False, True), (False, True)):
        norm = Norm(c.weight, c.bias, c.mean, c.var) if normed else None
        found = {}
        for how in ("reference", "native"):
            with using(how, strict=True):
                found[how] = norm_lif(c.x, norm, NEURONS[neuron], c.residual if with_residual else None, keep_sum=True)
        ours, theirs = found["native"], found["reference"]
        assert torch.equal(ours.s, theirs.s)
        assert torch.equal(ours.h, theirs.h)
        assert torch.equal(ours.v, theirs.v)
        assert ours.s.dtype == dtype
        assert ours.s.stride() == c.x.stride()


@each_neuron
@each_shape
@each_layout
@pytest.mark.parametrize("norm", ["batch", "given", "none"])
def test_gradients_equal_those_in_double_precision(neuron: str, shape: tuple[int, ...], last: bool, norm: str) -> None:
    c = case(shape, last)
    for with_residual, keep in itertools.product((False, True), (False, True)):
        arguments = (c, norm, NEURONS[neuron], with_residual, keep)
        expected, exact = gradients("reference", *arguments, torch.float64)
        found, ours = gradients("native", *arguments, torch.float32)
        assert torch.equal(found.s.double(), expected.s), "a potential too near to the threshold: choose another seed"
        for a, b in zip(ours, exact, strict=True):
            tolerance = 1e-6 * max(1, shape[0] / 8)  # potentials add up over T
            # Of the largest, or of the incoming gradients, which are about 1, where a few values cancel.
            assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1)


@each_layout
def test_few_spikes_differ_where_statistics_are_those_of_the_batch(last: bool) -> None:
    c = case((4, 8, 64, 14, 14), last)
    with using("reference"):
        theirs = norm_lif(c.x, Norm(c.weight, c.bias, None, None), LIF2, c.residual)
    ours = norm_lif(c.x, Norm(c.weight, c.bias, None, None), LIF2, c.residual)
    assert int((ours.s != theirs.s).sum()) <= 1e-5 * ours.s.numel()
    assert torch.allclose(ours.mean, theirs.mean, rtol=1e-6, atol=1e-6)
    assert torch.allclose(ours.var, theirs.var, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", ["batch", "given"])
@each_layout
def test_half_precision_gradients(dtype: torch.dtype, norm: str, last: bool) -> None:
    """Within four roundings of the largest of those in single precision of the same numbers."""
    c = case((4, 3, 20, 5, 5), last, dtype)
    _, exact = gradients("native", c, norm, LIF2, True, False, torch.float32)
    leaves = [c.x.detach().requires_grad_(), c.residual.detach().requires_grad_()]
    statistics = (c.mean, c.var) if norm == "given" else (None, None)
    s = norm_lif(leaves[0], Norm(c.weight, c.bias, *statistics), LIF2, leaves[1]).s
    for a, b in zip(torch.autograd.grad(s, leaves, c.grad_s), exact, strict=False):
        close = (a.float() - b).abs() <= 4 * torch.finfo(dtype).eps * b.abs().max()
        assert close.float().mean() > 0.98  # the sum is rounded before the neuron: a few fire otherwise


def test_a_mean_far_from_zero_loses_nothing() -> None:
    x = torch.randn(4, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 1e4
    found = norm_lif(x, Norm(None, None, None, None), LIF2)
    exact = x.double().transpose(0, 2).flatten(1)
    assert torch.allclose(found.mean.double(), exact.mean(1), rtol=1e-7)
    assert torch.allclose(found.var.double(), exact.var(1, correction=0), rtol=1e-6)


def test_nan_and_infinity_go_where_the_modules_send_them() -> None:
    c = case((3, 2, 4, 3, 3))
    c.x[0, 0, 0, 0, 0], c.x[1, 1, 1, 1, 1], c.x[0, 1, 2, 2, 2] = torch.nan, torch.inf, -torch.inf
    norm = Norm(c.weight, c.bias, c.mean, c.var)
    with using("reference"):
        theirs = norm_lif(c.x, norm, LIF2, c.residual, keep_sum=True)
    ours = norm_lif(c.x, norm, LIF2, c.residual, keep_sum=True)
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


@each_layout
def test_an_infinite_last_potential_leaves_no_trace_in_the_gradients(last: bool) -> None:
    """Nothing follows the last reset, so that nothing comes back through it: not even zero times infinity."""
    c = case((3, 2, 4, 3, 3), last)
    c.residual[-1, 0, 1, 1, 1], c.residual[-1, 1, 2, 0, 2] = torch.inf, -torch.inf
    for norm in ("given", "none"):
        arguments = (c, norm, NEURONS["through-reset"], True, True)
        _, expected = gradients("reference", *arguments, torch.float64)
        _, ours = gradients("native", *arguments, torch.float32)
        for a, b in zip(ours, expected, strict=True):
            assert b.isfinite().all()
            assert torch.allclose(a.double(), b, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 33), st.integers(0, 3), st.integers(1, 70), st.integers(1, 30), st.integers(1, 9), st.booleans())
def test_any_shape(steps: int, batch: int, channels: int, height: int, width: int, last: bool) -> None:
    c = case((steps, batch, channels, height, width), last)
    norm = Norm(c.weight, c.bias, c.mean, c.var)
    with using("reference"):
        theirs = norm_lif(c.x, norm, LIF2, c.residual, keep_sum=True)
    ours = norm_lif(c.x, norm, LIF2, c.residual, keep_sum=True)
    assert torch.equal(ours.s, theirs.s)
    assert torch.equal(ours.h, theirs.h)
    assert torch.equal(ours.v, theirs.v)


def test_other_strides_and_a_given_potential() -> None:
    c = case((4, 3, 5, 6, 7))
    norm, v = Norm(c.weight, c.bias, c.mean, c.var), torch.rand(3, 5, 1, 1, requires_grad=True)
    plain = norm_lif(c.x, norm, LIF2, c.residual, v)
    turned = norm_lif(c.x.transpose(3, 4).contiguous().transpose(3, 4), norm, LIF2, c.residual, v)
    assert torch.equal(plain.s, turned.s)
    (ours,) = torch.autograd.grad(plain.s, v, c.grad_s)
    with using("reference"):
        (theirs,) = torch.autograd.grad(norm_lif(c.x, norm, LIF2, c.residual, v).s, v, c.grad_s)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_running_statistics_move_as_those_of_batchnorm() -> None:
    c = case((4, 3, 5, 7, 9))
    bn = nn.BatchNorm2d(5, momentum=0.3)
    mean, var = torch.zeros(5), torch.ones(5)
    for _ in range(3):
        bn(c.x.flatten(0, 1))
        update_running(mean, var, norm_lif(c.x, Norm(None, None, None, None), LIF2), 4 * 3 * 63, 0.3)
    assert torch.allclose(mean, bn.running_mean, rtol=1e-6, atol=1e-7)
    assert torch.allclose(var, bn.running_var, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(0, 1, 2)}, "T at least 1"),
        ({"residual": torch.ones(2, 2, 3, 5, 4)}, "residual"),
        ({"v": torch.ones(3, 3)}, "potential"),
        ({"norm": Norm(torch.ones(4), None, None, None)}, "weight"),
        ({"norm": Norm(None, None, torch.ones(3), None)}, "only one"),
        ({"x": torch.ones(1, 1, 3), "norm": Norm(None, None, None, None)}, "variance"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        norm_lif(**({"x": torch.ones(2, 2, 3, 4, 4), "norm": None, "neuron": LIF2} | change))


@pytest.mark.parametrize("norm", ["batch", "given", "none"])
def test_opcheck(norm: str) -> None:
    c = case((2, 2, 3, 2, 2))
    settings_of = LIF2.settings()
    weight, bias = (None, None) if norm == "none" else (c.weight.requires_grad_(), c.bias.requires_grad_())
    mean, rstd = (c.mean, c.var) if norm == "given" else (None, None)
    leaves = c.x.requires_grad_(), c.residual.requires_grad_()
    for keep in (False, True):
        arguments = (*leaves, None, weight, bias, mean, rstd, *settings_of, 1e-5, keep)
        torch.library.opcheck(torch.ops.neuro.norm_lif_forward.default, arguments)


def test_compile_has_no_graph_break_and_changes_nothing() -> None:
    torch.manual_seed(0)
    layer, neuron = ConvBN(3, 8, 3), LIF()
    x, residual = torch.randn(4, 2, 3, 6, 6), torch.randn(4, 2, 8, 6, 6)

    def run(x: Tensor, residual: Tensor) -> Tensor:
        s, h = shortcut(layer, neuron, x, residual)
        return s + h

    eager = run(x, residual)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")(x, residual)
    assert torch.allclose(eager, compiled, atol=1e-6)
    assert layer.bn.num_batches_tracked == 2


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_modules_run_one_by_one_while_watched() -> None:
    layer, neuron, x = ConvBN(3, 4).eval(), IF(), torch.randn(2, 1, 3, 4, 4)
    plain = normalized(layer, neuron, x)
    with _Counting() as counting:
        assert torch.equal(normalized(layer, neuron, x), plain)
    assert not any("norm_lif" in name for name in counting.names)
    seen: list[nn.Module] = []
    for module in (layer.bn, neuron):
        hook = module.register_forward_hook(lambda module, *_: seen.append(module))
        assert torch.equal(normalized(layer, neuron, x), plain)
        hook.remove()
    assert seen == [layer.bn, neuron]


@pytest.mark.parametrize("neuron", ["lif", "if", "plif", "ilif", "relu"])
@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
def test_a_model_computes_what_its_modules_compute(neuron: str, train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("spikeformer_v2", "tiny", make_neuron=neuron_factory(neuron), timesteps=2)
    images = torch.randn(2, model.config.in_channels, 16, 16)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    model.train(train)
    with torch.no_grad():
        fused = model(images)
        after = {key: value.clone() for key, value in model.state_dict().items()}
        potentials = [m.v for m in model.modules() if isinstance(m, IF)]
        model.load_state_dict(start)
        monkeypatch.setattr("neuro.models.norm_neuron.is_watched", lambda *_: True)
        monkeypatch.setattr("neuro.models.spikeformer_v2.is_watched", lambda *_: True)
        plain = model(images)
    if train:  # one spike in 1e5 may differ, and with it what follows
        first = "stem_blocks.0.sep_conv.expand.bn.running_var"
        assert torch.allclose(after[first], model.state_dict()[first], rtol=1e-5)
        assert after["stem.conv.bn.num_batches_tracked"] == model.state_dict()["stem.conv.bn.num_batches_tracked"]
        return
    assert torch.equal(fused, plain)
    for ours, m in zip(potentials, (m for m in model.modules() if isinstance(m, IF)), strict=True):
        assert torch.equal(ours, m.v)
