"""A quick measurement of a candidate: quantize the network as it is, and compare its answers on given samples."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection
from typing import Any, Final, Literal, Protocol

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from quant.capture import Captured, capture
from quant.observe import CalibrationWarning
from quant.quantize import quantize
from quant.recipes import Recipe
from quant.search.elastic import Choice, Elastic, Value, largest

Measure = Literal["labels", "agreement", "output"]

_MOST_NETWORKS: Final = 64


class Evaluate(Protocol):
    """Measures the error of a candidate, at least 0; lower is better.

    An attribute `description`, plain data, may say what is measured, and on what: a file of measurements of another
    description is refused.
    """

    def __call__(self, recipe: Recipe, choice: Choice) -> float:
        """Return the error of the network of `choice` (empty where it is not elastic) under `recipe`."""
        ...


class QuickEvaluation:
    """Quantizes the network without training it, and compares answers.

    | measure | error |
    |---|---|
    | `labels` | share of wrong answers, 1 - accuracy |
    | `agreement` | share of samples whose largest output is another one than the float network's |
    | `output` | norm of the difference from the float network's output, of that output's norm |

    A network is captured once, an elastic one once for each choice. The float network of an elastic one is the largest.

    Args:
        network: in evaluation mode; or what `quant.capture` made of it; or an elastic one.
        example: samples that ranges are chosen from, `[B, ...]`.
        inputs: samples that answers are compared on, `[N, ...]`.
        labels: classes `[N]`, of the measure `labels`.
        measure: what is measured; None for `labels` where they are given, else `agreement`.
        batch: samples that are run at once.
        timesteps: T, of recipes that fire.
        keep: as of `quantize`.

    Raises:
        InputError: as `quantize`; no samples, labels that do not fit them, or a measure that needs labels without them.
    """

    def __init__(
        self,
        network: nn.Module | Captured | Elastic,
        example: Tensor | tuple[Tensor, ...],
        inputs: Tensor | tuple[Tensor, ...],
        labels: Tensor | None = None,
        *,
        measure: Measure | None = None,
        batch: int = 256,
        timesteps: int = 4,
        keep: Collection[str] = (),
    ) -> None:
        self.network, self.labels, self.batch = network, labels, batch
        self.example = (example,) if isinstance(example, Tensor) else tuple(example)
        self.inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        self.measure: Measure = measure or ("agreement" if labels is None else "labels")
        self.timesteps, self.keep = timesteps, keep
        self._captured: dict[tuple[tuple[str, Value], ...], Captured] = {}
        self._check()
        reference = largest(network) if isinstance(network, Elastic) else {}
        self.float_answers = self._answers(self._capture(reference).graph)
        self.description = self._describe(reference)

    def __call__(self, recipe: Recipe, choice: Choice) -> float:
        """Return the error of the network of `choice` under `recipe`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # a value that vanished shows in the error
            made = quantize(
                self._capture(choice),
                recipe,
                self.example,
                timesteps=self.timesteps,
                keep=self.keep,
                trainable=False,
            )
        return self._error(self._answers(made))

    @property
    def float_error(self) -> float:
        """Error of the float network, the largest of an elastic one."""
        return self._error(self.float_answers)

    def _error(self, answers: Tensor) -> float:
        if self.measure == "output":
            return float((answers - self.float_answers).norm() / self.float_answers.norm().clamp_min(1e-30))
        wanted = self.float_answers.argmax(-1) if self.labels is None or self.measure == "agreement" else self.labels
        return float(answers.argmax(-1).ne(wanted).float().mean())

    @torch.no_grad()
    def _answers(self, network: nn.Module) -> Tensor:
        parts = zip(*(x.split(self.batch) for x in self.inputs), strict=True)
        return torch.cat([network(*part) for part in parts])

    def _capture(self, choice: Choice) -> Captured:
        key = tuple(choice.items())
        if key not in self._captured:
            network = self.network.subnet(choice) if isinstance(self.network, Elastic) else self.network
            if len(self._captured) >= _MOST_NETWORKS:
                self._captured.pop(next(iter(self._captured)))
            made = network if isinstance(network, Captured) else capture(network, self.example)
            self._captured[key] = made
        return self._captured[key]

    def _check(self) -> None:
        sizes = {len(x) for x in self.inputs}
        if len(sizes) != 1 or 0 in sizes:
            raise InputError(
                f"the inputs hold {sorted(sizes)} samples; give tensors [N, ...] of equally many, at least one."
            )
        if self.measure == "labels" and self.labels is None:
            raise InputError("measure='labels' needs labels; give them, or measure agreement or output.")
        if self.labels is not None and self.labels.shape != (sizes.pop(),):
            raise InputError(f"labels have shape {list(self.labels.shape)}; give one class for each sample.")

    def _describe(self, reference: Choice) -> dict[str, Any]:
        """What is measured, with which weights and samples; these by their bytes."""
        made = hashlib.sha256()
        weights = sorted(self._capture(reference).graph.state_dict().items())
        given = [*self.example, *self.inputs, *([] if self.labels is None else [self.labels])]
        for one in [*given, *(tensor for _, tensor in weights)]:
            made.update(str((one.dtype, tuple(one.shape))).encode())
            made.update(one.detach().cpu().contiguous().numpy().tobytes())
        return {"measure": self.measure, "timesteps": self.timesteps, "data": made.hexdigest()[:16]}
