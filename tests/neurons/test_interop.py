"""Our neurons inside SpikingJelly networks and its neurons inside ours; state, copies, dtypes, odd shapes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neuro.models import create_model, merge_model
from neuro.models.neurons import neuron_factory
from neuro.neurons import IF, LIF, PLIF, IntegerLIF, reset

NEURONS: dict[str, Callable[..., nn.Module]] = {
    "if": IF,
    "lif": LIF,
    "plif": PLIF,
    "ilif": lambda **k: IntegerLIF(normalize=False, **k),
}


def _enliven(model: nn.Module) -> nn.Module:
    """Give the BatchNorms gains and biases with which every layer fires; many are silent at first."""
    torch.manual_seed(11)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.8, 2.0)
            nn.init.uniform_(m.bias, -0.2, 1.2)
    return model


def _peer(name: str, **kwargs: object) -> nn.Module:
    sj = pytest.importorskip("spikingjelly.activation_based.neuron")
    classes = {"if": sj.IFNode, "lif": sj.LIFNode, "plif": sj.ParametricLIFNode, "ilif": sj.ILIFNode}
    return classes[name](detach_reset=True, **kwargs)


def _network(make_neuron: Callable[[], nn.Module], step_mode: str) -> nn.Module:
    """A SpikingJelly network: its step-mode layers, its container, and two neuron layers."""
    layer = pytest.importorskip("spikingjelly.activation_based.layer")
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    torch.manual_seed(0)
    middle = nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4))
    net = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1),
        layer.BatchNorm2d(6),
        make_neuron(),
        layer.SeqToANNContainer(middle) if step_mode == "m" else middle,
        make_neuron(),
        layer.Flatten(),
        layer.Linear(4 * 5 * 5, 3),
    )
    functional.set_step_mode(net, step_mode)
    return _enliven(net)


def _input(T: int = 4) -> Tensor:
    return torch.randn(T, 3, 2, 7, 7, generator=torch.Generator().manual_seed(T)) * 2 + 0.5


@pytest.mark.parametrize("name", NEURONS)
def test_our_neurons_in_their_network(name: str) -> None:
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    ours, theirs = _network(NEURONS[name], "m"), _network(lambda: _peer(name), "m")
    theirs.load_state_dict({k: v.clone() for k, v in ours.state_dict().items()})
    outputs = []
    for net in (ours, theirs):
        x = _input().requires_grad_()
        out = net(x)
        gradients = torch.autograd.grad(out.square().sum(), [x, *net.parameters()])
        functional.reset_net(net)
        outputs.append((out, gradients, net(x)))
    torch.testing.assert_close(outputs[0][0], outputs[1][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs[0][2], outputs[1][2], atol=1e-5, rtol=1e-5)
    for a, b in zip(outputs[0][1], outputs[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * (1 + b.abs().max().item()), rtol=1e-4)
    assert outputs[0][0].std() > 0.01


@pytest.mark.parametrize("name", NEURONS)
def test_single_step_mode_in_their_network(name: str) -> None:
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    net = _network(NEURONS[name], "s").eval()
    peer = _network(lambda: _peer(name), "s").eval()
    assert [m.step_mode for m in net.modules() if isinstance(m, LIF | IF | IntegerLIF)] == ["s", "s"]
    x = _input()
    with torch.no_grad():
        first, theirs = [torch.stack([n(x_t) for x_t in x]) for n in (net, peer)]
        carried = torch.stack([net(x_t) for x_t in x])
        functional.reset_net(net)
        again = torch.stack([net(x_t) for x_t in x])
    torch.testing.assert_close(first, theirs, atol=1e-5, rtol=1e-5)
    assert torch.equal(first, again)
    assert not torch.equal(first, carried), "state was not carried, so reset_net did nothing"
    functional.reset_net(net)
    assert all(m.v is None for m in net.modules() if isinstance(m, IF | IntegerLIF))


def test_their_reset_and_step_modes_are_quiet_on_our_neurons(capfd: pytest.CaptureFixture[str]) -> None:
    # SpikingJelly logs a warning for foreign neurons, on a logger that it keeps switched off.
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    net = _network(LIF, "m")
    functional.reset_net(net)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("attention", ["sdsa1", "sdsa3", "sdsa4"])
def test_their_neurons_in_our_model(attention: str) -> None:
    sj = pytest.importorskip("spikingjelly.activation_based.neuron")

    def make_peer(v_threshold: float) -> nn.Module:
        return sj.LIFNode(tau=2.0, v_threshold=v_threshold, detach_reset=True, step_mode="m")

    torch.manual_seed(1)
    ours = create_model("spikeformer_v2", make_neuron=neuron_factory("lif"), attention=attention)
    theirs = create_model("spikeformer_v2", make_neuron=make_peer, attention=attention)
    _enliven(ours)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    outs = [model(x) for model in (ours, theirs)]
    assert torch.equal(outs[0], outs[1])
    assert outs[0].std() > 0.01
    gradients = [
        torch.autograd.grad(out.square().sum(), model.stem.parameters())
        for out, model in zip(outs, (ours, theirs), strict=True)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * (1 + b.abs().max().item()), rtol=1e-3)

    ours.eval()
    theirs.eval()
    with torch.no_grad():
        again = theirs(x)
        assert torch.equal(again, theirs(x))  # their state does not leak into the next pass
        assert torch.equal(again, ours(x))
        merged = merge_model("spikeformer_v2", theirs.double())(x.double())
        torch.testing.assert_close(merged, theirs(x.double()), atol=1e-9, rtol=0)


def test_our_reset_reaches_their_neurons() -> None:
    sj = pytest.importorskip("spikingjelly.activation_based.neuron")
    net = nn.Sequential(nn.Linear(3, 3), sj.LIFNode(step_mode="m"))
    net(torch.ones(2, 3))
    assert isinstance(net[1].v, Tensor)
    reset(net)
    assert net[1].v == 0.0
    reset(net[1])


@pytest.mark.parametrize("step_mode", ["m", "s"])
@pytest.mark.parametrize("name", NEURONS)
def test_copy_pickle_and_state_dict_after_a_forward(name: str, step_mode: str) -> None:
    net = nn.Sequential(nn.Linear(3, 5), NEURONS[name](step_mode=step_mode))
    x = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(3)) * 3
    before = net(x)
    assert before.requires_grad  # the state of a single-step neuron carries a graph now
    assert not any("v" in key.split(".") for key in net.state_dict())
    twin = copy.deepcopy(net)
    assert torch.equal(twin[1].v, net[1].v)
    assert not twin[1].v.requires_grad
    assert twin[1].v is not net[1].v
    torch.save(net, io.BytesIO())

    fresh = nn.Sequential(nn.Linear(3, 5), NEURONS[name](step_mode=step_mode))
    fresh.load_state_dict(net.state_dict(), strict=True)
    reset(twin)
    assert torch.equal(fresh(x), before)
    assert torch.equal(twin(x), before)


def test_single_step_training_after_a_copy_still_has_its_graph() -> None:
    neuron = LIF(step_mode="s")
    x = torch.full((2,), 0.9, requires_grad=True)
    neuron(x)
    copy.deepcopy(neuron)
    neuron(torch.full((2,), 0.9)).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2, 3), (5,), (3, 0, 4), (2, 1, 3, 5, 7), (7, 1, 1, 1)])
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, requires_grad=True)
    neuron = NEURONS[name]()
    spikes = neuron(x)
    spikes.sum().backward()
    assert spikes.shape == x.shape == x.grad.shape
    assert neuron.v.shape == x.shape[1:]


@pytest.mark.parametrize("name", ["if", "lif", "plif", "ilif", "relu"])
@pytest.mark.parametrize(("timesteps", "batch", "size"), [(1, 1, 16), (2, 3, 13), (3, 0, 16), (2, 1, 9)])
def test_model_shapes(name: str, timesteps: int, batch: int, size: int) -> None:
    model = create_model("spikeformer_v2", make_neuron=neuron_factory(name), timesteps=timesteps).eval()
    x = torch.rand(batch, 1, size, size + 2)
    assert model(x).shape == (batch, 10)
    assert model.forward_steps(x).shape == (timesteps, batch, 10)
    assert merge_model("spikeformer_v2", model)(x).shape == (batch, 10)


@pytest.mark.parametrize("name", ["if", "lif", "plif", "ilif", "relu"])
def test_autocast_bfloat16(name: str) -> None:
    torch.manual_seed(0)
    model = create_model("spikeformer_v2", make_neuron=neuron_factory(name), timesteps=2)
    x = torch.rand(4, 1, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()
    logits.float().square().sum().backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(g.dtype == torch.float32 for g in gradients)
    assert all(g.isfinite().all() for g in gradients)
    states = {m.v.dtype for m in model.modules() if isinstance(m, IF | IntegerLIF)}
    assert states <= {torch.bfloat16, torch.float32}
