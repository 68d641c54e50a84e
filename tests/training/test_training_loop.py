"""One step against a step by hand, and what a whole training does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from toys import CAPABLE, PerStep, TwoParameters, spiking_network, striped_images, stripes

from hardware_models.errors import InputError, RunError
from neuro.neurons import LIF
from neuro.training import TrainingSettings, accuracy, train

ONE_STEP: dict[str, Any] = {"epochs": 1, "batch_size": 32, "warmup_epochs": 0, "learning_rate": 0.1}


def settings(**given: Any) -> TrainingSettings:
    return TrainingSettings(**{"epochs": 4, "batch_size": 16, "learning_rate": 5e-3, **given})


def two_parameter_gradient(weight: float, bias: float) -> tuple[float, float, float]:
    """Mean cross-entropy of `TwoParameters` on the training stripes, and its gradient, by hand."""
    images, labels = striped_images(32, 0)
    loss = d_weight = d_bias = 0.0
    for x, label in zip(((images - 0.5) / 0.5).mean((1, 2, 3)).tolist(), labels.tolist(), strict=True):
        first, second = math.exp(weight * x), math.exp(bias)
        p = (first / (first + second), second / (first + second))
        loss -= math.log(p[label]) / 32
        d_weight += (p[0] - (label == 0)) * x / 32
        d_bias += (p[1] - (label == 1)) / 32
    return loss, d_weight, d_bias


def adamw_first_step(value: float, gradient: float, rate: float, decay: float) -> float:
    """AdamW's first step: after bias correction the moments are the gradient and its square."""
    return value * (1 - rate * decay) - rate * gradient / (abs(gradient) + 1e-8)


def test_one_step_is_adamw_by_hand_and_decays_weights_only() -> None:
    model = TwoParameters(0.3, -0.2)
    history = train(model, stripes(), settings(**ONE_STEP, weight_decay=0.5, clip_norm=None), progress=None)
    loss, d_weight, d_bias = two_parameter_gradient(0.3, -0.2)
    assert history[0].loss == pytest.approx(loss, rel=1e-5)
    assert history[0].learning_rate == pytest.approx(0.1)
    assert model.weight.item() == pytest.approx(adamw_first_step(0.3, d_weight, 0.1, 0.5), rel=1e-5)
    assert model.bias.item() == pytest.approx(adamw_first_step(-0.2, d_bias, 0.1, 0.0), rel=1e-5)


@pytest.fixture
def gradient_norms() -> Iterator[list[float]]:
    """The norm of the gradient that the optimizer sees, step by step."""
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.cat([g.flatten() for g in grads]).norm().item())

    handle = register_optimizer_step_pre_hook(note)
    yield norms
    handle.remove()


def test_the_gradient_is_clipped_before_the_step(gradient_norms: list[float]) -> None:
    train(spiking_network(), stripes(), settings(epochs=1, clip_norm=None), progress=None)
    free = list(gradient_norms)
    gradient_norms.clear()
    train(spiking_network(), stripes(), settings(epochs=1, clip_norm=free[0] / 10), progress=None)
    assert gradient_norms[0] == pytest.approx(free[0] / 10, rel=1e-3)
    assert len(free) == len(gradient_norms) == 2  # 32 samples in batches of 16


