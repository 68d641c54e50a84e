"""Converted networks: spikes, fan-out and edges against counts by hooks that know nothing of profiling."""

import functools
import math

import pytest
import torch
from counting import by_ones, layer
from torch import nn

from neuro.coding.calibrate import calibrate
from neuro.coding.rewrite import Scheme, to_spiking
from neuro.profiling import profile
from quant.capture import capture

TIMESTEPS = 5


class Gated(nn.Module):
    """Convolutions with a squeeze-and-excitation gate."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.body = nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(self.body(x * gate).relu().mean((2, 3)))


class Attention(nn.Module):
    """One head of attention over tokens, with a residual."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return x + self.out(torch.softmax(q @ k.transpose(-2, -1), -1) @ v)


@functools.cache
def captured(kind, *shape):
    """A network, its graph, which conversion leaves alone, and its input."""
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(shape)
    return model, capture(model, x), x


def converted(kind, *shape, piece=TIMESTEPS, **scheme):
    model, graph, x = captured(kind, *shape)
    network = to_spiking(graph, Scheme(**scheme), TIMESTEPS, piece=piece)
    calibrate(network, [(x,)])
    return model, network, x


def gated(**how):
    return converted(Gated, 3, 3, 9, 9, **how)


def spikes_of(network, x):
    """What each neuron sent, `[T, B, ...]`, by its name, seen by a hook."""
    sent = {name: [] for name in network.encoders()}

    def keep(name):
        return lambda encoder, inputs, out: sent[name].append(encoder.place.split(out, encoder.clock.steps).clone())

    handles = [encoder.register_forward_hook(keep(name)) for name, encoder in network.encoders().items()]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(pieces) for name, pieces in sent.items()}


@pytest.mark.parametrize("piece", [1, 2, 3, TIMESTEPS, 8])
def test_spikes_and_accumulates_equal_those_counted_by_hooks(piece):
    model, network, x = gated(piece=piece)
    sent = spikes_of(network, x)
    workload = profile(network, x)
    assert (workload.timesteps, workload.batch, workload.macs) == (TIMESTEPS, 3, 0)
    readers = {"stem": model.stem, "squeeze": model.squeeze, "excite": model.excite, "body": model.body}
    driven = {found.name.partition(".")[0]: found for found in workload.synaptic_layers()}
    assert driven.keys() == {*readers, "head"}
    total = 0
    for name, spikes in sent.items():
        neuron = layer(workload, name)
        assert (neuron.timesteps, neuron.out_elements) == (TIMESTEPS, math.prod(spikes.shape[2:]))
        assert neuron.output.magnitude == tuple(spikes.flatten(1).count_nonzero(1).tolist())
        total += int(spikes.count_nonzero())
    assert workload.spikes == total / 3
    assert workload.firing_rate == pytest.approx(total / sum(spikes.numel() for spikes in sent.values()))
    for module, found in driven.items():
        (source,) = [name for name in sent if found.name in layer(workload, name).consumers]
        steps = sent[source].sign()
        expected = [5 * int(s.count_nonzero()) if module == "head" else by_ones(readers[module], s) for s in steps]
        assert found.acs_by_timestep == tuple(expected)
        assert (found.driven_by, found.macs, found.timesteps) == ("input", 0, TIMESTEPS)
    assert workload.synaptic_operations == sum(sum(f.acs_by_timestep) for f in driven.values()) / 3


@pytest.mark.parametrize("piece", [2, TIMESTEPS])
@pytest.mark.parametrize("coding", ["differential", "rate"])
def test_both_terms_of_a_product_are_driven_by_their_spikes(piece, coding):
    _, network, x = converted(Attention, 2, 4, 6, piece=piece, coding=coding)
    sent = spikes_of(network, x)
    workload = profile(network, x)
    products = [found for found in workload.layers if found.operator == "matmul"]
    assert len(products) == 4
    assert workload.macs == 0
    for found in products:
        driver = found.operand(found.driven_by)
        assert driver.form == "power-of-two"
        sources = [sent[name] for name in sent if found.name in layer(workload, name).consumers]
        assert len(sources) == 2
        fan_out = found.bounds.gemm[1] if found.driven_by == "left" else found.bounds.gemm[0]
        by_step = [tuple(spikes.flatten(1).count_nonzero(1).tolist()) for spikes in sources]
        assert driver.nonzero in by_step
        assert found.acs_by_timestep == tuple(fan_out * count for count in driver.nonzero)


def test_edges_and_names():
    _, network, x = gated()
    workload = profile(network, x)
    stem, head = (next(f for f in workload.layers if f.name.startswith(name)) for name in ("stem", "head"))
    first = workload.layers[0]
    assert (first.operator, first.consumers) == ("neuron", (stem.name,))
    assert all(layer(workload, name).operator == "neuron" for name in stem.consumers)
    assert len(stem.consumers) == 2  # the one before the mean and the one before the gate
    assert head.consumers == ()
    assert not any(f.name.startswith("graph") for f in workload.layers)
    behind = {name for neuron in workload.neuron_layers() for name in neuron.consumers}
    assert {f.name for f in workload.synaptic_layers()} <= behind


def test_sums_and_biases_of_synapses_are_no_layers():
    _, network, x = gated()
    found = profile(network, x)
    inside = [f for f in found.layers if f.name.partition(".")[0] in ("stem", "squeeze", "excite", "body", "head")]
    assert {f.operator for f in inside} == {"conv", "linear"}
    gates = [f for f in found.layers if f.operator == "mask"]
    assert len(gates) == 2  # A b and a B: products by elements are layers


@pytest.mark.parametrize("until", [2, 3, 4])
def test_the_first_timesteps_are_those_of_a_shorter_run(until):
    _, network, x = gated()
    first = profile(network, x).until(until)
    network.timesteps = until
    short = profile(network, x)
    assert first.timesteps == short.timesteps == until
    assert (first.spikes, first.synaptic_operations, first.macs) == (short.spikes, short.synaptic_operations, 0)
    assert [f.name for f in first.layers] == [f.name for f in short.layers]
    for ours, theirs in zip(first.synaptic_layers(), short.synaptic_layers(), strict=True):
        assert (ours.acs_by_timestep, ours.consumers) == (theirs.acs_by_timestep, theirs.consumers)
        assert ours.operand("input").nonzero == theirs.operand("input").nonzero
        key = ours.operand("input").channels
        assert (first.arrays[key] == short.arrays[key]).all()


def test_an_ideal_encoder_sends_what_has_to_be_multiplied():
    _, network, x = gated(spikes="ideal")
    workload = profile(network, x)
    assert layer(workload, workload.layers[0].consumers[0]).macs > 0


def test_the_network_is_left_as_it_was():
    _, network, x = gated(piece=2)
    with torch.no_grad():
        before = network(x)
        profile(network, x)
        assert torch.equal(network(x), before)
    assert all(encoder.sent is None for encoder in network.encoders().values())


def test_a_marked_class_is_a_neuron():
    class Fires(nn.Module):
        elementwise_neuron = True

        def forward(self, x):
            return (x @ torch.ones(x.shape[-1], x.shape[-1]) > 0).float()  # nobody looks inside

    workload = profile(nn.Sequential(Fires(), nn.Linear(4, 3)), torch.rand(2, 4), timesteps=1)
    assert [f.operator for f in workload.layers] == ["neuron", "linear"]
    assert workload.layers[0].consumers == (workload.layers[1].name,)
