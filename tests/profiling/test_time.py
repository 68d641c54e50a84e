"""Which timestep a value belongs to, through every way in which networks write time."""

import pytest
import torch
from counting import layer, only, spikes
from torch import nn

from hardware_models.errors import InputError
from neuro.neurons import LIF
from neuro.profiling import profile


def staircase(steps, *shape):
    """Spikes whose number tells the timestep: 1, 2, 3, ... of the elements of the first sample fire."""
    x = torch.zeros(steps, *shape)
    for t in range(steps):
        x[t].view(-1)[: t + 1] = 1
    return x


class Wrapped(nn.Module):
    def __init__(self, run, *modules):
        super().__init__()
        self.run = run
        self.layers = nn.ModuleList(modules)

    def forward(self, x):
        return self.run(x, *self.layers)


def merged(x, layer):
    return layer(x.flatten(0, 1))


def looped(x, layer):
    return torch.stack([layer(x_t) for x_t in x])


def sequence_first(x, layer):
    """As nn.MultiheadAttention does inside: `[T * B, N, C]` becomes `[N, T * B, C]`."""
    return layer(x.flatten(0, 1).transpose(0, 1)).transpose(0, 1)


def batch_major(x, layer):
    return layer(x.transpose(0, 1).contiguous())


def batch_major_merged(x, layer):
    return layer(x.transpose(0, 1).flatten(0, 1))


def heads(x, layer):
    """`[T, B, N, C]` to `[T * B * 2, N, C / 2]` and back."""
    t, b, n, c = x.shape
    split = x.flatten(0, 1).reshape(t * b, n, 2, c // 2).permute(0, 2, 1, 3).flatten(0, 1)
    return layer(split.reshape(t * b, 2, n, c // 2).transpose(1, 2).reshape(t, b, n, c))


def in_pieces(x, layer):
    return torch.cat([layer(x[:1]), layer(x[1:])])


@pytest.mark.parametrize("run", [merged, looped, sequence_first, batch_major, batch_major_merged, heads])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 1), (3, 2), (3, 3), (4, 6), (2, 5)])
def test_tokens(run, steps, batch):
    x = staircase(steps, batch, 5, 6)
    found = only(profile(Wrapped(run, nn.Linear(6, 4)), x, time_first=True), "linear")
    assert found.operand("input").nonzero == tuple(range(1, steps + 1))
    assert found.timesteps == steps
    assert found.acs == 4 * steps * (steps + 1) // 2
    assert (found.out_elements, found.bounds.gemm) == (5 * 4, (5, 4, 6))


def test_pieces_of_time_are_one_layer():
    found = only(profile(Wrapped(in_pieces, nn.Linear(6, 4)), staircase(3, 2, 6), time_first=True), "linear")
    assert found.operand("input").nonzero == (1, 2, 3)
    assert (found.timesteps, found.acs_by_timestep) == (3, (4, 8, 12))


def test_pieces_that_make_no_whole_run_are_layers_of_their_own():
    run = Wrapped(lambda x, layer: torch.cat([layer(x[:1]), layer(x[1:3])]), nn.Linear(6, 4))
    found = list(profile(run, staircase(4, 2, 6), time_first=True).synaptic_layers())
    assert [f.operand("input").nonzero for f in found] == [(1,), (2, 3)]
    assert [f.timesteps for f in found] == [1, 2]


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 1), (3, 3), (3, 4), (4, 2)])
@pytest.mark.parametrize("run", [merged, looped])
def test_images(run, steps, batch):
    x = staircase(steps, batch, 2, 5, 5)
    found = only(profile(Wrapped(run, nn.Conv2d(2, 3, 1)), x), "conv")
    assert found.operand("input").nonzero == tuple(range(1, steps + 1))
    assert found.operand("input").elements == 50
    assert found.operand("input").density == pytest.approx([(t + 1) / (50 * batch) for t in range(steps)])


