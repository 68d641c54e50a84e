"""`Encoder`: spikes in the place of values, state between pieces, and what a network of encoders survives."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.coding.calibrate import calibrate
from neuro.coding.clock import Clock
from neuro.coding.coding import CODINGS
from neuro.coding.encoder import Encoder
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import Scheme, to_spiking
from neuro.coding.synapse import Current, Product
from quant.capture import SamplePlace, capture

FIRST = SamplePlace(0, 1, 2)


def encoder(clock: Clock, place: SamplePlace = FIRST, coding: str = "differential", **settings: object) -> Encoder:
    chosen = {"spikes": "ternary", "levels": 1} | settings
    return Encoder(place, clock, CODINGS[coding], **chosen)  # type: ignore[arg-type]


def test_spikes_worked_by_hand() -> None:
    """Two samples, three timesteps: the sum of ternary spikes of unit 1 follows the value, or t times the value."""
    x = torch.tensor([[2.0], [-0.4]]).repeat(3, 1)
    clock = Clock(0, 3, 3)
    assert encoder(clock)(x).view(3, 2).tolist() == [[1, 0], [1, 0], [0, 0]]
    by_rate = encoder(clock, coding="rate")(torch.tensor([[0.7], [-0.4]]).repeat(3, 1))
    assert by_rate.view(3, 2).tolist() == [[1, 0], [0, -1], [1, 0]]
    clock.shows_spikes = False
    values = encoder(clock, coding="rate")(torch.tensor([[0.7], [-0.4]]).repeat(3, 1))
    torch.testing.assert_close(values.view(3, 2), torch.tensor([[1, 0], [0.5, -0.5], [2 / 3, -1 / 3]]))


@pytest.mark.parametrize(("axis", "outer"), [(0, 1), (1, 1), (0, 2), (1, 3), (2, 2)])
def test_samples_may_lie_anywhere(axis: int, outer: int) -> None:
    """Each sample is encoded as it is alone, wherever the batch stands."""
    steps, batch = 4, 3
    numbers = torch.Generator().manual_seed(0)
    shape = [5, 5, 5]
    shape[axis] = outer * batch * 2
    one_step = torch.randn(shape, generator=numbers)
    place = SamplePlace(axis, outer, 3)
    x = place.join(torch.stack([one_step] * steps))
    spikes = encoder(Clock(0, steps, steps), place)(x)
    assert spikes.shape == x.shape
    alone = encoder(Clock(0, steps, steps), FIRST)(torch.cat([one_step.reshape(1, -1)] * steps))
    assert torch.equal(place.split(spikes, steps).reshape(steps, -1), alone)


def test_a_unit_for_each_channel() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).repeat(5, 1, 1, 1)
    neuron = encoder(Clock(0, 5, 5), SamplePlace(0, 1, 4))
    neuron.unit = torch.tensor([0.25, 0.5, 1.0]).view(3, 1, 1)
    spikes = neuron(x)
    for channel, unit in enumerate((0.25, 0.5, 1.0)):
        assert set(spikes[:, channel].abs().unique().tolist()) <= {0.0, unit}
        single = encoder(Clock(0, 5, 5), SamplePlace(0, 1, 3))
        single.unit = torch.tensor(unit)
        assert torch.equal(single(x[:, channel]), spikes[:, channel])


def test_state_is_kept_only_while_another_piece_follows() -> None:
    clock = Clock(0, 2, 4)
    neuron, x = encoder(clock), torch.full((2, 3), 2.6)
    first = neuron(x)
    assert neuron.sent is not None
    clock.first = 2
    then = neuron(x)
    assert neuron.sent is None
    whole = encoder(Clock(0, 4, 4))(torch.cat([x, x]))
    assert torch.equal(torch.cat([first, then]), whole)
    clock.first, neuron.sent = 0, torch.full((1, 3), 100.0)  # left by a run that was broken off
    assert torch.equal(neuron(x), first)


# --- whole networks ---


class Convolutional(nn.Module):
    """A product by elements between convolutions, one of them in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.head = nn.Conv2d(8, 8, 3, groups=4, padding=1, bias=False), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = x * torch.sigmoid(self.second(x))
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """Self-attention with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.project = nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, tokens, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        return x + self.project(y)


NETWORKS = {"convolutional": (Convolutional, (2, 3, 6, 6)), "attention": (Attention, (2, 5, 12))}
SCHEMES = {"differential": Scheme(), "rate": Scheme(coding="rate", spikes="ternary", levels=1)}


def made(name: str, scheme: Scheme, timesteps: int = 4, piece: int = 4) -> tuple[nn.Module, SpikingNetwork, Tensor]:
    """The float network, the spiking one and inputs."""
    torch.manual_seed(0)
    kind, shape = NETWORKS[name]
    model, x = kind().eval(), torch.randn(shape)
    return model, to_spiking(capture(model, x), scheme, timesteps, piece=piece), x


both = pytest.mark.parametrize("name", NETWORKS)
by_coding = pytest.mark.parametrize("coding", SCHEMES)


@torch.no_grad()
@both
@by_coding
def test_ideal_spikes_are_the_float_network(name: str, coding: str) -> None:
    """At every timestep, in pieces of any size, whether spikes are shown or not, and in the shape of any batch."""
    model, network, x = made(name, Scheme(coding=coding, spikes="ideal"), timesteps=5)
    for piece in (1, 2, 5):
        network.piece = piece
        for watched in (False, True):
            handles = [network.graph.register_forward_hook(lambda *_: None)] if watched else []
            outputs = torch.cat(list(network.over_time(torch.cat([x, 2 * x]))))
            for handle in handles:
                handle.remove()
            torch.testing.assert_close(outputs, model(torch.cat([x, 2 * x])).expand_as(outputs), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@both
@by_coding
def test_what_is_watched_is_driven_by_spikes_and_is_the_same(name: str, coding: str) -> None:
    _, network, x = made(name, SCHEMES[coding], timesteps=6, piece=3)
    unit = 1.0 if coding == "differential" else 0.37  # no value lies right between two numbers of spikes
    for one in network.encoders().values():
        one.unit.fill_(unit)
    unseen = torch.cat(list(network.over_time(x)))
    assert not network.clock.shows_spikes
    sizes: list[float] = []
    hooks = [
        one.register_forward_hook(lambda _, __, spikes: sizes.extend(spikes.abs().unique().tolist()))
        for one in network.encoders().values()
    ]
    torch.testing.assert_close(torch.cat(list(network.over_time(x))), unseen, rtol=1e-4, atol=1e-5)
    for hook in hooks:
        hook.remove()
    allowed = (
        [2.0**-k for k in range(SCHEMES[coding].levels)] if coding == "differential" else [torch.tensor(unit).item()]
    )
    assert set(sizes) - {0.0}
    assert set(sizes) <= {0.0, *allowed}


@torch.no_grad()
@both
@by_coding
def test_runs_leave_nothing_behind(name: str, coding: str) -> None:
    _, network, x = made(name, SCHEMES[coding], timesteps=5, piece=2)
    once = network(x)
    next(network.over_time(3 * x))  # broken off
    assert torch.equal(network(x), once)
    stateful = [m for m in network.modules() if isinstance(m, Encoder | Current | Product)]
    assert all(getattr(m, name, None) is None for m in stateful for name in ("sent", "arrived", "sums"))


@torch.no_grad()
@both
def test_copies_and_other_dtypes(name: str) -> None:
    model, network, x = made(name, SCHEMES["differential"])
    once = network(x)
    twin = copy.deepcopy(network)
    assert torch.equal(twin(x), once)
    assert {id(e.clock) for e in twin.encoders().values()} == {id(twin.clock)} != {id(network.clock)}
    for parameter in twin.parameters():
        parameter.zero_()
    assert torch.equal(network(x), once)
    ideal = made(name, Scheme(spikes="ideal"))[1].double()
    torch.testing.assert_close(ideal(x.double()), model.double()(x.double()), rtol=1e-6, atol=1e-8)
    half = network.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half - once).norm() < 0.1 * once.norm()


@torch.no_grad()
@both
def test_state_dict_brings_the_calibration_along(name: str) -> None:
    scheme = Scheme(spikes="binary", levels=1)  # a neuron that has to send what is negative becomes ternary
    _, network, x = made(name, scheme)
    calibrate(network, [(x,)], per_channel=True)
    _, fresh, _ = made(name, scheme)
    for parameter in fresh.parameters():
        parameter.zero_()
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(x), network(x))
    assert any(one.unit.numel() > 1 for one in fresh.encoders().values())
    assert "ternary" in {one.spikes for one in fresh.encoders().values()}


@torch.no_grad()
@both
@by_coding
def test_compiled_and_exported(name: str, coding: str) -> None:
    _, network, x = made(name, SCHEMES[coding])
    once = network(x)
    torch.testing.assert_close(torch.compile(network, fullgraph=True, backend="aot_eager")(x), once)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    exported = torch.export.export(network, (x,), dynamic_shapes=((batch,),))
    more = torch.cat([x, 2 * x, x])
    torch.testing.assert_close(exported.module()(more), network(more))


@both
def test_training_reaches_every_parameter(name: str) -> None:
    model, network, x = made(name, Scheme(spikes="ideal"))
    network(x).square().sum().backward()
    model(x).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
    weights = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = [p.grad for p in network.parameters() if p.grad is not None]
    head = weights["head.weight" if name == "convolutional" else "project.weight"]
    # The output after T timesteps is computed from the last one, whose values are those of the float network.
    assert any(g.shape == head.shape and torch.allclose(g, head, rtol=1e-3, atol=1e-5) for g in found)


@torch.no_grad()
@both
def test_a_network_chooses_its_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one size, and the smaller the larger the batch is; the output does not depend on them."""
    _, network, x = made(name, SCHEMES["differential"], timesteps=9)
    whole = torch.cat(list(network.over_time(x)))
    network.piece = None
    assert [len(piece) for piece in network.over_time(x)] == [9]
    largest = {"convolutional": 8 * 6 * 6, "attention": 5 * 36}[name]
    monkeypatch.setattr("neuro.coding.network.PIECE_BYTES", 4 * largest * 2 * 4)  # two samples at four timesteps
    pieces = list(network.over_time(x))
    assert [len(piece) for piece in pieces] == [3, 3, 3]
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-4, atol=1e-5)
    many = torch.cat([x, 2 * x, -x])
    assert [len(piece) for piece in network.over_time(torch.cat([many] * 3))] == [1] * 9
    at_last = list(network.over_time(many))[-1][-1]
    torch.testing.assert_close(network(many), at_last, rtol=1e-4, atol=1e-5)  # in groups of samples
