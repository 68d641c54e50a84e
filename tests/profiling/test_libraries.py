"""One small network written with the neurons of three libraries gives one set of numbers."""

import pytest
import torch
from counting import conv_accumulates
from torch import nn

from neuro.neurons import LIF
from neuro.profiling import profile

T, BATCH = 3, 4


def layers():
    torch.manual_seed(5)
    conv1, conv2, head = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 5, 3, stride=2), nn.Linear(20, 3)
    with torch.no_grad():
        conv1.weight *= 6
        conv2.weight *= 4
    return conv1, conv2, head


class MultiStep(nn.Module):
    """`[T, B, C, H, W]`, neurons see all timesteps at once."""

    def __init__(self, make_neuron):
        super().__init__()
        self.conv1, self.conv2, self.head = layers()
        self.lif1, self.lif2 = make_neuron(), make_neuron()

    def forward(self, x):
        steps, batch = x.shape[:2]
        x = self.lif1(self.conv1(x.flatten(0, 1)).unflatten(0, (steps, batch)))
        x = self.lif2(self.conv2(x.flatten(0, 1)).unflatten(0, (steps, batch)))
        return self.head(x.flatten(2)).mean(0)


class SingleStep(MultiStep):
    """The same, one timestep after the other."""

    def forward(self, x):
        out = 0
        for x_t in x:
            spikes = self.lif2(self.conv2(self.lif1(self.conv1(x_t))))
            out = out + self.head(spikes.flatten(1))
        return out / len(x)


class Stepwise(MultiStep):
    """snnTorch's way: the membrane potential is handed around and the records are stacked."""

    def forward(self, x):
        potential1, potential2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        records = []
        for step in range(x.size(0)):
            spikes, potential1 = self.lif1(self.conv1(x[step]), potential1)
            spikes, potential2 = self.lif2(self.conv2(spikes), potential2)
            records.append(self.head(spikes.flatten(1)))
        return torch.stack(records, dim=0).mean(0)


def ours(step_mode):
    return lambda: LIF(tau=2.0, v_threshold=1.0, v_reset=0.0, decay_input=False, step_mode=step_mode)


def spikingjelly(step_mode):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    return lambda: neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=0.0, decay_input=False, step_mode=step_mode)


def snntorch(**options):
    snn = pytest.importorskip("snntorch")
    return lambda: snn.Leaky(beta=0.5, threshold=1.0, reset_mechanism="zero", reset_delay=False, **options)


FORMS = {
    "ours, multi-step": lambda: MultiStep(ours("m")),
    "ours, single-step": lambda: SingleStep(ours("s")),
    "spikingjelly, multi-step": lambda: MultiStep(spikingjelly("m")),
    "spikingjelly, single-step": lambda: SingleStep(spikingjelly("s")),
    "snntorch": lambda: Stepwise(snntorch()),
    "snntorch, hidden state": lambda: SingleStep(snntorch(init_hidden=True)),
}


def batch():
    torch.manual_seed(1)
    return torch.rand(T, BATCH, 2, 6, 6)


@pytest.fixture(scope="module")
def truth():
    """Spikes by stepping the equations by hand: v = v / 2 + x; s = v >= 1; v = v (1 - s)."""
    conv1, conv2, head = layers()
    v1 = v2 = 0
    inner, outer = [], []
    with torch.no_grad():
        for x in batch():
            v1 = v1 / 2 + conv1(x)
            s1 = (v1 >= 1).float()
            v1 = v1 * (1 - s1)
            v2 = v2 / 2 + conv2(s1)
            s2 = (v2 >= 1).float()
            v2 = v2 * (1 - s2)
            inner.append(s1)
            outer.append(s2)
    return torch.stack(inner), torch.stack(outer), conv2, head


@pytest.fixture(params=FORMS)
def workload(request):
    return profile(FORMS[request.param](), batch())


def test_totals(workload, truth):
    inner, outer, conv2, _ = truth
    assert (workload.timesteps, workload.batch) == (T, BATCH)
    neurons = BATCH * T * (inner[0, 0].numel() + outer[0, 0].numel())
    assert workload.spikes == pytest.approx(float(inner.sum() + outer.sum()) / BATCH)
    assert workload.firing_rate == pytest.approx(float(inner.sum() + outer.sum()) / neurons)
    assert workload.synaptic_operations == (conv_accumulates(conv2, inner.flatten(0, 1)) + int(outer.sum()) * 3) / BATCH
    assert workload.macs == T * 36 * 2 * 9 * 6  # the first convolution reads pixels


def test_layers(workload, truth):
    inner, outer, conv2, _ = truth
    found = {layer.name: layer for layer in workload.layers}
    assert list(found)[:5] == ["conv1", "lif1", "conv2", "lif2", "head"]
    assert [found[name].timesteps for name in list(found)[:5]] == [T] * 5
    assert found["conv2"].acs == conv_accumulates(conv2, inner.flatten(0, 1))
    assert found["head"].acs == int(outer.sum()) * 3
    assert found["lif1"].out_elements == 6 * 36
    assert found["lif2"].out_elements == 5 * 4


