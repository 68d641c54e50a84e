"""Fine-tuning: a converted network learns from labels and from its float parent."""

from __future__ import annotations

import copy
import functools
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from hardware_models.errors import InputError, RunError
from neuro.coding.calibrate import CalibrationWarning, calibrate
from neuro.coding.fine_tune import distil, fine_tune
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit
from neuro.training.settings import TrainingSettings
from quant.capture import Captured, capture

CLASSES = 4


def pictures(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with one brighter quarter, which is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % CLASSES
    images = torch.rand(samples, 1, 8, 8, generator=generator) * 0.6
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[:, row : row + 4, column : column + 4] += 0.4
    return images, labels


@functools.cache
def parent() -> Captured:
    """A float network that knows the task."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 2), nn.GELU(), nn.Flatten(), nn.Linear(32, CLASSES)
    )
    images, labels = pictures(128, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return capture(model.eval(), images[:2])


def coarse() -> SpikingNetwork:
    """Its spiking form, at so few timesteps and levels that much is lost."""
    network = to_spiking(parent(), Scheme("rate", "ternary", 1), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        calibrate(network, [(pictures(64, 1)[0],)], method="max")
    return network


@torch.no_grad()
def accuracy(network: nn.Module, seed: int = 2) -> float:
    images, labels = pictures(256, seed)
    return float((network(images).argmax(1) == labels).float().mean())


def dataset() -> Dataset:
    train, test = (TensorSplit(*pictures(256, seed), Normalise((0.0,), (1.0,))) for seed in (1, 2))
    return Dataset("quarters", "made here", tuple("abcd"), 1, 8, train, test)


def test_labels_raise_the_accuracy_and_lower_the_loss() -> None:
    network = coarse()
    before = accuracy(network)
    assert before < accuracy(parent().graph) - 0.1, "there is something to win back"
    history = fine_tune(network, dataset(), TrainingSettings(epochs=6, learning_rate=5e-3, evaluate_every=6))
    assert history[-1].loss < 0.7 * history[0].loss
    assert 1 - accuracy(network) < 0.5 * (1 - before)
    assert history[-1].test_accuracy == pytest.approx(accuracy(network))


def test_the_float_parent_teaches_without_labels() -> None:
    network = coarse()
    before, images = accuracy(network), pictures(128, 3)[0]
    weights = {name: value.clone() for name, value in parent().graph.state_dict().items()}
    with torch.no_grad():
        error = (network(images) - parent().graph(images)).norm()
    losses = distil(network, parent(), [(part,) for part in images.split(32)], epochs=12, learning_rate=5e-3)
    assert len(losses) == 12
    assert losses[-1] < 0.7 * losses[0]
    with torch.no_grad():
        assert (network(images) - parent().graph(images)).norm() < 0.8 * error
    assert accuracy(network) > before + 0.05
    for name, value in parent().graph.state_dict().items():
        assert torch.equal(value, weights[name]), "the parent is left as it is"


def test_a_network_that_loses_nothing_has_nothing_to_learn() -> None:
    network = to_spiking(parent(), Scheme("differential", "ideal", 1), 2)
    (loss,) = distil(network, parent(), [(pictures(16, 3)[0],)], learning_rate=0.0)
    assert loss < 1e-8


def test_every_weight_gets_a_gradient_through_all_timesteps() -> None:
    network = to_spiking(parent(), Scheme(), 6, piece=4)
    calibrate(network, [(pictures(64, 1)[0],)])
    network(pictures(16, 3)[0]).square().sum().backward()
    gradients = [one.grad for one in network.parameters()]
    assert len(gradients) == 6
    assert all(one is not None and one.abs().sum() > 0 for one in gradients)


def test_the_gradient_is_nearly_that_of_the_float_network_where_spikes_are_fine() -> None:
    """Straight-through: with spikes of little error the surrogate gradient is the float network's own."""
    network, plain = to_spiking(parent(), Scheme(), 12), copy.deepcopy(parent().graph)
    images = pictures(64, 1)[0]
    calibrate(network, [(images,)], method="max")
    network(images).square().sum().backward()
    plain(images).square().sum().backward()
    found = torch.cat([one.grad.flatten() for one in network.parameters() if one.grad is not None])
    wanted = torch.cat([one.grad.flatten() for one in plain.parameters() if one.grad is not None])
    assert found.norm() == pytest.approx(float(wanted.norm()), rel=0.2)


def test_bad_input() -> None:
    network, images = coarse(), pictures(8, 1)[0]
    with pytest.raises(InputError, match="0 batches were given for 1 epochs"):
        distil(network, parent(), [])
    with pytest.raises(InputError, match="for 0 epochs"):
        distil(network, parent(), [(images,)], epochs=0)
    with pytest.raises(RunError, match="lower learning_rate"):
        distil(network, parent(), [(images,)], epochs=5, learning_rate=math.inf)
    for one in network.parameters():
        one.requires_grad_(False)
    with pytest.raises(InputError, match="no weight that requires a gradient"):
        distil(network, parent(), [(images,)])
