"""The fast form of a model: what it computes, what it folds, and when oneDNN's layout has no place."""

from __future__ import annotations

import copy
import io
import logging

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neuro.kernels import native
from neuro.models import create_model, for_inference, merge_model
from neuro.models import norm_neuron as norm_neuron_module
from neuro.models.inference import LaidOutConv2d
from neuro.models.neurons import neuron_factory
from neuro.models.norm_neuron import normalized
from neuro.models.reparameterize import ConvBN, RepConvBN, SeparableConvBN
from neuro.neurons import LIF, PLIF

PIECES = {
    "repconv": lambda: RepConvBN(12),
    "sepconv-7x7": lambda: SeparableConvBN(12, 20),
    "conv-1x1": lambda: ConvBN(12, 20),
    "conv-3x3-stride-bias": lambda: ConvBN(12, 20, 3, stride=2, bias=True),
}


def _randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.uniform_(0.8, 2.0, generator=generator)
                m.bias.uniform_(-0.2, 1.2, generator=generator)
                m.running_mean.uniform_(-0.3, 0.3, generator=generator)
                m.running_var.uniform_(0.05, 0.6, generator=generator)
    return module.eval()


def _model(neuron: str = "lif", **settings: object) -> nn.Module:
    torch.manual_seed(5)
    return _randomised(create_model("spikeformer_v2", "tiny", make_neuron=neuron_factory(neuron), **settings))


def _images(batch: int = 4, size: int = 16) -> Tensor:
    return torch.rand(batch, 1, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", [1, 2, 9])
@pytest.mark.parametrize("name", PIECES)
def test_folded_equals_pieces_border_included(name: str, size: int) -> None:
    module = _randomised(PIECES[name]())
    x = torch.randn(3, 12, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(x)
        assert (module.folded()(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
        module.double()
        expected = module(x.double())
        assert (module.folded()(x.double()) - expected).abs().max() <= 1e-13 * expected.abs().max()


@pytest.mark.parametrize("attention", ["sdsa1", "sdsa3", "sdsa4"])
@pytest.mark.parametrize("neuron", ["lif", "if", "plif"])
def test_logits_in_double(neuron: str, attention: str) -> None:
    model = _model(neuron, attention=attention).double()
    before = copy.deepcopy(model.state_dict())
    form = for_inference(model)
    with torch.no_grad():
        logits = model(_images().double())
        torch.testing.assert_close(form(_images().double()), logits, atol=1e-10, rtol=0)
    assert logits.std() > 0.01
    assert not any(isinstance(m, nn.BatchNorm2d) for m in form.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def _spikes(model: nn.Module, x: Tensor) -> list[Tensor]:
    kept: list[Tensor] = []
    neurons = [m for m in model.modules() if isinstance(m, LIF)]
    hooks = [m.register_forward_hook(lambda _m, _i, out: kept.append(out.contiguous())) for m in neurons]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return kept


def test_in_single_precision_next_to_no_spike_flips() -> None:
    model = _model()
    form = for_inference(model)
    ours, theirs = _spikes(form, _images(16)), _spikes(model, _images(16))
    flipped = sum((a != b).sum().item() for a, b in zip(ours, theirs, strict=True))
    assert flipped < 1e-3 * sum(a.numel() for a in ours)
    assert sum(a.sum().item() for a in ours) > 0.05 * sum(a.numel() for a in ours)
    # Unwatched, in oneDNN's layout and in fused kernels, the same network runs.
    with torch.no_grad():
        assert ((form(_images(16)) - model(_images(16))).abs() < 1e-5).all(1).double().mean() > 0.8


def test_the_number_of_operations_stays() -> None:
    model = _model()

    def flops(net: nn.Module) -> int:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            net(_images())
        return counter.get_total_flops()

    # RepConv's first 1x1 convolves before the border is put around, the rest has the same shapes.
    assert flops(for_inference(model)) == flops(model)
    assert flops(merge_model("spikeformer_v2", model)) > flops(model)


def test_a_batchnorm_without_statistics_is_refused() -> None:
    module = nn.Sequential(ConvBN(3, 4))
    module[0].bn = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(TypeError, match="without running statistics"):
        for_inference(module)


# --- weights in oneDNN's layout ---


def _conv(**settings: object) -> tuple[nn.Conv2d, LaidOutConv2d]:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, 3, padding=1, **settings).requires_grad_(False)  # type: ignore[arg-type]
    return conv, LaidOutConv2d(copy.deepcopy(conv))


def _close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 16, 8, 8), (1, 16, 5, 7), (0, 16, 8, 8), (16, 8, 8)])
@pytest.mark.parametrize("groups", [1, 4, 16])
def test_a_laid_out_convolution_is_the_convolution(groups: int, shape: tuple[int, ...]) -> None:
    conv, ours = _conv(groups=groups, bias=groups > 1)
    x = torch.randn(shape)
    with torch.no_grad():
        for given in (x, x.transpose(-1, -2)):
            _close(ours(given), conv(given))


def test_new_weights_are_laid_out_anew() -> None:
    conv, ours = _conv()
    x = torch.randn(2, 16, 8, 8)
    ours(x)
    for module in (conv, ours):
        module.weight.mul_(2)
    _close(ours(x), conv(x))
    state = {"weight": torch.ones_like(conv.weight), "bias": torch.zeros(32)}
    for module in (conv, ours):
        module.load_state_dict(state)
    _close(ours(x), conv(x))
    _close(ours.double()(x.double()), conv.double()(x.double()))


def test_a_copy_and_a_file_hold_what_users_see() -> None:
    _, ours = _conv()
    x = torch.randn(2, 16, 8, 8)
    expected = ours(x)
    assert torch.equal(copy.deepcopy(ours)(x), expected)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    assert set(ours.state_dict()) == {"weight", "bias"}


def test_gradients_reach_the_input() -> None:
    conv, ours = _conv()
    x = torch.randn(2, 16, 8, 8, requires_grad=True)
    (of_ours,) = torch.autograd.grad(ours(x).sum(), x)
    (expected,) = torch.autograd.grad(conv(x).sum(), x)
    _close(of_ours, expected)


@pytest.mark.skipif(bool(native.why_not()), reason="the neuron without a compiler writes into channels-last views")
def test_a_compiled_form_has_no_graph_break() -> None:
    form = for_inference(_model(timesteps=1))
    compiled = torch.compile(form, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert compiled(_images()).shape == (4, 10)


# --- what stands against one pass behind a convolution is said ---


def test_modules_that_no_kernel_replaces_are_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norm_neuron_module, "_told", set())
    layer = _randomised(ConvBN(3, 4))
    averaged = copy.deepcopy(layer)
    averaged.bn.momentum = None
    x = torch.randn(2, 1, 3, 5, 5)
    with caplog.at_level(logging.INFO, "neuro.kernels"), torch.no_grad():
        for _ in range(2):
            normalized(layer, PLIF(), x)
            normalized(averaged, LIF(), x)
            normalized(layer, LIF(), x)
    said = [r.message for r in caplog.records if "one by one" in r.message]
    assert len(said) == 2
    assert "neuron PLIF" in said[0]
    assert "momentum None" in said[1]