@pytest.mark.parametrize("move", [lambda x: x.transpose(0, 1), lambda x: x.permute(1, 0, 2, 3, 4)])
def test_batch_first_recordings(move):
    x = staircase(3, 4, 2, 5, 5).transpose(0, 1).contiguous()
    model = Wrapped(lambda x, conv: conv(move(x).flatten(0, 1)), nn.Conv2d(2, 3, 1))
    workload = profile(model, x, timesteps=3, time_first=False)
    assert (workload.timesteps, workload.batch) == (3, 4)
    assert only(workload, "conv").operand("input").nonzero == (1, 2, 3)


def test_batch_first_merged_at_once():
    x = staircase(3, 4, 2, 5, 5).transpose(0, 1).contiguous()
    model = Wrapped(lambda x, conv: conv(x.flatten(0, 1)), nn.Conv2d(2, 3, 1))
    assert only(profile(model, x, timesteps=3, time_first=False), "conv").operand("input").nonzero == (1, 2, 3)


class Partly(nn.Module):
    """A stem outside of time, a body inside, a head after the mean over time."""

    def __init__(self, timesteps, enter):
        super().__init__()
        self.timesteps, self.enter = timesteps, enter
        self.stem, self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3), nn.Linear(12, 5)
        self.lif1, self.lif2 = LIF(), LIF()

    def forward(self, x):
        x = self.lif1(self.enter(self.stem(x) * 3, self.timesteps))
        x = self.lif2(self.conv(x.flatten(0, 1)).unflatten(0, (self.timesteps, -1)) * 3)
        return self.head(x.mean(0).flatten(1))


ENTRANCES = {
    "repeat": lambda x, t: x.unsqueeze(0).repeat(t, 1, 1, 1, 1),
    "expand": lambda x, t: x.expand(t, *x.shape),
    "stack": lambda x, t: torch.stack([x] * t),
    "cat": lambda x, t: torch.cat([x] * t).view(t, *x.shape),
}


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize(("steps", "batch"), [(1, 2), (3, 1), (3, 3), (4, 3), (2, 5)])
def test_only_part_of_the_network_is_in_time(enter, steps, batch):
    workload = profile(Partly(steps, ENTRANCES[enter]), torch.rand(batch, 2, 4, 4))
    assert workload.batch == batch
    expected = {"stem": 1, "lif1": steps, "conv": steps, "lif2": steps, "head": 1}
    found = {name: layer(workload, name) for name in expected}
    assert {name: f.timesteps for name, f in found.items()} == expected
    assert found["stem"].macs == 16 * 2 * 9 * 4 * batch
    assert (found["lif1"].out_elements, found["lif2"].out_elements) == (64, 12)
    # direct encoding: the same current in every timestep, yet LIFs charge up over time
    assert len(found["lif1"].output.nonzero) == len(found["conv"].operand("input").density) == steps
    if steps > 1:
        # a mean over T steps of {0, 1} is T-ths: integer spikes
        assert found["head"].operand("input").form in ("integer", "binary")


def test_mean_over_time_adds_the_spikes_of_all_timesteps():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            return self.head(x.mean(0))

    x = spikes(3, 4, 6, density=0.5)
    x[:, 0, 0] = torch.tensor([1.0, 0, 0])
    found = layer(profile(Head(), x, time_first=True), "head")
    # the unit is one third: as many accumulates as spikes in all timesteps together
    assert found.acs == int(x.sum()) * 2
    assert found.operand("input").scale == pytest.approx(1 / 3)


def test_integer_spikes_in_a_loop_share_one_unit():
    """{0, 2} in one timestep and {0, 1, 3} in another are counts of one unit, looped or not."""
    x = torch.tensor([[[0.0, 2, 2, 0]], [[1, 0, 3, 0]]])
    for run in (merged, looped):
        found = only(profile(Wrapped(run, nn.Linear(4, 5)), x / 4, time_first=True), "linear")
        assert found.acs == (2 + 2 + 1 + 3) * 5
        assert found.operand("input").magnitude == (4, 4)
        assert found.operand("input").nonzero == (2, 2)
        assert (found.operand("input").form, found.operand("input").scale) == ("integer", 0.25)


