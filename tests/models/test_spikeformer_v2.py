"""Meta-SpikeFormer: published sizes, the layer table written again, merging, stochastic depth, time."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from neuro.models import architecture, create_model, merge_model, model_names
from neuro.models.neurons import neuron_factory
from neuro.models.reparameterize import RepConvBN
from neuro.models.spikeformer_v2 import ConvBlock, DropPath, TransformerBlock
from neuro.neurons import LIF, SpikingNeuron

LIF_FACTORY = neuron_factory("lif")


def _model(variant: str = "tiny", neuron: str = "lif", timesteps: int = 4, attention: str | None = None, **config):
    torch.manual_seed(5)
    return create_model(
        "spikeformer_v2",
        variant,
        make_neuron=neuron_factory(neuron),
        timesteps=timesteps,
        attention=attention,
        overrides=config,
    )


def _enliven(model: nn.Module) -> nn.Module:
    """Random BatchNorm parameters and statistics with which every layer fires."""
    generator = torch.Generator().manual_seed(11)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            with torch.no_grad():
                m.weight.uniform_(0.8, 2.0, generator=generator)
                m.bias.uniform_(-0.2, 1.2, generator=generator)
                m.running_mean.uniform_(-0.3, 0.3, generator=generator)
                m.running_var.uniform_(0.05, 0.6, generator=generator)
    return model


def _settle(model: nn.Module) -> nn.Module:
    """Gather BatchNorm statistics in training; a ReLU network with random ones overflows."""
    model.train()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.7
    with torch.no_grad():
        for seed in range(8):
            model(_images(8, seed=seed).to(next(model.parameters())))
    return model.eval()


def _images(batch: int = 4, size: int = 16, channels: int = 1, seed: int = 2) -> Tensor:
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


def _firing_rates(model: nn.Module, x: Tensor) -> list[float]:
    rates: list[float] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: rates.append((out != 0).double().mean().item()))
        for m in model.modules()
        if isinstance(m, SpikingNeuron)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return rates


# --- published sizes, measured on the published code ---

PARAMETERS = {"8m": 8_033_128, "15m": 15_112_208, "31m": 31_333_864, "55m": 55_350_248}
# Multiply-accumulates of one timestep at 224x224 in convolutions and linear layers, in 1e9, digits as known.
MACS = {"8m": "3.545", "15m": "6.441", "31m": "13.951", "55m": "24.699"}
MACS_REPCONV_MERGED = {"15m": "10.01", "31m": "21.31", "55m": "37.80"}
MACS_ALL_MERGED = {"15m": "14.86", "31m": "32.29", "55m": "57.37"}
MACS_STEM = {"15m": "0.0590", "31m": "0.0885", "55m": "0.118"}


def _meta_model(variant: str) -> nn.Module:
    with torch.device("meta"):
        return _model(variant, timesteps=1).eval()


def _macs(model: nn.Module, per_module: str = "Global") -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    counts = counter.get_flop_counts()[per_module]
    attention = {torch.ops.aten.bmm, torch.ops.aten.baddbmm}
    return sum(flops for op, flops in counts.items() if op not in attention) / 2 / 1e9


def _as_published(macs: float, published: str) -> str:
    return f"{macs:.{len(published.split('.')[1])}f}"


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameter_count(variant: str) -> None:
    model = _meta_model(variant)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[variant]
    assert architecture("spikeformer_v2").variant(variant).published["parameters"] == PARAMETERS[variant]


@pytest.mark.parametrize("variant", MACS)
def test_macs_as_trained(variant: str) -> None:
    model = _meta_model(variant)
    assert _as_published(_macs(model), MACS[variant]) == MACS[variant]
    figure = architecture("spikeformer_v2").variant(variant).published["macs_per_timestep"]
    assert figure == float(MACS[variant]) * 1e9
    if variant in MACS_STEM:
        stem = _macs(model, f"{type(model).__name__}.stem")
        assert _as_published(stem, MACS_STEM[variant]) == MACS_STEM[variant]


@pytest.mark.parametrize("variant", MACS_REPCONV_MERGED)
def test_macs_with_repconv_merged(variant: str) -> None:
    model = _meta_model(variant)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, RepConvBN):
                setattr(parent, name, child.merged())
    assert _as_published(_macs(model), MACS_REPCONV_MERGED[variant]) == MACS_REPCONV_MERGED[variant]


@pytest.mark.parametrize("variant", MACS_ALL_MERGED)
def test_macs_with_everything_merged(variant: str) -> None:
    merged = merge_model("spikeformer_v2", _meta_model(variant))
    assert _as_published(_macs(merged), MACS_ALL_MERGED[variant]) == MACS_ALL_MERGED[variant]


def test_merged_model_is_convolutions_neurons_and_one_linear_layer() -> None:
    merged = merge_model("spikeformer_v2", _model())
    leaves = {type(m) for m in merged.modules() if not list(m.children())}
    assert leaves == {nn.Conv2d, nn.Linear, LIF, DropPath, nn.Identity}


# --- the layer table, written a second time as plain functions on the same weights ---


class _LayerTable:
    """Meta-SpikeFormer from its table, one frame list at a time; no module of the package is used."""

    def __init__(self, weights: dict[str, Tensor], heads: int = 8) -> None:
        self.w, self.heads = weights, heads

    def __call__(self, frames: list[Tensor], depths: tuple[int, int], strides: tuple[int, ...]) -> Tensor:
        x = [self.conv_bn(f, "stem.conv", strides[0]) for f in frames]
        x = self.conv_block(x, "stem_blocks.0")
        x = [self.conv_bn(f, "down1.conv", strides[1]) for f in self.lif(x)]
        x = self.conv_block(x, "stage1.0")
        x = [self.conv_bn(f, "down2.conv", strides[2]) for f in self.lif(x)]
        x = self.conv_block(self.conv_block(x, "stage2.0"), "stage2.1")
        x = [self.conv_bn(f, "down3.conv", strides[3]) for f in self.lif(x)]
        for i in range(depths[0]):
            x = self.transformer_block(x, f"stage3.{i}")
        x = [self.conv_bn(f, "down4.conv", 1) for f in self.lif(x)]
        for i in range(depths[1]):
            x = self.transformer_block(x, f"stage4.{i}")
        spikes = self.lif([f.mean((2, 3)) for f in x])
        return torch.stack([s @ self.w["head.weight"].T + self.w["head.bias"] for s in spikes]).mean(0)

    @staticmethod
    def lif(frames: list[Tensor], threshold: float = 1.0) -> list[Tensor]:
        v, out = torch.zeros_like(frames[0]), []
        for current in frames:
            v = v + (current - v) / 2.0
            spike = (v >= threshold).to(v)
            v = torch.where(spike.bool(), torch.zeros_like(v), v)
            out.append(spike)
        return out

    def bn(self, x: Tensor, name: str) -> Tensor:
        mean, var, gain, bias = (
            self.w[f"{name}.{k}"].view(1, -1, 1, 1) for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + bias

    def conv_bn(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.w[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, self.w.get(f"{name}.conv.bias"), stride, weight.shape[-1] // 2)
        return self.bn(x, f"{name}.bn")

    def conv_block(self, x: list[Tensor], name: str) -> list[Tensor]:
        y = [self.conv_bn(f, f"{name}.sep_conv.expand") for f in self.lif(x)]
        depthwise = self.w[f"{name}.sep_conv.separable.depthwise.weight"]
        y = [F.conv2d(f, depthwise, padding=depthwise.shape[-1] // 2, groups=len(depthwise)) for f in self.lif(y)]
        y = [F.conv2d(f, self.w[f"{name}.sep_conv.separable.pointwise.weight"]) for f in y]
        x = [a + self.bn(b, f"{name}.sep_conv.separable.bn") for a, b in zip(x, y, strict=True)]
        y = [self.conv_bn(f, f"{name}.channel_conv.expand") for f in self.lif(x)]
        y = [self.conv_bn(f, f"{name}.channel_conv.project") for f in self.lif(y)]
        return [a + b for a, b in zip(x, y, strict=True)]

    def repconv(self, x: Tensor, name: str) -> Tensor:
        x = self.bn(F.conv2d(x, self.w[f"{name}.expand.weight"]), f"{name}.bn_expand")
        padded = self.bn(torch.zeros(len(x), x.shape[1], x.shape[2] + 2, x.shape[3] + 2).to(x), f"{name}.bn_expand")
        padded[:, :, 1:-1, 1:-1] = x
        x = F.conv2d(padded, self.w[f"{name}.depthwise.weight"], groups=x.shape[1])
        x = self.bn(F.conv2d(x, self.w[f"{name}.pointwise.weight"]), f"{name}.bn_pointwise")
        return self.bn(x, f"{name}.bn")

    def transformer_block(self, x: list[Tensor], name: str) -> list[Tensor]:
        spikes = self.lif(x)
        q, k, v = (self.lif([self.repconv(s, f"{name}.attention.{part}") for s in spikes]) for part in "qkv")
        currents = []
        for q_t, k_t, v_t in zip(q, k, v, strict=True):
            batch, channels, height, width = q_t.shape
            q_t, k_t, v_t = (s.view(batch, self.heads, -1, height * width) for s in (q_t, k_t, v_t))
            product = torch.einsum("bhcn,bhdm,bhcm->bhdn", q_t, v_t, k_t)
            currents.append((0.125 * product).reshape(batch, channels, height, width))
        y = [self.repconv(s, f"{name}.attention.project") for s in self.lif(currents, 0.5)]
        x = [a + b for a, b in zip(x, y, strict=True)]
        y = [self.conv_bn(s, f"{name}.mlp.expand") for s in self.lif(x)]
        y = [self.conv_bn(s, f"{name}.mlp.project") for s in self.lif(y)]
        return [a + b for a, b in zip(x, y, strict=True)]


@pytest.mark.parametrize(("timesteps", "size"), [(1, 16), (4, 16), (3, 21)])
def test_equals_the_layer_table(timesteps: int, size: int) -> None:
    model = _enliven(_model(timesteps=timesteps)).double().eval()
    x = _images(size=size).double()
    table = _LayerTable(model.state_dict())
    with torch.no_grad():
        expected = table([x] * timesteps, model.config.depths, model.config.strides)
        logits = model(x)
    rates = _firing_rates(model, x)
    # 4 in each of 4 ConvBlocks, 7 in a transformer block, 1 before each of 4 stages and the head.
    assert len(rates) == 4 * 4 + 7 * sum(model.config.depths) + 5
    assert min(rates) > 0
    assert logits.std() > 0.01
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=0)


def test_equals_the_layer_table_on_moving_images() -> None:
    model = _enliven(_model()).double().eval()
    frames = torch.rand(3, 2, 1, 16, 16, generator=torch.Generator().manual_seed(9)).double()
    with torch.no_grad():
        expected = _LayerTable(model.state_dict())(list(frames), model.config.depths, model.config.strides)
        torch.testing.assert_close(model(frames), expected, atol=1e-12, rtol=0)


def test_published_variant_equals_the_layer_table() -> None:
    model = _enliven(_model("8m", timesteps=1, num_classes=7)).double().eval()
    x = _images(1, 64, 3).double()
    with torch.no_grad():
        expected = _LayerTable(model.state_dict())([x], (6, 2), (2, 2, 2, 2))
        torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)


# --- merging ---


@pytest.mark.parametrize("attention", ["sdsa1", "sdsa3", "sdsa4"])
@pytest.mark.parametrize("neuron", ["lif", "if", "plif", "ilif", "relu"])
def test_merged_logits_in_double(neuron: str, attention: str) -> None:
    model = _enliven(_model(neuron=neuron, attention=attention)).double().eval()
    if neuron in ("relu", "ilif"):
        model = _settle(model)
    x = _images().double()
    before = copy.deepcopy(model.state_dict())
    merged = merge_model("spikeformer_v2", model)
    with torch.no_grad():
        logits = model(x)
        torch.testing.assert_close(merged(x), logits, atol=1e-10, rtol=0)
    assert 0.01 < logits.std() < 100
    assert not any(isinstance(m, nn.BatchNorm2d) for m in merged.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not merged.training


def test_merged_logits_in_single_precision() -> None:
    # Without thresholds: rounding only.
    model = _settle(_enliven(_model(neuron="relu")))
    with torch.no_grad():
        logits = model(_images())
        error = (merge_model("spikeformer_v2", model)(_images()) - logits).abs().max() / logits.abs().max()
    assert error <= 1e-5
    # With thresholds a rounding error may flip a spike; of some 100,000 here, next to none may.
    model = _enliven(_model()).eval()
    merged = merge_model("spikeformer_v2", model)
    rates = torch.tensor([_firing_rates(m, _images(16)) for m in (model, merged)])
    assert (rates[0] - rates[1]).abs().max() < 1e-3
    with torch.no_grad():
        logits, of_merged = model(_images(16)), merged(_images(16))
    assert ((logits - of_merged).abs() < 1e-5).all(1).double().mean() > 0.8


@pytest.mark.slow
def test_merged_logits_of_a_published_variant_on_a_photograph() -> None:
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1).double()[None] / 255
    model = _enliven(_model("15m", timesteps=2)).double().eval()
    x = photo[..., 100:324, 200:424]
    with torch.no_grad():
        logits = model(x)
        torch.testing.assert_close(merge_model("spikeformer_v2", model)(x), logits, atol=1e-10, rtol=0)
    assert logits.std() > 0.01


def test_merging_a_model_in_training_takes_its_inference_form() -> None:
    model = _enliven(_model()).double()
    model.train()
    merged = merge_model("spikeformer_v2", model)
    assert model.training
    with torch.no_grad():
        torch.testing.assert_close(merged(_images().double()), model.eval()(_images().double()), atol=1e-9, rtol=0)


# --- time ---


@pytest.mark.parametrize("training", [False, True])
def test_static_images_are_presented_at_every_timestep(training: bool) -> None:
    model = _enliven(_model(timesteps=3)).train(training)
    x = _images()
    twin, other = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        logits = model(x)
        assert torch.equal(logits, twin(x.unsqueeze(0).expand(3, -1, -1, -1, -1)))
        assert not torch.equal(logits, other(x.expand(1, -1, -1, -1, -1)))  # T is that of the input


def test_logits_are_the_mean_over_time_and_passes_do_not_influence_each_other() -> None:
    model = _enliven(_model()).eval()
    x = _images()
    with torch.no_grad():
        steps = model.forward_steps(x)
        assert steps.shape == (4, 4, 10)
        torch.testing.assert_close(model(x), steps.mean(0))
        model(_images(2, 20))
        assert torch.equal(steps, model.forward_steps(x))
        assert not torch.equal(steps[0], steps[3])


def test_the_future_does_not_reach_the_past() -> None:
    model = _enliven(_model()).eval()
    frames = torch.rand(4, 2, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    other = frames.clone()
    other[2:] = 0
    with torch.no_grad():
        a, b = model.forward_steps(frames), model.forward_steps(other)
    assert torch.equal(a[:2], b[:2])
    assert not torch.equal(a[2:], b[2:])


# --- shortcuts and stochastic depth ---


def _hooked(block: nn.Module, names: list[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    inputs, outputs = {}, {}
    for name in names:

        def keep(_m: nn.Module, i: tuple[Tensor], o: Tensor, name: str = name) -> None:
            inputs[name], outputs[name] = i[0], o

        block.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        return block(x), inputs, outputs


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (lambda: TransformerBlock(16, 4, "sdsa3", LIF_FACTORY, 0.0), "attention", "mlp"),
        (lambda: ConvBlock(16, 3, LIF_FACTORY), "sep_conv", "channel_conv"),
    ],
    ids=["transformer", "convolution"],
)
def test_shortcuts_add_membrane_potentials(make: Callable[[], nn.Module], first: str, second: str) -> None:
    torch.manual_seed(0)
    block = _enliven(make())
    x = torch.randn(2, 3, 16, 5, 5) * 2
    y, inputs, outputs = _hooked(block, [first, second], x)
    assert torch.equal(inputs[first], x)  # the neuron stands in the branch, the shortcut goes around it
    assert torch.equal(inputs[second], x + outputs[first])
    assert torch.equal(y, x + outputs[first] + outputs[second])
    assert all(len(o.unique()) > 2 for o in outputs.values())  # potentials, not spikes
    assert isinstance(next(m for m in block.modules() if not list(m.children())), SpikingNeuron)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.3)
    x = torch.rand(3, 4000, 2, 5) + 0.5
    ratio = drop(x) / x
    per_sample = ratio.transpose(0, 1).flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1)) or (per_sample.std(1) < 1e-6).all()
    kept = per_sample[:, 0] > 0
    torch.testing.assert_close(per_sample[kept], torch.full_like(per_sample[kept], 1 / 0.7))
    assert 0.7 - 0.03 < kept.double().mean() < 0.7 + 0.03  # four standard deviations
    assert ratio.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(DropPath(0.0)(x), x)


def test_drop_path_skips_branches_of_a_block_in_training_only() -> None:
    torch.manual_seed(0)
    block = _enliven(TransformerBlock(16, 4, "sdsa3", LIF_FACTORY, 0.5))
    x = torch.randn(2, 200, 16, 3, 3) * 2

    def untouched() -> float:
        with torch.no_grad():
            return (block(x) == x).transpose(0, 1).flatten(1).all(1).double().mean().item()

    # Attention and MLP are dropped independently, so a quarter of the samples passes through unchanged.
    assert 0.25 - 0.12 < untouched() < 0.25 + 0.12
    block.eval()
    assert untouched() == 0


def test_drop_path_grows_linearly_with_depth() -> None:
    def rates(**config: object) -> list[float]:
        return [m.probability for m in _model("8m", **config).modules() if isinstance(m, DropPath)]

    with torch.device("meta"):
        assert rates(drop_path=0.7) == pytest.approx([0.1 * i for i in range(8)])
        assert rates() == [0.0] * 8
        assert rates(depths=[1, 0], drop_path=0.5) == [0.0]


def test_drop_path_acts_in_training_and_not_in_evaluation() -> None:
    x = _images()

    def twice(model: nn.Module) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return copy.deepcopy(model)(x), copy.deepcopy(model)(x)

    dropping = _enliven(_model(drop_path=0.6, depths=[3, 2]))
    never = _enliven(_model(drop_path=0.0, depths=[3, 2]))
    assert torch.equal(*twice(never.train()))
    assert not torch.equal(*twice(dropping.train()))
    assert torch.equal(*twice(dropping.eval()))


def test_every_parameter_learns() -> None:
    model = _enliven(_model(attention="sdsa4"))
    model(_images(8)).square().sum().backward()
    # What only shifts or scales a channel right before a BatchNorm has no effect in training; all else has.
    idle = ("conv.bias", "bn_pointwise.weight", "bn_pointwise.bias")
    for name, parameter in model.named_parameters():
        if not name.endswith(idle):
            assert parameter.grad.abs().max() > 1e-6, name


def test_registry_knows_the_model() -> None:
    assert "spikeformer_v2" in model_names()
    assert set(architecture("spikeformer_v2").variants) == {"tiny", "0.4m", "5m", "8m", "15m", "31m", "55m"}
    assert architecture("spikeformer_v2").default_attention == "sdsa3"
