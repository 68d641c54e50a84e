"""Multiplications and additions of hashed networks against the formulas of EcoFormer's script and published figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from hardware_models.conventions import convention
from hardware_models.conventions.ecoformer import EcoFormer
from hardware_models.errors import InputError
from hardware_models.workload import Layer, Workload
from quant.capture import capture
from quant.hashing import Hashed, HashedAttention, hash_attention, hashing_workload
from quant.hashing.workload import hashed_layers, linear_layer

ECOFORMER = EcoFormer()


class Pyramid(NamedTuple):
    """PVTv2 (Wang et al., CVMJ 2022) as EcoFormer changes it: no spatial reduction."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...] = (1, 2, 5, 8)
    ratios: tuple[int, ...] = (8, 8, 4, 4)


B0 = Pyramid((32, 64, 160, 256), (2, 2, 2, 2))
WIDE = (64, 128, 320, 512)


def by_the_script(net: Pyramid, size: int, hashed: bool) -> tuple[int, int]:
    """The counts of pvt/get_energy.py, and of convolutions and linear layers, with formulas written anew."""
    multiplications = additions = 0
    channels, m, b = 3, 25, 16
    for stage, (width, depth, heads, ratio) in enumerate(
        zip(net.widths, net.depths, net.heads, net.ratios, strict=True)
    ):
        tokens = (size // (4 * 2**stage)) ** 2
        both = tokens * width * channels * (9 if stage else 49)
        channels, per_head = width, tokens * heads
        here = hashed and stage < 3
        both += depth * tokens * width * width * (3 if here else 4)  # projections; shared queries and keys
        both += depth * tokens * width * ratio * (2 * width + 9)  # the MLP and its depthwise convolution
        multiplications += both
        additions += both
        if here:
            multiplications += depth * per_head * (2 * m + m * b + b + 1) + depth * tokens * width
            additions += depth * tokens * width * (2 * m + 2 * b + 1) + depth * per_head * (m * b + 2 * b)
        else:
            multiplications += depth * tokens * tokens * (2 * width + heads)
            additions += depth * tokens * tokens * 2 * width
    head = net.widths[-1] * 1000
    return multiplications + head, additions + head


def timm_pvt() -> Any:
    companions = pytest.importorskip("neuro.sources.companions")
    try:
        timm = companions.import_timm()
    except ImportError:
        pytest.skip("timm is not installed")
    torch.manual_seed(0)
    return timm.create_model("pvt_v2_b0", sr_ratios=(1, 1, 1, 1)).eval()


def convert_and_count(size: int, samples: int = 1) -> tuple[Hashed, Workload]:
    model, x = timm_pvt(), torch.randn(samples, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = hash_attention(model, x, keep=["stages.3.*"], offset="own", iterations=0)
    return found, hashing_workload(found.network, x)


def test_pvt_v2_b0_of_timm_counts_as_the_script() -> None:
    found, workload = convert_and_count(64, samples=2)
    assert [one.became for one in found.record] == ["hashed"] * 6 + ["kept"] * 2
    assert ECOFORMER.operations(workload) == by_the_script(B0, 64, hashed=True)


@pytest.mark.slow
def test_pvt_v2_b0_of_timm_reaches_the_published_figures() -> None:
    _, workload = convert_and_count(224)
    multiplications, additions = ECOFORMER.operations(workload)
    assert multiplications == pytest.approx(0.530e9, abs=0.5e6)
    assert additions == pytest.approx(0.559e9, abs=0.5e6)
    energy = convention("ecoformer").estimate(workload).energy_j
    assert energy == pytest.approx(2.465e-3, abs=0.5e-6)
    assert 1 - energy / 9.228e-3 == pytest.approx(0.733, abs=0.0005)


@pytest.mark.slow
def test_softmax_attention_reaches_them_too() -> None:
    x = torch.randn(1, 3, 224, 224)
    parent = hashing_workload(capture(timm_pvt(), x).graph, x)
    assert ECOFORMER.operations(parent) == by_the_script(B0, 224, hashed=False)
    assert ECOFORMER.operations(parent) == pytest.approx((2.011e9, 1.988e9), abs=0.5e6)
    assert ECOFORMER.estimate(parent).energy_j == pytest.approx(9.228e-3, abs=0.5e-6)


def layers_of(net: Pyramid, hashed: bool) -> Workload:
    """The network at 224 from its shapes: hashed attention and scaling layer by layer, the rest in one line."""
    layers, scores = [], 0
    for stage, (width, depth, heads) in enumerate(zip(net.widths, net.depths, net.heads, strict=True)):
        tokens = (56 >> stage) ** 2
        if hashed and stage < 3:
            module = HashedAttention(heads, width // heads, offset="own")
            shape = torch.Size((1, heads, tokens, width // heads))
            for block in range(depth):
                layers += hashed_layers(f"{stage}.{block}", module, shape, None, shape)
        else:
            scores += depth * heads * tokens * tokens
    rest = by_the_script(net, 224, hashed)[1] - round(ECOFORMER.operations(workload_of(layers))[1])
    layers.append(linear_layer("rest", "linear", 1, 1, rest))
    layers.append(Layer(name="scale", operator="elementwise", op="mul", timesteps=1, out_elements=scores))
    return workload_of(layers)


def workload_of(layers: Iterable[Layer]) -> Workload:
    return Workload(name="pvt", timesteps=1, batch=1, layers=tuple(layers))


@pytest.mark.parametrize(
    ("net", "softmax", "hashed"),
    [
        (B0, 9.228, 2.465),
        (Pyramid(WIDE, (2, 2, 2, 2)), None, 9.34),
        (Pyramid(WIDE, (3, 4, 6, 3)), None, 17.74),
        (Pyramid(WIDE, (3, 4, 18, 3)), None, 30.14),
        (Pyramid(WIDE, (3, 8, 27, 3)), None, 44.10),
    ],
    ids=["b0", "b1", "b2", "b3", "b4"],
)
def test_published_energies(net: Pyramid, softmax: float | None, hashed: float) -> None:
    workload = layers_of(net, hashed=True)
    assert ECOFORMER.operations(workload) == by_the_script(net, 224, hashed=True)
    digits = 0.0005 if softmax else 0.005
    assert ECOFORMER.estimate(workload).energy_j * 1e3 == pytest.approx(hashed, abs=digits)
    if softmax:
        parent = ECOFORMER.estimate(layers_of(net, hashed=False))
        assert parent.energy_j * 1e3 == pytest.approx(softmax, abs=digits)


class TestHashedLayers:
    module = HashedAttention(2, 8, bits=4, anchors=5)

    def count(self, module: HashedAttention, queries: int, keys: int | None) -> tuple[float, float]:
        query, key = (torch.Size((1, 2, count, 8)) for count in (queries, keys or queries))
        return ECOFORMER.operations(workload_of(hashed_layers("a", module, query, key if keys else None, key)))

    def test_it_is_linear_in_the_tokens(self) -> None:
        one, ten = self.count(self.module, 30, None), self.count(self.module, 300, None)
        assert ten == (10 * one[0], 10 * one[1])

    def test_separate_keys_are_hashed_too(self) -> None:
        H, N, M, d, m, b = 2, 30, 7, 8, 5, 4
        multiplications = H * (N + M) * m * (2 + b) + H * N * (b + 1 + d)
        additions = H * (N + M) * m * (2 * d + b) + H * M * b * (1 + d) + H * N * b * (1 + d) + H * M * d + H * N * d
        assert self.count(self.module, N, M) == (multiplications, additions)

    def test_the_mean_of_all_values_takes_one_more_sum(self) -> None:
        own = HashedAttention(2, 8, bits=4, anchors=5, offset="own")
        (same, more), (also, less) = self.count(self.module, 30, None), self.count(own, 30, None)
        assert same == also
        assert more - less == 2 * 30 * 8

    def test_products_with_codes_are_additions_under_every_convention(self) -> None:
        shape = torch.Size((1, 2, 30, 8))
        layers = {layer.op: layer for layer in hashed_layers("a", self.module, shape, None, shape)}
        for op in ("hashing.context", "hashing.read"):
            assert layers[op].accumulate_only
            assert layers[op].acs == 2 * 30 * 4 * 8

    def test_each_operation_is_priced(self) -> None:
        shape = torch.Size((1, 2, 30, 8))
        layers = tuple(hashed_layers("a", self.module, shape, None, shape))
        estimate = ECOFORMER.estimate(workload_of(layers))
        assert [line.name for line in estimate.layers] == [layer.name for layer in layers]
        multiplications, additions = self.count(self.module, 30, None)
        assert estimate.energy_j == pytest.approx(multiplications * 3.7e-12 + additions * 0.9e-12)


def test_what_has_no_bounds_is_refused() -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(x)

    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(InputError, match=r"up: .* has no loop bounds here; profile the network instead"):
        hashing_workload(capture(Up().eval(), x).graph, x)