def test_an_unclipped_gradient_is_left_as_it_is(gradient_norms: list[float]) -> None:
    train(TwoParameters(), stripes(), settings(**ONE_STEP, clip_norm=None), progress=None)
    _, d_weight, d_bias = two_parameter_gradient(0.3, -0.2)
    assert gradient_norms == [pytest.approx(math.hypot(d_weight, d_bias), rel=1e-5)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", ["cross_entropy", "tet"])
def test_a_spiking_network_learns(loss: str, precision: str) -> None:
    model = spiking_network(widths=CAPABLE)
    given = settings(epochs=8, batch_size=8, learning_rate=1e-2, loss=loss, precision=precision, evaluate_every=3)
    history = train(model, stripes(train=64), given, progress=None)
    assert history[-1].loss < 0.6 * history[0].loss
    assert [record.epoch for record in history] == list(range(1, 9))
    assert [record.test_accuracy is not None for record in history] == [*[False, False, True] * 2, False, True]
    assert history[-1].train_accuracy >= 0.9
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert not model.training


def test_the_seed_decides_everything() -> None:
    def losses(seed: int) -> list[float]:
        history = train(spiking_network(drop_path=0.3), stripes(), settings(epochs=2), seed=seed, progress=None)
        return [record.loss for record in history]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_stochastic_depth_acts_in_training() -> None:
    def losses(drop_path: float) -> list[float]:
        model = spiking_network(drop_path=drop_path)
        return [record.loss for record in train(model, stripes(), settings(epochs=1), progress=None)]

    assert losses(0.0) != losses(0.9)


def test_no_epochs_train_nothing() -> None:
    model = TwoParameters(0.3, -0.2)
    assert train(model, stripes(), settings(epochs=0), progress=None) == []
    assert (model.weight.item(), model.bias.item()) == (pytest.approx(0.3), pytest.approx(-0.2))


def test_tet_needs_the_logits_of_every_timestep() -> None:
    with pytest.raises(InputError, match=r"TwoParameters does not give \(forward_steps\); use loss 'cross_entropy'"):
        train(TwoParameters(), stripes(), settings(loss="tet"), progress=None)
    assert train(PerStep(), stripes(), settings(loss="tet"), progress=None)


def test_unlabelled_data_are_refused() -> None:
    unlabelled = dataclasses.replace(stripes(), train=None, classes=())
    with pytest.raises(InputError, match="no labels to train on; use --epochs 0"):
        train(TwoParameters(), unlabelled, progress=None)


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    model = TwoParameters(weight=math.nan)
    with pytest.raises(RunError, match=r"the loss became nan in epoch 1, step 1; start a new run with a lower"):
        train(model, stripes(), checkpoint=tmp_path / "c.pt", progress=None)
    assert model.bias.item() == pytest.approx(-0.2)
    assert not list(tmp_path.iterdir())


class SilentOnNaN(nn.Module):
    """A neuron given NaN does not fire: the logits are finite, the gradient is not."""

    timesteps = 2

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 8)
        self.neuron = LIF()
        self.head = nn.Linear(8, 2)
        with torch.no_grad():
            self.first.weight[0, 0] = math.nan

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.neuron(self.first(images.flatten(2)))).mean(0)


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_a_gradient_that_is_not_finite_stops_before_the_step(clip_norm: float | None) -> None:
    model = SilentOnNaN()
    head = model.head.weight.detach().clone()
    with pytest.raises(RunError, match=r"the gradient became nan in epoch 1, step 1"):
        train(model, stripes(), settings(clip_norm=clip_norm), progress=None)
    assert torch.equal(model.head.weight, head)


def test_the_last_good_epoch_is_named_and_kept(tmp_path: Path) -> None:
    data, kept = stripes(), tmp_path / "kept.pt"
    model = TwoParameters()
    batches = data.train.batches  # type: ignore[union-attr]

    def ruined_in_the_second_epoch(*args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in batches(*args, **kwargs):
            yield (images * math.inf if kept.exists() else images), labels

    data.train.batches = ruined_in_the_second_epoch  # type: ignore[union-attr,method-assign]
    with pytest.raises(RunError, match=rf"in epoch 2, step 1; .*; epoch 1 is kept in {kept}\.$"):
        train(model, data, settings(), checkpoint=kept, progress=None)
    saved = torch.load(kept, weights_only=True)
    assert len(saved["history"]) == 1
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())


def test_accuracy_is_the_share_of_right_answers_and_leaves_neurons_at_rest() -> None:
    model = spiking_network().train()
    data = stripes(test=10)
    found = accuracy(model, data.test, 2, torch.device("cpu"), batch_size=4)
    with torch.no_grad():
        images, labels = next(iter(data.test.batches(10, 2)))
        right = (model.eval()(images).argmax(-1) == labels).sum().item()
    assert found == right / 10
    assert model.train().training
    accuracy(model, data.test, 2, torch.device("cpu"))
    assert model.training
    assert all(neuron.v is None for neuron in model.modules() if isinstance(neuron, LIF))