def test_a_float_timestep_makes_the_layer_multiply():
    x = torch.stack([torch.randn(2, 4), spikes(2, 4)])
    for run in (merged, looped):
        found = only(profile(Wrapped(run, nn.Linear(4, 5)), x, time_first=True), "linear")
        assert (found.acs, found.macs, found.driven_by) == (0, 2 * 2 * 20, None)


def test_silent_timesteps():
    x = torch.zeros(3, 2, 4)
    x[1, 0, 2] = 0.5
    for run in (merged, looped):
        found = only(profile(Wrapped(run, nn.Linear(4, 5)), x, time_first=True), "linear")
        assert (found.acs, found.operand("input").nonzero) == (5, (0, 1, 0))
        assert (found.operand("input").form, found.operand("input").scale) == ("binary", 0.5)


def test_neuron_over_time_and_batch_at_once():
    """QKFormer's last LIF: the neuron takes T x B for its time; the counts still are those of T timesteps."""
    model = Wrapped(lambda x, lif: lif(x.flatten(0, 1)), LIF(tau=1.0))
    x = 2 * staircase(3, 2, 4, 5)
    found = only(profile(model, x, time_first=True), "neuron")
    assert (found.timesteps, found.out_elements, found.output.nonzero) == (3, 20, (1, 2, 3))


def test_module_used_twice_in_a_step():
    shared = nn.Linear(4, 4, bias=False)
    for run in (lambda x, f: torch.stack([f(f(x_t)) for x_t in x]), lambda x, f: f(f(x))):
        found = list(profile(Wrapped(run, shared), spikes(3, 2, 4), time_first=True).synaptic_layers())
        assert [f.name for f in found] == ["layers.0", "layers.0@2"]
        assert [f.timesteps for f in found] == [3, 3]
        assert [f.driven_by for f in found] == ["input", None]
        assert found[0].consumers == ("layers.0@2",)


@pytest.mark.parametrize("batch", [2, 3, 4, 6])
def test_static_network_with_a_batch_of_t(batch):
    """Nothing enters time: shapes that happen to be T mean nothing."""
    model = Partly(3, lambda x, t: x)
    model.forward = lambda x: model.head(model.conv(model.stem(x)).flatten(1))
    found = [f.timesteps for f in profile(model, torch.rand(batch, 2, 4, 4)).synaptic_layers()]
    assert found == [1, 1, 1]


def test_three_dimensional_images_are_not_time():
    x = spikes(2, 1, 4, 4, 4)
    workload = profile(nn.Conv3d(1, 2, 2), x)
    assert (workload.batch, workload.timesteps) == (2, 1)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({}, "timesteps=T"),
        ({"timesteps": 0}, "at least 1"),
        ({"timesteps": 3, "time_first": True}, "T=2"),
    ],
)
def test_unknown_or_wrong_timesteps(kwargs, says):
    with pytest.raises(InputError, match=says):
        profile(nn.Sequential(LIF()), torch.rand(2, 3), **kwargs)


@pytest.mark.parametrize("until", [1, 2, 3, 4])
def test_the_first_timesteps_are_those_of_a_shorter_run(until):
    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.convs = nn.ModuleList([nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 4, 3, stride=2)])
            self.convs[1].weight.data *= 8
            self.neurons = nn.ModuleList([LIF(), LIF()])
            self.head = nn.Conv2d(4, 3, 1)

        def forward(self, x):
            for conv, neuron in zip(self.convs, self.neurons, strict=True):
                x = neuron(conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
            return self.head(x.flatten(0, 1))

    x = 8 * (torch.rand(4, 3, 2, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.6).float()
    whole = profile(Spiking(), x)
    assert all(min(found.acs_by_timestep) > 0 for found in whole.synaptic_layers())
    assert whole.until(until) == profile(Spiking(), x[:until])
