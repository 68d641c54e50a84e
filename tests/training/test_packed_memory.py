"""Packed activations: gradients equal to the last bit, little kept, and nothing done twice."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from toys import spiking_network, stripes

from hardware_models.errors import InputError, RunError
from neuro.neurons import IF, LIF, PLIF, IntegerLIF
from neuro.training import TrainingSettings, train
from neuro.training.packed_memory import PackedMemory, packed_activations

Built = tuple[nn.Module, Tensor]


@pytest.fixture(autouse=True)
def every_size_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.training.remade.SMALL", 64)


def step(build: Callable[[], Built], memory: Any, dtype: torch.dtype | None = None) -> tuple[Any, ...]:
    """Loss, gradients and buffers of one step."""
    torch.manual_seed(0)
    model, x = build()
    x.requires_grad_()
    with memory, torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(x).float().square().mean()
    loss.backward()
    return loss, x.grad, [p.grad for p in model.parameters()], list(model.buffers())


def assert_equal(left: Any, right: Any) -> None:
    torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


def spikeformer() -> Built:
    return spiking_network(drop_path=0.5), torch.rand(4, 1, 8, 8)


def spiking(make_neuron: Callable[[], nn.Module]) -> Callable[[], Built]:
    def build() -> Built:
        layers = [nn.Linear(24, 40), make_neuron(), nn.Dropout(0.3), nn.Linear(40, 30), make_neuron()]
        return nn.Sequential(*layers), 2 * torch.randn(4, 5, 24)

    return build


class Awkward(nn.Module):
    """In-place operators, views, several users of one tensor, buffers that are read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.to(memory_format=torch.channels_last))
        y = self.norm(x)
        assert self.norm.running_mean is not None
        y = y - (self.norm.running_mean * self.norm.weight).view(1, -1, 1, 1)
        y = F.relu(y, inplace=True)
        scratch = torch.zeros_like(y)
        z = (y + scratch).sigmoid()
        scratch += 2
        z = z * scratch
        z[:, 1] *= 0.5
        halves = z.chunk(2, 1)
        z = torch.cat([halves[0].sigmoid(), halves[1].exp()], 1)
        return self.last(z) @ z.transpose(-2, -1)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 24), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(checkpoint(lambda y: F.dropout(self.first(y), 0.5).tanh(), x, use_reentrant=False))


BUILDS: dict[str, Callable[[], Built]] = {
    "spikeformer": spikeformer,
    "lif": spiking(LIF),
    "if": spiking(IF),
    "plif": spiking(PLIF),
    "ilif": spiking(IntegerLIF),
    "own threshold": spiking(lambda: LIF(v_threshold=torch.tensor(0.7))),  # type: ignore[arg-type]
    "awkward": lambda: (Awkward(), torch.randn(2, 4, 6, 6)),
    "attention": lambda: (nn.TransformerEncoderLayer(24, 4, 48, 0.1), torch.randn(5, 3, 24)),
    "checkpoint": lambda: (Checkpointed(), torch.randn(5, 24)),
}


@pytest.mark.parametrize("recompute", [0, 1, 4])
@pytest.mark.parametrize("name", BUILDS)
def test_gradients_are_equal_to_the_last_bit(name: str, recompute: int) -> None:
    plain = step(BUILDS[name], torch.enable_grad())
    packed = step(BUILDS[name], packed_activations(recompute))
    assert_equal(packed, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype: torch.dtype) -> None:
    plain = step(spikeformer, torch.enable_grad(), dtype)
    assert_equal(step(spikeformer, packed_activations(), dtype), plain)


class Saved:
    """Bytes of what autograd saves, every storage once, without parameters."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}

    def __enter__(self) -> Saved:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _note(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            self._storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())


def test_a_spikeformer_keeps_less_than_a_tenth() -> None:
    model = spiking_network()
    x = torch.rand(32, 1, 8, 8)
    with Saved() as saved:
        plain = model(x).sum()
    with packed_activations() as memory:
        packed = model(x).sum()
    assert memory.kept_bytes(besides=model.parameters()) < saved.bytes() / 10
    with packed_activations(0) as bits_only:
        bits = model(x).sum()
    assert bits_only.kept_bytes(besides=model.parameters()) < 0.85 * saved.bytes()
    del plain, packed, bits
    gc.collect()
    assert memory.kept_bytes() == 0


@pytest.mark.parametrize("recompute", [0, 4])
def test_users_of_the_same_spikes_share_one_copy(recompute: int) -> None:
    neuron, layers = LIF(), [nn.Linear(64, 8) for _ in range(3)]
    x = torch.randn(4, 16, 64)
    with packed_activations(recompute) as memory:
        s = neuron(3 * x.requires_grad_())
        out = sum(layer(s.flatten(0, 1)).sum() + layer(s[1]).sum() for layer in layers)
        del s
    bits = 4 * 16 * 64 // 8
    weights = [p for layer in layers for p in layer.parameters()]
    # The neuron's own input is an image to this network: kept, or made from x.
    assert memory.kept_bytes(besides=weights) == bits + 4 * 16 * 64 * 4
    assert isinstance(out, Tensor)
    out.backward()
    assert memory.kept_bytes() == 0


def test_two_passes_before_one_backward() -> None:
    def gradients(memory: Callable[[], Any]) -> list[Tensor | None]:
        torch.manual_seed(1)
        model = spiking_network()
        with memory():
            first = model(torch.rand(4, 1, 8, 8)).square().sum()
        with memory():
            second = model(torch.rand(4, 1, 8, 8)).square().sum()
        (first + second).backward()
        return [*(p.grad for p in model.parameters()), *model.buffers()]

    assert_equal(gradients(packed_activations), gradients(torch.enable_grad))


def test_backward_twice_and_in_the_block() -> None:
    def gradients(memory: Any) -> list[Tensor | None]:
        torch.manual_seed(1)
        model = spiking_network()
        with memory:
            loss = model(torch.rand(4, 1, 8, 8)).square().sum()
            loss.backward(retain_graph=True)
            loss.backward()
        return [p.grad for p in model.parameters()]

    assert_equal(gradients(packed_activations()), gradients(torch.enable_grad()))


def test_second_derivatives() -> None:
    def second(memory: Any) -> Tensor:
        torch.manual_seed(1)
        layer, x = nn.Linear(8, 8), torch.randn(4, 8, requires_grad=True)
        with memory:
            y = layer(layer(x).tanh()).sin().sum()
        (first,) = torch.autograd.grad(y, x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    assert_equal(second(packed_activations(1)), second(torch.enable_grad()))


def test_what_was_changed_is_not_used() -> None:
    layer = nn.Linear(64, 64)
    with packed_activations():
        loss = layer(layer(torch.randn(4, 64)).tanh()).sum()
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RunError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("recompute", [-1, 1.5, True, None])
def test_recompute_is_a_count(recompute: Any) -> None:
    with pytest.raises(InputError, match="whole number"), packed_activations(recompute):
        pass


def test_nothing_is_left_behind_after_an_error() -> None:
    def passes() -> Iterator[PackedMemory]:
        with packed_activations() as memory:
            yield memory
            raise KeyError

    with pytest.raises(KeyError):
        list(passes())
    neuron = LIF()
    neuron(torch.ones(4, 3))
    assert neuron.v is not None


def test_training_is_the_same() -> None:
    def losses(packed: bool) -> list[float]:
        settings = TrainingSettings(epochs=2, batch_size=16, packed_activations=packed)
        return [record.loss for record in train(spiking_network(drop_path=0.2), stripes(), settings, progress=None)]

    assert losses(True) == losses(False)
