"""Equal steps and spiking neurons in one pass, and what follows sums, against the quantizers and plain torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quant.packed import Epilogue, library, reference, scale_shift
from quant.packed.formats import packing, steps
from quant.packed.values import Steps, fire
from quant.quantizers import Pact, Spikes, Uniform

SHAPES = st.sampled_from([(1, 1), (3, 17), (2, 5, 7), (2, 3, 4, 5), (0, 3), (4, 70, 33, 9)])


def scattered(shape: tuple[int, ...], seed: int, scale: float) -> Tensor:
    """Random values, many of them in the middle between two steps."""
    torch.manual_seed(seed)
    x = torch.randn(shape) * 4 * scale
    return torch.where(torch.rand(shape) < 0.3, (x / scale * 2).round() / 2 * scale, x)


@torch.no_grad()
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 16), st.sampled_from(["signed", "narrow", "unsigned", "affine"]), SHAPES, st.integers(0, 999))
def test_steps_are_those_of_the_quantizer(bits: int, kind: str, shape: tuple[int, ...], seed: int) -> None:
    signed = kind in ("signed", "narrow")
    narrow = kind == "narrow" and bits > 1
    quantizer = Uniform(bits, signed, narrow=narrow, affine=kind == "affine")
    torch.manual_seed(seed)
    scale = float(torch.rand(()) + 0.01)
    quantizer.scale_.fill_(scale)
    if kind == "affine":
        quantizer.zero_.fill_(float(torch.randint(0, 2**bits, ())))
    x = scattered(shape, seed, scale)
    for value in (x, x.movedim(-1, 0), x.movedim(1, -1)):
        found = steps(quantizer).round(value)
        assert torch.equal(found, quantizer(value))
        assert found.stride() == value.contiguous().stride() or found.stride() == value.stride()


@torch.no_grad()
@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 5),
    st.sampled_from([None, 3, 4, 8, 16]),
    st.sampled_from([1.0, 0.5, 0.9]),
    SHAPES,
    st.integers(0, 99),
)
def test_neurons_fire_as_simulated_ones(
    timesteps: int, bits: int | None, leak: float, shape: tuple[int, ...], seed: int
) -> None:
    x = scattered((timesteps * shape[0], *shape[1:]), seed, 0.25)
    neurons = Spikes(timesteps, leak, bits)
    neurons.threshold_.fill_(0.7 + seed / 100)
    wanted = neurons.codes(x)
    threshold = float(neurons.threshold_)
    assert torch.equal(fire(x, timesteps, threshold, leak, bits).float(), wanted)
    assert torch.equal(fire(x, timesteps, threshold, leak, bits), _slow(x, timesteps, threshold, leak, bits))


def _slow(x: Tensor, *settings: object) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "available", lambda: False)
        return fire(x, *settings)  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("place", [(0, 1), (1, 1), (0, 2), (2, 1)])
def test_timesteps_inside_of_an_axis(place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    neurons, x = Spikes(3, 1.0, 8, place), torch.randn(12, 12, 12)
    packed = packing(neurons).pack(x, layout=_bits())
    assert torch.equal(packed.integers().float(), neurons.codes(x))
    image = packing(neurons).pack(x, _bits(), image=True)
    assert torch.equal(image.integers().float(), neurons.codes(x).movedim(1, -1))


def _bits() -> object:
    from quant.packed import Layout

    return Layout()


@torch.no_grad()
@settings(deadline=None, max_examples=40)
@given(st.sampled_from([1, 2, 8]), st.sampled_from([2, 3, 8]), st.integers(0, 99))
def test_codes_are_those_of_the_quantizer(bits: int, narrow_bits: int, seed: int) -> None:
    for quantizer in (Pact(bits), Uniform(narrow_bits, True, narrow=True), Uniform(bits, False, affine=True)):
        x = scattered((5, 66), seed, 0.3)
        quantizer.initialise(x.abs() if isinstance(quantizer, Pact) else x)
        found = packing(quantizer).pack(x, _bits())  # type: ignore[arg-type]
        assert torch.equal(found.integers().float(), quantizer.codes(x) - quantizer.zero_point())


@torch.no_grad()
@settings(deadline=None, max_examples=60)
@given(st.sampled_from([1, 15, 16, 37]), st.integers(0, 63), st.integers(0, 99))
def test_what_follows_sums(channels: int, parts: int, seed: int) -> None:
    torch.manual_seed(seed)
    sums = torch.randint(-500, 500, (7, channels), dtype=torch.int32)
    vectors = [torch.randn(channels) for _ in range(5)]
    shift, slope, after, before = (one if parts >> i & 1 else None for i, one in enumerate(vectors[1:]))
    residual = torch.randn(7, channels) if parts >> 4 & 1 else None
    by = Steps(0.37, 3.0, 0, 15) if parts >> 5 & 1 and residual is not None else None
    epilogue = Epilogue(vectors[0] / 64, shift, slope, after, before, by)
    found, wanted = scale_shift(sums, epilogue, residual), reference.epilogue(sums, epilogue, residual)
    assert torch.equal(found, wanted)
    y = sums * epilogue.scale.double() + (0 if shift is None else shift)
    if residual is not None:
        y = y + residual if by is None else by.round(y) + by.round(residual)
    y = y - (0 if before is None else before)
    y = y if slope is None else torch.where(y < 0, y * slope, y)
    near = (found - (y + (0 if after is None else after))).abs() < 1e-4
    assert near.float().mean() > 0.98, "but for values within rounding of the middle between two steps"
