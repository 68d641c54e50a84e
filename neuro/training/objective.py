"""What a training minimises: the loss of the labels, a teacher's answers and layers, and the price of spikes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.training.losses import cross_entropy, distillation, feature_distance, tet
from neuro.training.settings import TrainingSettings
from neuro.training.spikes import FiringRates, SpikeBudget

Steps = Callable[[Tensor], Tensor]
"""Gives logits of every timestep, `[T, B, K]`, for images `[T, B, C, H, W]`."""


@dataclass
class Objective:
    """The loss of a batch.

        (1 - w) L(logits, labels) + w KL(teacher || answer) + v sum_l distance_l

    w is `distillation`, v `layer_distillation`; a spike budget adds its price (`SpikeBudget`).

    Attributes:
        model: the network that is trained.
        settings: of the training.
        teacher: a network whose answers and layers are asked for; None for none.
        still: whether images are the same at every timestep, so that a teacher sees them for its own T.
        budget: the budget's price, where there is a budget.
    """

    model: nn.Module
    settings: TrainingSettings
    teacher: nn.Module | None = None
    still: bool = True
    budget: SpikeBudget | None = field(init=False)

    def __post_init__(self) -> None:
        s = self.settings
        self._of_labels = _loss_of_labels(self.model, s)
        self._rates = FiringRates(self.model) if s.spike_budget is not None else None
        self.budget = SpikeBudget(s.spike_budget, s.budget_rate) if s.spike_budget is not None else None
        self._layers: _Layers | None = None
        if s.distilled_layers:
            if self.teacher is None:
                raise InputError("training.distilled_layers were set without a teacher; give one, or leave them out.")
            self._layers = _Layers(self.model, self.teacher, s.distilled_layers)
        if self.teacher is not None and not self.still:
            self._check_frames(self.teacher)

    def __call__(self, run: Steps, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the loss, the logits `[T, B, K]`, and the firing rate where it is watched.

        Args:
            run: the network, compiled or wrapped as the training wants it.
            images: `[T, B, C, H, W]`.
            targets: labels `[B]`, or probabilities `[B, K]`.
        """
        rates, layers = self._rates, self._layers
        with rates.watching() if rates else contextlib.nullcontext():
            with layers.watching() if layers else contextlib.nullcontext():
                logits = run(images).float()
            loss = self._of_labels(logits, targets)
            if self.teacher is not None:
                loss = self._with_teacher(loss, logits, images, self.teacher)
            rate = rates.mean() if rates else None
        if rate is not None and self.budget is not None:
            loss = self.budget.priced(loss, rate)
        return loss, logits, None if rate is None else rate.detach()

    def _check_frames(self, teacher: nn.Module) -> None:
        """Refuse a teacher that would see recordings cut into another number of frames than it was trained on."""
        wanted = {phase.timesteps for phase in self.settings.phases} or {_timesteps(self.model)}
        if wanted != {_timesteps(teacher)}:
            raise InputError(
                f"the teacher has T = {_timesteps(teacher)}, but these recordings are cut into "
                f"{' and '.join(map(str, sorted(wanted)))} frames; give a teacher of the same T."
            )

    def _with_teacher(self, loss: Tensor, logits: Tensor, images: Tensor, teacher: nn.Module) -> Tensor:
        weight, layers = self.settings.distillation, self._layers
        with torch.no_grad(), layers.watching_teacher() if layers else contextlib.nullcontext():
            seen = images[:1].expand(_timesteps(teacher), *images.shape[1:]) if self.still else images
            answer = teacher(seen).unsqueeze(0).float()
        loss = (1 - weight) * loss + weight * distillation(logits, answer)
        if layers is not None:
            loss = loss + self.settings.layer_distillation * layers.distance()
        return loss


def _timesteps(network: nn.Module) -> int:
    return int(getattr(network, "timesteps", 1))


class _Layers:
    """Outputs of the same modules of two networks."""

    def __init__(self, model: nn.Module, teacher: nn.Module, names: tuple[str, ...]) -> None:
        self._modules = [_named(network, names) for network in (model, teacher)]
        self._found: list[list[Tensor]] = [[], []]

    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Keep what the layers of the trained network give meanwhile."""
        return self._watch(0)

    def watching_teacher(self) -> contextlib.AbstractContextManager[None]:
        """Keep what the layers of the teacher give meanwhile."""
        return self._watch(1)

    @contextlib.contextmanager
    def _watch(self, which: int) -> Iterator[None]:
        found = self._found[which]
        found.clear()
        keep = lambda module, given, output: found.append(output)  # noqa: E731
        handles = [module.register_forward_hook(keep) for module in self._modules[which]]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def distance(self) -> Tensor:
        """Return the sum over layers of the distance of the means over T."""
        mine, theirs = self._found
        return torch.stack(
            [
                feature_distance(one.float().mean(0), other.float().mean(0))
                for one, other in zip(mine, theirs, strict=True)
            ]
        ).sum()


def _named(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            known = ", ".join(child for child, _ in network.named_children())
            raise InputError(
                f"training.distilled_layers names {name!r}, which a {type(network).__name__} has not; its parts are "
                f"{known}."
            )
    return [modules[name] for name in names]


def _loss_of_labels(model: nn.Module, settings: TrainingSettings) -> Callable[[Tensor, Tensor], Tensor]:
    smoothing = settings.label_smoothing
    if settings.loss == "cross_entropy":
        return lambda logits, targets: cross_entropy(logits, targets, smoothing)
    if not hasattr(model, "forward_steps"):
        raise InputError(
            f"loss 'tet' needs the logits of every timestep, which {type(model).__name__} does not give "
            "(forward_steps); use loss 'cross_entropy'."
        )
    return lambda logits, targets: tet(logits, targets, settings.tet_lambda, smoothing)
