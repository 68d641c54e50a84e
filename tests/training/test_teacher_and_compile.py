"""A teacher's share of the loss, and a compiled training against the plain one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import PerStep, TwoParameters, striped_images, stripes

from hardware_models.errors import InputError
from neuro.training import TrainingSettings, train
from neuro.training.losses import distillation

ONE_STEP: dict[str, Any] = {"epochs": 1, "batch_size": 32, "warmup_epochs": 0, "learning_rate": 0.1}


def probabilities(logits: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def divergence(teacher: list[float], answer: list[float]) -> float:
    """sum p log(p / q), of one sample."""
    pairs = zip(probabilities(teacher), probabilities(answer), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs)


def test_distillation_is_the_divergence_of_the_means_over_time() -> None:
    generator = torch.Generator().manual_seed(2)
    logits, teacher = (torch.randn(*shape, generator=generator) for shape in ((3, 4, 5), (1, 4, 5)))
    mean = logits.mean(0).tolist()
    expected = sum(divergence(teacher[0, b].tolist(), mean[b]) for b in range(4)) / 4
    assert distillation(logits, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_distillation_of_the_teachers_own_answer_is_zero() -> None:
    logits = torch.randn(1, 4, 5)
    assert distillation(logits, logits).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_shared_between_labels_and_teacher(weight: float) -> None:
    settings = TrainingSettings(**ONE_STEP, distillation=weight)
    history = train(TwoParameters(0.3, -0.2), stripes(), settings, progress=None, teacher=TwoParameters(-1.0, 0.5))
    images, labels = striped_images(32, 0)
    of_labels = of_teacher = 0.0
    for x, label in zip(((images - 0.5) / 0.5).mean((1, 2, 3)).tolist(), labels.tolist(), strict=True):
        answer = [0.3 * x, -0.2]
        of_labels -= math.log(probabilities(answer)[label]) / 32
        of_teacher += divergence([-1.0 * x, 0.5], answer) / 32
    assert history[0].loss == pytest.approx((1 - weight) * of_labels + weight * of_teacher, rel=1e-4)


def test_a_teacher_alone_is_followed_whatever_the_labels_say() -> None:
    class Lying(nn.Module):
        """Calls everything lying."""

        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[-4.0, 4.0]]).expand(images.shape[1], 2)

    model = PerStep()
    settings = TrainingSettings(epochs=20, batch_size=16, learning_rate=3e-2, distillation=1.0)
    train(model, stripes(), settings, progress=None, teacher=Lying())
    images = next(stripes().test.batches(16, 3))[0]
    assert bool((model(images).argmax(-1) == 1).all())


def test_a_teacher_is_left_as_it_was() -> None:
    teacher = nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(1), nn.Flatten(1), nn.LazyLinear(2))
    teacher(torch.randn(1, 4, 1, 8, 8).flatten(0, 1))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = teacher

        def forward(self, images: Tensor) -> Tensor:
            return self.teacher(images.mean(0))

    train(PerStep(), stripes(), TrainingSettings(**ONE_STEP), progress=None, teacher=Given())
    assert all(bool((value == before[name]).all()) for name, value in teacher.state_dict().items())
    assert not teacher.training


class Frames(PerStep):
    """Notes how many timesteps it was shown."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps, self.shown = timesteps, set[int]()  # type: ignore[misc]

    def forward(self, images: Tensor) -> Tensor:
        self.shown.add(len(images))
        return super().forward(images)


@pytest.mark.parametrize("wanted", [1, 4])
def test_a_teacher_sees_still_images_for_its_own_t(wanted: int) -> None:
    teacher = Frames(wanted)
    phases = [{"timesteps": 1, "epochs": 1}, {"timesteps": 3, "epochs": 1}]
    settings = TrainingSettings(**ONE_STEP | {"epochs": 2, "mixup": 0.5}, phases=phases)
    train(PerStep(), stripes(), settings, progress=None, teacher=teacher)
    assert teacher.shown == {wanted}


def test_a_teacher_of_recordings_has_to_have_their_t() -> None:
    data = stripes()
    for split in (data.train, data.test):
        batches = split.batches  # type: ignore[union-attr]

        def frames(*args: Any, batches: Any = batches, **named: Any) -> Iterator[tuple[Tensor, Tensor]]:
            return ((images.clone(), labels) for images, labels in batches(*args, **named))

        split.batches = frames  # type: ignore[union-attr,method-assign]
    teacher = Frames(3)
    train(PerStep(), data, TrainingSettings(**ONE_STEP), progress=None, teacher=teacher)
    assert teacher.shown == {3}
    with pytest.raises(InputError, match="the teacher has T = 1, but these recordings are cut into 3 frames"):
        train(PerStep(), data, TrainingSettings(**ONE_STEP), progress=None, teacher=Frames(1))


@pytest.mark.slow
@pytest.mark.parametrize("make", [PerStep, TwoParameters])
def test_a_compiled_training_is_the_same(make: type[nn.Module]) -> None:
    losses = []
    for compiled in (False, True):
        settings = TrainingSettings(epochs=2, batch_size=16, compile=compiled, evaluate_every=1)
        history = train(make(), stripes(), settings, progress=None)
        losses.append([record.loss for record in history] + [record.test_accuracy for record in history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_is_compiled_gives_the_logits_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda run: compiled.append(run) or run)
    train(PerStep(), stripes(), TrainingSettings(**ONE_STEP, compile=True), progress=None)
    (run,) = compiled
    assert run(torch.randn(3, 4, 1, 8, 8)).shape == (3, 4, 2)
