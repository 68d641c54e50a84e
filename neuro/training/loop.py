"""The one training loop: surrogate gradients for spiking networks, plain or straight-through ones for others."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from hardware_models.errors import InputError, RunError
from neuro.data.base import Dataset
from neuro.data.mixing import Mix
from neuro.data.prefetch import prefetched
from neuro.records import EpochRecord
from neuro.training.average import Average
from neuro.training.evaluate import accuracy
from neuro.training.lamb import Lamb
from neuro.training.log import Log
from neuro.training.objective import Objective
from neuro.training.packed_memory import packed_activations
from neuro.training.parallel import Processes
from neuro.training.schedule import Schedule
from neuro.training.settings import TrainingSettings
from neuro.training.state import Position, Sums, TrainingState

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
    processes: Processes | None = None,
    log: Log | None = None,
    subject: Mapping[str, Any] | None = None,
) -> list[EpochRecord]:
    """Train `model` in place on `dataset.train` and evaluate it on `dataset.test`.

    The model takes time-first batches `[T, B, C, H, W]` with T = `model.timesteps` (1 where it has none) and
    returns `[B, K]`; one with `forward_steps`, returning `[T, B, K]`, can be trained with TET. The same seed
    gives the same losses on the same machine, also when a training is interrupted and resumed.

    Args:
        model: the network; left on `device`, in evaluation mode, with the averaged weights where there is an average.
        dataset: labelled data.
        settings: epochs, rates and the like.
        seed: of the sample order, augmentation and stochastic depth.
        device: where to train.
        checkpoint: what is written after every epoch, a file, or a folder where processes hold parts of the network;
            None keeps none.
        resume: continue from `checkpoint` if it is there.
        progress: label of the progress bar; None shows none.
        teacher: a network whose answers the loss asks for too (`settings.distillation`); left in evaluation mode.
        processes: that train together, each with this call; None for this one alone.
        log: told of every epoch and, now and then, of a step.
        subject: what is trained, as plain data; a checkpoint of another subject is not resumed, though it may fit.

    Returns:
        One record an epoch.

    Raises:
        InputError: unlabelled data, or a checkpoint of other settings.
        RunError: the loss or its gradient became NaN or infinite; the checkpoint of the last good epoch is kept.
    """
    settings, processes = settings or TrainingSettings(), processes or Processes()
    if dataset.train is None or not dataset.classes:
        raise InputError(f"data set {dataset.name!r} has no labels to train on; use --epochs 0 to only measure.")
    torch.manual_seed(seed)
    model.to(device)
    if teacher is not None:
        teacher.to(device).eval()
    run = _Training(
        model, dataset, settings, torch.device(device), seed, checkpoint, teacher, processes, log, subject or {}
    )
    if resume:
        run.restore()
    epochs = range(len(run.history), settings.epochs)
    bar = tqdm(
        epochs,
        desc=progress,
        unit="epoch",
        disable=None if progress and processes.is_first else True,
        initial=len(run.history),
        total=settings.epochs,
    )
    for epoch in bar:
        run.epoch(epoch, lambda loss: bar.set_postfix_str(f"loss {loss:.3f}"))
    run.finish()
    return run.history


class _NotFiniteError(ArithmeticError):
    """A loss or a gradient that is NaN or infinite."""


class _Steps(nn.Module):
    """Gives logits of every timestep, `[T, B, K]`; `[1, B, K]` of a model that only gives their mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        steps: Callable[[Tensor], Tensor] | None = getattr(self.model, "forward_steps", None)
        return steps(images) if steps is not None else self.model(images).unsqueeze(0)


