"""Profiling changes nothing: modes, state, hooks, random numbers, global settings; and works in every context."""

import copy

import pytest
import torch
from counting import spikes
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode

from hardware_models.errors import InputError
from neuro.neurons import LIF
from neuro.profiling import profile


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.lif, self.head = LIF(step_mode="s"), nn.Linear(16, 3)
        self.register_buffer("runs", torch.zeros(()))
        self.seen = None

    def forward(self, x):
        self.runs += 1
        self.seen = x
        for _ in range(2):
            y = self.lif(self.bn(self.conv(x)))
        return self.head(y.flatten(1))


def batch():
    return torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def hooks():
    """How many there are of each kind of global hook, and of the notes that torch keeps about them."""
    found = {name: value for name, value in vars(torch_module).items() if name.startswith("_global")}
    return {name: len(value) for name, value in found.items() if hasattr(value, "__len__")}


def test_modes_are_given_back_module_by_module():
    model = Network().train()
    model.bn.eval()  # frozen, as in fine-tuning
    profile(model, batch(), timesteps=2)
    assert [m.training for m in (model, model.conv, model.bn, model.lif)] == [True, True, False, True]


def test_it_runs_in_evaluation_mode():
    model = Network().train()
    before = copy.deepcopy(model.state_dict())
    profile(model, batch(), timesteps=2)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # BatchNorm statistics and buffers


def test_state_and_attributes_are_given_back():
    model = Network()
    with torch.no_grad():
        model(batch())
    potential, runs, seen = model.lif.v, model.runs, model.seen
    values = potential.clone()
    profile(model, torch.rand(1, 2, 4, 4), timesteps=2)
    assert model.lif.v is potential
    assert torch.equal(potential, values)
    assert (model.runs is runs, float(runs)) == (True, 1.0)
    assert model.seen is seen


def test_history_does_not_matter():
    model = Network()
    first = profile(model, batch(), timesteps=2)
    with torch.no_grad():
        model(5 * batch())
    assert profile(model, batch(), timesteps=2).layers == first.layers


def test_gradients_of_the_user_go_on():
    model = Network()
    loss = model(batch()).sum()
    profile(model, batch(), timesteps=2)
    loss.backward()
    assert model.conv.weight.grad is not None


def test_input_that_requires_a_gradient():
    x = batch().requires_grad_()
    plain = profile(Network(), batch(), timesteps=2)
    assert profile(Network(), x, timesteps=2).layers == plain.layers
    assert x.grad is None
    assert x.grad_fn is None


@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.enable_grad, torch.inference_mode, lambda: torch.random.fork_rng([])],
    ids=["no_grad", "enable_grad", "inference_mode", "fork_rng"],
)
def test_every_context_gives_the_same_numbers(context):
    plain = profile(Network(), batch(), timesteps=2)
    with context():
        found = profile(Network(), batch(), timesteps=2)
    assert [numbers(layer) for layer in found.layers] == [numbers(layer) for layer in plain.layers]


def numbers(layer):
    return layer.name, layer.operator, layer.macs, layer.acs, layer.operands, layer.output, layer.consumers


def test_inference_tensors_as_state():
    model = Network()
    with torch.inference_mode():
        model(batch())
        assert profile(model, batch(), timesteps=2).macs > 0


def test_random_numbers_are_not_used_up():
    class Rate(nn.Module):
        def forward(self, x):
            return (torch.rand_like(x) < x).float() @ torch.ones(4, 2)

    torch.manual_seed(7)
    first = profile(Rate(), torch.rand(3, 4), timesteps=1)
    torch.manual_seed(7)
    torch.rand(3, 4)
    state = torch.get_rng_state()
    profile(Rate(), torch.rand(3, 4), timesteps=1)
    torch.manual_seed(7)
    torch.rand(3, 4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert profile(Rate(), torch.rand(3, 4), timesteps=1).layers == first.layers


class Breaks(nn.Module):
    def __init__(self, where):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), where, nn.Linear(4, 4))

    def forward(self, x):
        return self.inner(x)


class Fault(nn.Module):
    def forward(self, x):
        raise ValueError("broken inside")


class BreakingNeuron(LIF):
    def step(self, x, v):
        raise ValueError("broken inside")


class BreakingInput(nn.Module):
    """Our own neuron, unwatched inside, given something that it cannot compare."""

    def __init__(self):
        super().__init__()
        self.lif = LIF(step_mode="s")

    def forward(self, x):
        self.lif.v = torch.zeros(7, 7, 3)
        return self.lif(x)


@pytest.mark.parametrize("where", [Fault, lambda: BreakingNeuron(step_mode="s"), BreakingInput])
def test_an_exception_leaves_nothing_behind(where):
    model = Breaks(where()).train()
    before, attention = hooks(), torch.backends.mha.get_fastpath_enabled()
    with pytest.raises((ValueError, RuntimeError)) as error:
        profile(model, torch.rand(2, 4), timesteps=1)
    assert not isinstance(error.value, InputError)
    assert hooks() == before
    assert _get_current_dispatch_mode() is None
    assert torch.backends.mha.get_fastpath_enabled() == attention
    assert torch.is_grad_enabled()
    assert model.inner[1].training
    assert profile(Network(), batch(), timesteps=2).layers == profile(Network(), batch(), timesteps=2).layers


def test_success_leaves_nothing_behind():
    before = hooks()
    profile(Network(), batch(), timesteps=2)
    assert hooks() == before
    assert _get_current_dispatch_mode() is None


def test_heads_that_reset_means_something_else_for():
    """timm's heads have `reset(num_classes)`; others draw new weights."""

    class Head(nn.Linear):
        def reset(self, num_classes):
            raise AssertionError

    class Redraw(nn.Linear):
        def reset(self):
            nn.init.normal_(self.weight)

    model = nn.Sequential(Head(4, 4), Redraw(4, 4))
    weight = model[1].weight.clone()
    profile(model, torch.rand(2, 4))
    assert torch.equal(model[1].weight, weight)


def test_a_neuron_of_the_user_is_reset_by_its_own_method():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = 0

        def reset(self):
            self.v = 0

        def forward(self, x):
            self.v = self.v + x
            return (self.v >= 1).float()

    model = nn.Sequential(Mine(), nn.Linear(4, 2))
    x = torch.full((2, 4), 0.6)
    assert profile(model, x, timesteps=1).acs == profile(model, x, timesteps=1).acs == 0
    model[0].v = x
    profile(model, x, timesteps=1)
    assert model[0].v is x


def test_dropout_does_nothing():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 2)).train()
    assert profile(model, spikes(2, 64)).acs * 2 == int(spikes(2, 64).sum()) * 2


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 2, 4, 4)])
def test_empty_batches_are_refused(shape):
    with pytest.raises(InputError, match="at least one sample"):
        profile(Network(), torch.zeros(shape), timesteps=2)


def test_parameters_without_data_are_refused():
    with pytest.raises(InputError, match="meta"):
        profile(nn.Linear(4, 2, device="meta"), torch.rand(2, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_matter():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3)).double()
    x = spikes(3, 2, 4, 4).double()
    on_cpu, on_gpu = profile(model, x), profile(model.cuda(), x.cuda())
    assert [(n.operator, n.acs, n.macs) for n in on_cpu.layers] == [(n.operator, n.acs, n.macs) for n in on_gpu.layers]