def test_densities(workload, truth):
    inner, outer, *_ = truth
    found = {layer.name: layer for layer in workload.layers}
    for name, spikes in (("lif1", inner), ("lif2", outer)):
        by_step = spikes.flatten(1).mean(1).tolist()
        by_channel = spikes.mean((1, 3, 4))
        output = found[name].output
        assert output.density == pytest.approx(by_step)
        assert output.nonzero == tuple(spikes.flatten(1).sum(1).int().tolist())
        assert output.max_channel_density == pytest.approx(by_channel.amax(1).tolist())
        assert workload.arrays[output.channels].tolist() == spikes.sum((1, 3, 4)).tolist()
    read = found["conv2"].operand("input")
    assert read.density == found["lif1"].output.density
    assert workload.arrays[read.channels].tolist() == inner.sum((1, 3, 4)).tolist()
    # a linear layer's channels are its input features
    assert workload.arrays[found["head"].operand("input").channels].tolist() == outer.sum(1).flatten(1).tolist()


def test_edges(workload):
    found = {layer.name: layer.consumers for layer in workload.layers}
    assert found["conv1"] == ("lif1",)
    assert found["lif1"] == ("conv2",)
    assert found["conv2"] == ("lif2",)
    assert found["lif2"] == ("head",)


@pytest.mark.parametrize("form", FORMS)
def test_a_second_profile_is_equal_and_the_state_is_given_back(form):
    model = FORMS[form]()
    first = profile(model, batch())
    with torch.no_grad():
        model(batch()[:, :2])
    state = {name: value.clone() for name, value in potentials(model).items()}
    assert profile(model, batch()).layers == first.layers
    after = potentials(model)
    assert state.keys() == after.keys()
    assert all(torch.equal(state[name], after[name]) for name in state)


def potentials(model):
    found = {}
    for name in ("lif1", "lif2"):
        neuron = getattr(model, name)
        held = {**vars(neuron), **neuron._buffers, **vars(neuron).get("_memories", {})}
        found |= {f"{name}.{key}": held[key] for key in ("v", "mem") if isinstance(held.get(key), torch.Tensor)}
    return found


class ReadsPotential(nn.Module):
    """The membrane potential, not the spikes, goes on: the layer that reads it consumes the neuron."""

    def __init__(self, neuron):
        super().__init__()
        self.conv, self.lif, self.head = nn.Linear(3, 4), neuron, nn.Linear(4, 2)

    def forward(self, x):
        potential = self.lif.init_leaky()
        for x_t in x:
            _, potential = self.lif(self.conv(x_t), potential)
        return self.head(potential)


def test_membrane_potential_comes_from_the_neuron():
    found = {n.name: n for n in profile(ReadsPotential(snntorch()()), torch.rand(T, 2, 3), time_first=True).layers}
    assert found["lif"].consumers == ("head",)
    assert found["conv"].consumers == ("lif",)
    assert found["head"].timesteps == 1
    assert found["head"].macs == 2 * 8


def test_recurrent_weights_inside_a_neuron_are_counted():
    snn = pytest.importorskip("snntorch")

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.RLeaky(beta=0.5, linear_features=6, init_hidden=True)

        def forward(self, x):
            return torch.stack([self.lif(x_t) for x_t in x])

    found = {n.name: n for n in profile(Recurrent(), 3 * torch.rand(T, 2, 6), time_first=True).layers}
    assert found["lif"].operator == "neuron"
    recurrent = [n for name, n in found.items() if name.startswith("lif.recurrent")]
    # it reads the spikes of the timestep before; in the first there are none that depend on the input
    assert sum(n.acs for n in recurrent) == 6 * sum(found["lif"].output.nonzero[:-1])
    assert {n.operator for n in recurrent} == {"linear"}
    assert found["lif"].consumers == tuple(sorted(n.name for n in recurrent))


def test_parametric_neuron_with_a_matrix_inside_is_watched():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    found = {n.operator: n for n in profile(neuron.PSN(T), torch.rand(T, 2, 5), time_first=True).layers}
    assert found["neuron"].out_elements == 5
    assert found["linear"].macs == T * T * 10  # a T x T matrix over the timesteps of 10 neurons


def test_subclass_of_our_neuron_is_watched_inside():
    class Lateral(LIF):
        def __init__(self):
            super().__init__(step_mode="s")
            self.weight = nn.Parameter(torch.randn(4, 4))

        def step(self, x, v):
            return super().step(x @ self.weight, v)

    found = {n.operator: n for n in profile(Lateral(), torch.randn(2, 4), timesteps=1).layers}
    assert found["linear"].macs == 32
    assert found["neuron"].out_elements == 4


def test_keyword_arguments_reach_the_neuron():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = LIF()

        def forward(self, x):
            return self.lif(x=x * 3)

    (found,) = profile(Keyword(), torch.rand(T, 2, 5), time_first=True).neuron_layers()
    assert (found.timesteps, found.out_elements) == (T, 5)