@dataclass
class _Training:
    """The state of a training between steps."""

    model: nn.Module
    dataset: Dataset
    settings: TrainingSettings
    device: torch.device
    seed: int
    checkpoint: Path | None = None
    teacher: nn.Module | None = None
    processes: Processes = field(default_factory=Processes)
    log: Log | None = None
    subject: Mapping[str, Any] = field(default_factory=dict)
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        s = self.settings
        assert self.dataset.train is not None
        _check_batches(len(self.dataset.train), s, self.processes.count)
        self.split = self.processes.part_of(self.dataset.train)
        self.own_timesteps = int(getattr(self.model, "timesteps", 1))
        self.schedule = Schedule(s, math.ceil(len(self.split) / s.batch_size), self.own_timesteps)
        if s.phases and (s.phases[-1].timesteps != self.own_timesteps or not hasattr(self.model, "timesteps")):
            raise InputError(
                f"training.phases end at T = {s.phases[-1].timesteps}, but the network has T = {self.own_timesteps}; "
                "make the last phase that of the network."
            )
        if s.channels_last:
            if self.processes.count > 1 and self.processes.strategy == "sharded":
                raise InputError("tensors in channels-last order cannot be sharded; set training.channels_last=false.")
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(self.model, s, self.teacher, self.teacher is None or _is_still(self.dataset))
        self.mix = Mix(s.mixup, s.cutmix, s.mix_probability) if s.mixup or s.cutmix else None
        self.wrapped = self.processes.wrap(_Steps(self.model), self.model, self.device)
        self.run: Callable[[Tensor], Tensor] = torch.compile(self.wrapped) if s.compile else self.wrapped
        self.optimizer = _optimizer(self.model, s)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=s.precision == "fp16")
        self.average = None if s.ema is None else Average(self.model, s.ema)
        self.position = Position()
        self.state = TrainingState(self.checkpoint, self._identity(), self.processes)

    def epoch(self, epoch: int, report: Callable[[float], Any]) -> None:
        """Train the rest of an epoch, evaluate it where it is time to, and keep what was reached."""
        timesteps = self.schedule.timesteps_at(epoch)
        if self.settings.phases:
            set_timesteps(self.model, timesteps)
        self.model.train()
        first, sums = self.position.step, self.position.sums
        rate = self.schedule.learning_rate(epoch, first)
        # Closed whatever happens: the thread that reads ahead must not outlive an interrupted training.
        with contextlib.closing(self._batches(epoch, timesteps, first, sums)) as batches:
            for index, (images, labels) in enumerate(batches, first):
                started = time.perf_counter()
                rate = self._set_learning_rate(epoch, index)
                try:
                    loss = self._step(images, labels, epoch, index, sums)
                except _NotFiniteError as error:
                    raise RunError(self._diverged(f"{error} in epoch {epoch + 1}, step {index + 1}")) from error
                sums.seconds += time.perf_counter() - started
                report(loss)
                self.position.step = index + 1
                self._keep_within_epoch(epoch, index, loss, rate)
        self._end_epoch(epoch, timesteps, rate, sums)

    def _batches(
        self, epoch: int, timesteps: int, first: int, sums: Sums
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """This process's part of the batches of an epoch, from `first` on; the time that they are waited for counts."""
        seed = self.seed * 100_003 + epoch
        later = {"start": first} if first else {}
        batches = self.split.batches(self.settings.batch_size, timesteps, shuffle_seed=seed, **later)
        with contextlib.closing(prefetched(batches)) as ready:
            started = time.perf_counter()
            for batch in ready:
                sums.waited += time.perf_counter() - started
                yield batch
                started = time.perf_counter()

    def _step(self, images: Tensor, labels: Tensor, epoch: int, index: int, sums: Sums) -> float:
        """One step of the optimizer on this process's part of a batch; return the loss of the whole batch."""
        torch.manual_seed(_step_seed(self.seed, epoch, index, self.processes.rank))
        images, labels = _moved(images, self.device), labels.to(self.device)
        count = min(self.settings.batch_size, len(self.split) - index * self.settings.batch_size)
        self.optimizer.zero_grad(set_to_none=True)
        found = torch.zeros(3, dtype=torch.float64, device=self.device)  # sums of loss, right answers and rates
        parts = self.settings.accumulate
        cut = zip(images.tensor_split(parts, 1), labels.tensor_split(parts), strict=True)
        for number, (some, theirs) in enumerate(cut, 1):
            later = isinstance(self.wrapped, DistributedDataParallel) and number < parts
            with self.wrapped.no_sync() if later else contextlib.nullcontext():  # type: ignore[operator]
                found += self._backward(some, theirs, count)
        loss, right, rate = (self.processes.total(found) / count).tolist()
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        self._check_finite(loss, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        if self.objective.budget is not None:
            self.objective.budget.update(rate)
        sums.add(loss, right, rate, count)
        return loss

    def _backward(self, images: Tensor, labels: Tensor, count: int) -> Tensor:
        """Add the gradient of a part's share of the batch's mean loss; return sums over the part."""
        images, targets = self._mixed(images, labels)
        dtype = _DTYPES.get(self.settings.precision)
        memory = packed_activations() if self.settings.packed_activations else contextlib.nullcontext()
        with torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext(), memory:
            loss, logits, rate = self.objective(self.run, images, targets)
        # Processes' gradients are averaged: each process's part counts by its share.
        self.scaler.scale(loss * (len(labels) * self.processes.count / count)).backward()
        right = (logits.detach().mean(0).argmax(-1) == labels).sum()
        mean = torch.stack([loss.detach().double(), right.double() / len(labels), _or_zero(rate, loss).double()])
        return mean * len(labels)

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.mix is None:
            return images, labels
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return self.mix(images, labels, len(self.dataset.classes), generator)

    def _clip(self) -> float:
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm or math.inf)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return float(whole)

    def _check_finite(self, loss: float, gradient_norm: float) -> None:
        """Stop before a step that would ruin the weights.

        A neuron given NaN stays silent, so the loss can be finite where the gradient is not. While the scale of an
        fp16 loss can still be lowered, an overflowing gradient is no fault: the scaler leaves out the step.
        """
        if not math.isfinite(loss):
            raise _NotFiniteError(f"the loss became {loss}")
        if not math.isfinite(gradient_norm) and self.scaler.get_scale() <= 1:
            raise _NotFiniteError(f"the gradient became {gradient_norm}")

    def _diverged(self, what: str) -> str:
        """The sentence for a training that cannot go on: what to change, and what there is to keep."""
        half = self.settings.precision == "fp16"
        advice = "training.precision=bf16" if half else "a lower training.learning_rate or training.clip_norm"
        kept = f"; epoch {len(self.history)} is kept in {self.checkpoint}" if self.history and self.checkpoint else ""
        return f"{what}; start a new run with {advice}{kept}."

    def _set_learning_rate(self, epoch: int, step: int) -> float:
        rate = self.schedule.learning_rate(epoch, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _keep_within_epoch(self, epoch: int, index: int, loss: float, rate: float) -> None:
        """Write a checkpoint after every so many steps, and the log."""
        every = self.settings.checkpoint_every
        number = epoch * self.schedule.steps_per_epoch + index + 1
        if self.log is not None and number % self.settings.log_every == 0:
            self.log.write("step", number, {"loss": loss, "learning_rate": rate})
        if every and (index + 1) % every == 0 and index + 1 < self.schedule.steps_per_epoch:
            self.save()

    def _end_epoch(self, epoch: int, timesteps: int, rate: float, sums: Sums) -> None:
        record = EpochRecord(
            epoch=epoch + 1,
            loss=sums.loss / sums.seen,
            train_accuracy=sums.right / sums.seen,
            test_accuracy=None,
            learning_rate=rate,
            seconds=sums.seconds + sums.waited,
            waited_seconds=sums.waited,
            timesteps=timesteps,
            firing_rate=sums.spikes / sums.seen if self.objective.budget is not None else None,
        )
        if epoch == self.settings.epochs - 1 or (epoch + 1) % self.settings.evaluate_every == 0:
            with self.average.in_place() if self.average is not None else contextlib.nullcontext():
                record.test_accuracy = accuracy(
                    self.model,
                    self.dataset.test,
                    timesteps,
                    self.device,
                    processes=self.processes,
                    run=lambda images: self.wrapped(images).mean(0),
                )
        self.history.append(record)
        self.position = Position()
        self.save()
        if self.log is not None:
            number = (epoch + 1) * self.schedule.steps_per_epoch
            self.log.write("epoch", number, record.model_dump(exclude_none=True))

    def finish(self) -> None:
        """Leave the network as it is to be used."""
        if hasattr(self.model, "timesteps") and self.settings.phases:
            set_timesteps(self.model, self.own_timesteps)
        if self.average is not None:
            self.average.exchange()
        self.processes.unwrap(self.model)
        self.model.eval()

    def _parts(self) -> dict[str, Any]:
        """What changes while training, by its name in a checkpoint."""
        parts = {"optimizer": self.optimizer, "scaler": self.scaler, "average": self.average}
        parts |= {"budget": self.objective.budget}
        return {name: part for name, part in parts.items() if part is not None}

    def save(self) -> None:
        """Write everything that the next step depends on."""
        self.state.save(self.model, self._parts(), self.history, self.position)

    def restore(self) -> None:
        """Continue where the checkpoint was saved, if there is one."""
        found = self.state.restore(self.model, self._parts())
        if found is not None:
            self.history, self.position = found

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a resumed training to be the same training."""
        without_effect = {"evaluate_every", "packed_activations", "compile", "checkpoint_every", "log_every"}
        settings = self.settings.model_dump(mode="json", exclude=without_effect)
        return {**settings, **self.subject, "seed": self.seed, "samples": len(self.split)}


def _check_batches(samples: int, settings: TrainingSettings, processes: int) -> None:
    """Refuse batches, the last one too, that not every process and part would have samples of."""
    parts = processes * settings.accumulate
    smallest = samples % settings.batch_size or settings.batch_size
    if parts > 1 and smallest < parts:
        raise InputError(
            f"the last batch has {smallest} of {samples} samples, for {processes} processes of {settings.accumulate} "
            f"parts each; choose a training.batch_size that leaves at least {parts}."
        )


def _is_still(dataset: Dataset) -> bool:
    """Whether the images are the same at every timestep, and not frames that T cuts a recording into."""
    images, _ = next(dataset.test.batches(1, 2))
    return images.stride(0) == 0


def set_timesteps(model: nn.Module, timesteps: int) -> None:
    """Let a network run at another T from now on."""
    model.timesteps = timesteps  # type: ignore[assignment]


def _step_seed(seed: int, epoch: int, index: int, rank: int) -> int:
    """A seed for what is drawn inside the network, which no step before has to be known for."""
    return hash((seed, epoch, index, rank)) % 2**63


def _moved(images: Tensor, device: torch.device) -> Tensor:
    """Images on `device`; one that is the same at all timesteps is moved once."""
    if images.device != device and images.stride(0) == 0:
        return images[0].to(device, non_blocking=True).unsqueeze(0).expand(images.shape)
    return images.to(device, non_blocking=True)


def _or_zero(value: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if value is None else value


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    groups = _parameter_groups(model, settings.weight_decay)
    return Lamb(groups) if settings.optimizer == "lamb" else torch.optim.AdamW(groups, fused=True)


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights of two axes and more; leave out biases, norms, learned thresholds and time constants."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
