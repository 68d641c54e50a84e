"""The one training loop: surrogate gradients for spiking networks, plain gradients for their float parents."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hardware_models.errors import InputError, RunError
from neuro.data.base import Dataset, Split
from neuro.records import EpochRecord
from neuro.training.checkpoint import load_checkpoint, save_checkpoint
from neuro.training.evaluate import accuracy
from neuro.training.losses import cross_entropy, distillation, tet
from neuro.training.packed_memory import packed_activations
from neuro.training.schedule import warmup_cosine
from neuro.training.settings import TrainingSettings

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    model: nn.Module,
    dataset: Dataset,
    settings: TrainingSettings | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: str | None = "training",
    teacher: nn.Module | None = None,
) -> list[EpochRecord]:
    """Train `model` in place on `dataset.train` and evaluate it on `dataset.test`.

    The model takes time-first batches `[T, B, C, H, W]` with T = `model.timesteps` (1 where it has none) and
    returns `[B, K]`; one with `forward_steps`, returning `[T, B, K]`, can be trained with TET. The same seed
    gives the same losses on the same machine, also when a training is interrupted and resumed.

    Args:
        model: the network; left on `device`, in evaluation mode.
        dataset: labelled data.
        settings: epochs, rates and the like.
        seed: of the sample order, augmentation and stochastic depth.
        device: where to train.
        checkpoint: file that is written after every epoch; None keeps none.
        resume: continue from `checkpoint` if it is there.
        progress: label of the progress bar; None shows none.
        teacher: a network whose answers the loss asks for too (`settings.distillation`); left in evaluation mode.

    Returns:
        One record an epoch.

    Raises:
        InputError: unlabelled data, or a checkpoint of other settings.
        RunError: the loss or its gradient became NaN or infinite; the checkpoint of the last good epoch is kept.
    """
    settings = settings or TrainingSettings()
    if dataset.train is None:
        raise InputError(f"data set {dataset.name!r} has no labels to train on; use --epochs 0 to only measure.")
    torch.manual_seed(seed)
    model.to(device)
    if teacher is not None:
        teacher.to(device).eval()
    run = _Training(model, dataset.train, settings, torch.device(device), seed, checkpoint, teacher)
    if resume and checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    epochs = range(len(run.history), settings.epochs)
    bar = tqdm(
        epochs,
        desc=progress,
        unit="epoch",
        disable=None if progress else True,
        initial=len(run.history),
        total=settings.epochs,
    )
    for epoch in bar:
        record = run.epoch(epoch, lambda loss: bar.set_postfix_str(f"loss {loss:.3f}"))
        last = epoch == settings.epochs - 1
        if last or (epoch + 1) % settings.evaluate_every == 0:
            record.test_accuracy = accuracy(model, dataset.test, run.timesteps, run.device)
        run.history.append(record)
        run.save()
    model.eval()
    return run.history


class _NotFiniteError(ArithmeticError):
    """A loss or a gradient that is NaN or infinite."""


@dataclass
class _Training:
    """The state of a training between epochs."""

    model: nn.Module
    split: Split
    settings: TrainingSettings
    device: torch.device
    seed: int
    checkpoint: Path | None = None
    teacher: nn.Module | None = None
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timesteps = int(getattr(self.model, "timesteps", 1))
        self.steps_per_epoch = math.ceil(len(self.split) / self.settings.batch_size)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.model, self.settings.weight_decay), fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == "fp16")
        self.loss = _loss(self.model, self.settings)
        run = _steps(self.model)
        self.logits: Callable[[Tensor], Tensor] = torch.compile(run) if self.settings.compile else run

    def epoch(self, epoch: int, report: Callable[[float], Any]) -> EpochRecord:
        """Train one epoch and return its record."""
        started = time.perf_counter()
        self.model.train()
        total, right, seen, rate = 0.0, 0, 0, 0.0
        batches = self.split.batches(self.settings.batch_size, self.timesteps, shuffle_seed=self.seed * 100_003 + epoch)
        for index, (images, labels) in enumerate(batches):
            rate = self._set_learning_rate(epoch * self.steps_per_epoch + index)
            labels = labels.to(self.device)
            try:
                loss, correct = self._step(images.to(self.device), labels)
            except _NotFiniteError as error:
                raise RunError(self._diverged(f"{error} in epoch {epoch + 1}, step {index + 1}")) from error
            total, right, seen = total + loss * len(labels), right + correct, seen + len(labels)
            report(loss)
        return EpochRecord(
            epoch=epoch + 1,
            loss=total / seen,
            train_accuracy=right / seen,
            test_accuracy=None,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        dtype = _DTYPES.get(self.settings.precision)
        memory = packed_activations() if self.settings.packed_activations else nullcontext()
        with torch.autocast(self.device.type, dtype) if dtype else nullcontext(), memory:
            logits = self.logits(images).float()
            loss = self._with_teacher(self.loss(logits, labels), logits, images)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm or math.inf)
        self._check_finite(loss, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item(), int((logits.detach().mean(0).argmax(-1) == labels).sum())

    def _check_finite(self, loss: Tensor, gradient_norm: Tensor) -> None:
        """Stop before a step that would ruin the weights.

        A neuron given NaN stays silent, so the loss can be finite where the gradient is not. While the scale of an
        fp16 loss can still be lowered, an overflowing gradient is no fault: the scaler leaves out the step.
        """
        if not loss.isfinite():
            raise _NotFiniteError(f"the loss became {loss.item()}")
        if not gradient_norm.isfinite() and self.scaler.get_scale() <= 1:
            raise _NotFiniteError(f"the gradient became {gradient_norm.item()}")

    def _diverged(self, what: str) -> str:
        """The sentence for a training that cannot go on: what to change, and what there is to keep."""
        half = self.settings.precision == "fp16"
        advice = "training.precision=bf16" if half else "a lower training.learning_rate or training.clip_norm"
        kept = f"; epoch {len(self.history)} is kept in {self.checkpoint}" if self.history and self.checkpoint else ""
        return f"{what}; start a new run with {advice}{kept}."

    def _with_teacher(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        if self.teacher is None:
            return loss
        with torch.no_grad():
            answer = self.teacher(images).unsqueeze(0).float()
        weight = self.settings.distillation
        return (1 - weight) * loss + weight * distillation(logits, answer)

    def _set_learning_rate(self, step: int) -> float:
        s = self.settings
        warmup = round(s.warmup_epochs * self.steps_per_epoch)
        rate = warmup_cosine(step, s.epochs * self.steps_per_epoch, warmup, s.learning_rate, s.min_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def save(self) -> None:
        """Write everything that the next epoch depends on."""
        if self.checkpoint is None:
            return
        state = {
            "settings": self._identity(),
            "history": [record.model_dump() for record in self.history],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(self.checkpoint, state)

    def restore(self, path: Path) -> None:
        """Continue where `path` was saved."""
        state = load_checkpoint(path)
        saved = state.get("settings", {})
        if saved != self._identity():
            changed = sorted(k for k, v in self._identity().items() if saved.get(k) != v)
            raise InputError(
                f"{path} was trained with other settings ({', '.join(changed)}); resume with the same ones or choose "
                "another --out."
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.history = [EpochRecord.model_validate(record) for record in state["history"]]
            torch.set_rng_state(state["rng"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} belongs to another network or is damaged; resume with the same model settings, or delete it "
                "to start this training anew."
            ) from error

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a resumed training to be the same training."""
        without_effect = {"evaluate_every", "packed_activations", "compile"}
        return {**self.settings.model_dump(exclude=without_effect), "seed": self.seed, "samples": len(self.split)}


def _steps(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What gives logits of every timestep, `[T, B, K]`; `[1, B, K]` of a model that only gives their mean."""
    steps: Callable[[Tensor], Tensor] | None = getattr(model, "forward_steps", None)
    return steps if steps is not None else lambda images: model(images).unsqueeze(0)


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights of two axes and more; leave out biases, norms, learned thresholds and time constants."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _loss(model: nn.Module, settings: TrainingSettings) -> Callable[[Tensor, Tensor], Tensor]:
    smoothing = settings.label_smoothing
    if settings.loss == "cross_entropy":
        return lambda logits, labels: cross_entropy(logits, labels, smoothing)
    if not hasattr(model, "forward_steps"):
        raise InputError(
            f"loss 'tet' needs the logits of every timestep, which {type(model).__name__} does not give "
            "(forward_steps); use loss 'cross_entropy'."
        )
    return lambda logits, labels: tet(logits, labels, settings.tet_lambda, smoothing)
