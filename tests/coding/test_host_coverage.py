"""Networks of timm and transformers, small ones: the spiking network is what the library's own network returns."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuro.coding.calibrate import calibrate
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.sources import load_source
from neuro.sources.companions import import_transformers
from quant.capture import capture

NEEDS = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("timm", "transformers")
}


def enliven(model: nn.Module) -> nn.Module:
    """Give weights that start at zero, and with them branches that are muted, small random values."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            if float(one.abs().max()) < 0.01:
                one.copy_(0.1 * torch.randn(one.shape, generator=generator))
    return model


def holds(model: nn.Module, inputs: tuple[Tensor, ...], wanted: Tensor) -> None:
    captured = capture(model, inputs)
    ideal = to_spiking(captured, Scheme(spikes="ideal"), 3, piece=3)
    spiking = to_spiking(captured, Scheme(levels=14), 8, piece=4)
    calibrate(spiking, [inputs])
    with torch.no_grad():
        errors = [
            [float((one - wanted).norm() / wanted.norm()) for piece in network.over_time(*inputs) for one in piece]
            for network in (ideal, spiking)
        ]
    assert max(errors[0]) < 1e-4
    assert errors[1][7] < 0.01
    assert errors[1][7] < errors[1][3] < errors[1][1]


@NEEDS["timm"]
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_nfnet"])
def test_timm(name: str) -> None:
    source = load_source(f"timm:{name}", input_size=64)
    assert isinstance(source.model, nn.Module)
    model = enliven(source.model)
    with torch.no_grad():
        wanted = model(*source.example)
    holds(model, source.example, wanted)


SMALL: dict[str, dict[str, Any]] = {
    "ViTForImageClassification": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "image_size": 16,
        "patch_size": 8,
    },
    "SwinForImageClassification": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "window_size": 4,
    },
    "PoolFormerForImageClassification": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "BertModel": {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    },
    "GPT2Model": {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "use_cache": False},
}


@NEEDS["transformers"]
@pytest.mark.parametrize("name", SMALL)
def test_transformers(name: str) -> None:
    kind = getattr(import_transformers(), name)
    torch.manual_seed(0)
    model = enliven(kind(kind.config_class(**SMALL[name])).eval())
    if model.main_input_name == "pixel_values":
        side = SMALL[name].get("image_size", 32)
        inputs: tuple[Tensor, ...] = (torch.randn(2, 3, side, side),)
    else:
        inputs = (torch.randint(1, 30, (2, 6)),)
    with torch.no_grad():
        wanted = model(*inputs)[0]
    holds(model, inputs, wanted)


@NEEDS["transformers"]
def test_tokens_that_are_padding_count_for_nothing() -> None:
    kind = import_transformers().BertModel
    torch.manual_seed(0)
    model = kind(kind.config_class(**SMALL["BertModel"])).eval()
    tokens = torch.randint(1, 30, (2, 6))
    inputs = {"input_ids": tokens, "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])}
    captured = capture(model, inputs)
    network = to_spiking(captured, Scheme(spikes="ideal"), 2)
    with torch.no_grad():
        wanted = model(**inputs).last_hidden_state
        other = {**inputs, "input_ids": torch.cat([tokens[:, :4], tokens[:, 4:] % 7], 1)}
        changed = network(*other.values())
        assert torch.allclose(network(*inputs.values()), wanted, atol=1e-5)
    assert torch.allclose(changed[0, :4], wanted[0, :4], atol=1e-5)
    assert not torch.allclose(changed[1, :4], wanted[1, :4], atol=1e-5)
