"""Spike-driven self-attention against plain loops over tokens, channels and timesteps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuro.models.attention import SDSA1, SDSA3, SDSA4, NeuronFactory
from neuro.models.neurons import neuron_factory
from neuro.neurons import IF, LIF

LIF_FACTORY = neuron_factory("lif")
T, B, HEADS, N, D = 3, 2, 2, 9, 4


def _qkv(rate: float, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(T, B, HEADS, N, D, generator=generator) < rate).double() for _ in range(3)]


def _lif(currents: list[float], threshold: float) -> list[int]:
    """LIF with tau 2, decay_input, hard reset to 0, on one neuron's currents."""
    v, spikes = 0.0, []
    for current in currents:
        h = v + (current - v) / 2
        spikes.append(int(h >= threshold))
        v = 0.0 if h >= threshold else h
    return spikes


def _sdsa1_by_loops(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = torch.zeros_like(q)
    for b in range(B):
        for head in range(HEADS):
            for d in range(D):
                together = [sum(int(k[t, b, head, n, d] and v[t, b, head, n, d]) for n in range(N)) for t in range(T)]
                for t, mask in enumerate(_lif(together, 0.5)):
                    for n in range(N):
                        out[t, b, head, n, d] = float(q[t, b, head, n, d]) * mask
    return out


def _sdsa3_by_loops(q: Tensor, k: Tensor, v: Tensor, threshold: float) -> Tensor:
    """Fires where sum_m sum_c q[n, c] k[m, c] v[m, d], an integer, drives an LIF neuron over `threshold`."""
    out = torch.zeros_like(q)
    for b in range(B):
        for head in range(HEADS):
            for n in range(N):
                for d in range(D):
                    counts = []
                    for t in range(T):
                        Q, K, V = (s[t, b, head].tolist() for s in (q, k, v))
                        counts.append(sum(Q[n][c] * K[m][c] * V[m][d] for m in range(N) for c in range(D)))
                    out[:, b, head, n, d] = torch.tensor(_lif(counts, threshold))
    return out


def test_sdsa1() -> None:
    q, k, v = _qkv(0.4)
    out = SDSA1(LIF_FACTORY)(q, k, v)
    expected = _sdsa1_by_loops(q, k, v)
    assert torch.equal(out, expected)
    assert 0 < expected.mean() < q.mean()  # some of q is masked, some is not


@pytest.mark.parametrize("sdsa", [SDSA3, SDSA4])
def test_sdsa3_and_4_are_an_integer_product_with_threshold_four(sdsa: type[nn.Module]) -> None:
    q, k, v = _qkv(0.6)
    out = sdsa(LIF_FACTORY)(q, k, v)
    expected = _sdsa3_by_loops(q, k, v, threshold=4.0)
    assert torch.equal(out, expected)
    assert 0.05 < expected.mean() < 0.95


def test_sdsa4_threshold_follows_its_scale() -> None:
    attention = SDSA4(LIF_FACTORY).double()
    with torch.no_grad():
        attention.scale.fill_(0.25)  # theta = 0.5 / scale = 2
    q, k, v = _qkv(0.6)
    expected = _sdsa3_by_loops(q, k, v, threshold=2.0)
    assert torch.equal(attention(q, k, v), expected)
    assert not torch.equal(expected, _sdsa3_by_loops(q, k, v, threshold=4.0))


def test_sdsa4_learns_its_threshold() -> None:
    attention = SDSA4(LIF_FACTORY).double()
    q, k, v = _qkv(0.5)
    attention(q, k, v).sum().backward()
    assert attention.scale.grad > 0  # a larger scale, a lower threshold, more spikes
    assert [name for name, _ in SDSA3(LIF_FACTORY).named_parameters()] == []


@pytest.mark.parametrize("neuron", ["if", "lif", "plif"])
@pytest.mark.parametrize("parameters", [{}, {"v_reset": None}], ids=["hard", "soft"])
@pytest.mark.parametrize("sdsa", [SDSA3, SDSA4])
def test_folding_the_scale_into_the_threshold(sdsa: type[nn.Module], neuron: str, parameters: dict) -> None:
    attention = sdsa(neuron_factory(neuron, parameters=parameters))
    q, k, v = _qkv(0.5)
    before = attention(q, k, v)
    attention.fold_scale()
    assert attention.neuron.v_threshold == 4.0
    assert attention.scale == 1
    assert not isinstance(attention.scale, Tensor)
    assert torch.equal(attention(q, k, v), before)
    assert 0 < before.mean() < 1
    attention.fold_scale()  # a second time changes nothing
    assert attention.neuron.v_threshold == 4.0


@pytest.mark.parametrize(
    "make",
    [neuron_factory("relu"), neuron_factory("ilif"), neuron_factory("lif", parameters={"v_reset": -0.25})],
    ids=["relu", "integer", "reset potential"],
)
def test_scale_stays_where_folding_would_not_be_exact(make: NeuronFactory) -> None:
    attention = SDSA3(make)
    q, k, v = _qkv(0.5)
    before = attention(q, k, v)
    attention.fold_scale()
    assert attention.scale == 0.125
    assert torch.equal(attention(q, k, v), before)


def test_learned_scale_below_zero_stays() -> None:
    attention = SDSA4(LIF_FACTORY)
    with torch.no_grad():
        attention.scale.fill_(-0.1)
    attention.fold_scale()
    assert isinstance(attention.scale, nn.Parameter)
    assert attention.neuron.v_threshold == 0.5


@pytest.mark.parametrize("sdsa", [SDSA1, SDSA3, SDSA4])
def test_output_is_spikes_of_the_same_shape(sdsa: type[nn.Module]) -> None:
    q, k, v = _qkv(0.5)
    for make in (
        LIF_FACTORY,
        lambda threshold: IF(v_threshold=threshold),
        lambda threshold: LIF(3.0, threshold),
    ):
        out = sdsa(make)(q, k, v)
        assert out.shape == q.shape
        assert ((out == 0) | (out == 1)).all()
