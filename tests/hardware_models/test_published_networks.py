"""The ecoformer convention against published figures of whole networks, built from their architecture."""

import pytest
from workload_builders import linear, operand, other, product, workload

from hardware_models.conventions import convention
from hardware_models.workload import Bounds, Layer


def convolution(name, size, inputs, outputs, kernel, groups=1):
    bounds = Bounds(
        groups=groups,
        in_channels=inputs,
        out_channels=outputs,
        in_size=(size, size),
        out_size=(size, size),
        kernel=(kernel, kernel),
    )
    operands = (operand("input"), operand("weight"))
    macs = bounds.macs
    return Layer(
        name=name,
        operator="conv",
        op="convolution",
        timesteps=1,
        bounds=bounds,
        operands=operands,
        out_elements=1,
        macs=macs,
    )


def attention(name, tokens, channels, heads):
    """Softmax attention over all tokens: projections, two products, scaling of the scores."""
    pair = (operand("left"), operand("right"))
    width = channels // heads
    count = heads * tokens * tokens * width
    return [
        linear(f"{name}.qkv", tokens, channels, 3 * channels, macs=tokens * channels * 3 * channels),
        product(f"{name}.qk", heads, tokens, width, tokens, *pair, macs=count),
        other(f"{name}.scale", "elementwise", op="mul", out_elements=heads * tokens * tokens),
        other(f"{name}.softmax", "elementwise", op="_softmax", out_elements=heads * tokens * tokens),
        product(f"{name}.av", heads, tokens, tokens, width, *pair, macs=count),
        linear(f"{name}.proj", tokens, channels, channels, macs=tokens * channels * channels),
    ]


def pvt_v2_b0():
    """PVTv2-B0 at 224x224 with full softmax attention in every stage (Wang et al., CVMJ 2022)."""
    layers, inputs = [], 3
    for stage, (size, channels, heads, ratio) in enumerate(
        [(56, 32, 1, 8), (28, 64, 2, 8), (14, 160, 5, 4), (7, 256, 8, 4)]
    ):
        tokens, hidden = size * size, channels * ratio
        layers.append(convolution(f"{stage}.embed", size, inputs, channels, 3 if stage else 7))
        for block in range(2):
            name = f"{stage}.{block}"
            layers += attention(f"{name}.attn", tokens, channels, heads)
            layers.append(linear(f"{name}.fc1", tokens, channels, hidden, macs=tokens * channels * hidden))
            layers.append(convolution(f"{name}.dw", size, hidden, hidden, 3, groups=hidden))
            layers.append(linear(f"{name}.fc2", tokens, hidden, channels, macs=tokens * hidden * channels))
        inputs = channels
    layers.append(linear("head", 1, 256, 1000, macs=256_000))
    return workload(*layers)


def test_pvt_v2_b0_reaches_ecoformers_figures():
    # Counted by EcoFormer's own script: 2.011 G multiplications, 1.988 G additions, 9.228 mJ.
    estimate = convention("ecoformer").estimate(pvt_v2_b0())
    assert estimate.macs == pytest.approx(1.988e9, abs=0.5e6)
    assert estimate.energy_j == pytest.approx(9.228e-3, abs=0.5e-6)


def test_ann_rows_of_spiking_papers_are_macs_times_constant():
    # Swin-B, 15.4 G MACs, is printed as 70.84 mJ; DeiT-B, 17.5 G, as 80.50 mJ.
    for giga, millijoules in ((15.4, 70.84), (17.5, 80.50)):
        dense = workload(linear("all", 1000, 1000, round(giga * 1000), macs=round(giga * 1e9)))
        for name in ("horowitz45", "spikingformer"):
            assert convention(name).estimate(dense).energy_j == pytest.approx(millijoules * 1e-3, rel=1e-9)
