"""Data for a network that was given: at its size, its channels and its normalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.coding.sweep import Labelled
from neuro.conversion.spec import DataSpec
from neuro.data import Dataset, load_dataset
from neuro.data.base import Split
from neuro.data.batching import Normalise

BATCH = 16
_LABELLED_SAMPLES, _UNLABELLED_SAMPLES = 1000, 64


class NetworkData(Protocol):
    """What a network is calibrated, compared and measured on."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def source(self) -> str:
        """Where it came from and what was done to it, in words."""
        ...

    def calibration(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield `count` inputs to choose thresholds from, in batches."""
        ...

    def compared(self, count: int | None) -> Iterator[Labelled]:
        """Yield `count` inputs to compare on, with their labels, in batches; None takes the usual number."""
        ...

    def few(self, count: int) -> tuple[Tensor, ...]:
        """Return the first `count` inputs to compare on."""
        ...


@dataclass(frozen=True)
class GivenInputs:
    """Inputs that were given as tensors: all of them calibrate, and all are compared on.

    Attributes:
        inputs: each `[N, ...]`.
        labels: `[N]`, None where there are none.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None
    name: str = "given inputs"

    @property
    def source(self) -> str:
        """What is known of them."""
        return f"{len(self.inputs[0])} inputs, given; calibrated and compared on the same ones"

    def calibration(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, min(count, len(self.inputs[0])), BATCH):
            yield tuple(x[start : min(start + BATCH, count)] for x in self.inputs)

    def compared(self, count: int | None) -> Iterator[Labelled]:
        wanted = count or len(self.inputs[0])
        for start, inputs in enumerate(self.calibration(wanted)):
            part = slice(start * BATCH, start * BATCH + len(inputs[0]))
            yield inputs, None if self.labels is None else self.labels[part]

    def few(self, count: int) -> tuple[Tensor, ...]:
        return tuple(x[:count] for x in self.inputs)


@dataclass(frozen=True)
class DatasetInputs:
    """A data set as one network wants it.

    Attributes:
        dataset: the data.
        normalise: what the network expects; None where it says nothing, and then the data set's own is kept.
        channels: of the network's input; grey images are repeated.
        device: where batches go.
    """

    dataset: Dataset
    normalise: Normalise | None
    channels: int
    device: torch.device

    @property
    def labelled(self) -> bool:
        """Whether there are labels to be right about."""
        return bool(self.dataset.classes)

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.dataset.name

    @property
    def source(self) -> str:
        """Where the data came from and what was done to the pixels."""
        wanted = "" if self.normalise is None else f"; normalised as the network wants: {self.normalise}"
        part = "its training part, as training presents it" if self.dataset.train else "the compared part itself"
        return f"{self.dataset.source} {self.dataset.preprocessing}{wanted}; thresholds were chosen on {part}"

    def as_dataset(self) -> Dataset:
        """Return the data set with images as the network wants them, to train on."""
        train = self.dataset.train and _Wanted(self.dataset.train, self)
        return dataclasses.replace(
            self.dataset, train=train, test=_Wanted(self.dataset.test, self), in_channels=self.channels
        )

    def calibration(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        for images, _ in self._batches(self.dataset.train or self.dataset.test, count, shuffle_seed=0):
            yield (images,)

    def compared(self, count: int | None) -> Iterator[Labelled]:
        wanted = count or (_LABELLED_SAMPLES if self.labelled else _UNLABELLED_SAMPLES)
        for images, labels in self._batches(self.dataset.test, wanted):
            yield (images,), labels if self.labelled else None

    def few(self, count: int) -> tuple[Tensor, ...]:
        return (torch.cat([images for images, _ in self._batches(self.dataset.test, count)]),)

    def _batches(self, split: Split, count: int, shuffle_seed: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        left = min(count, len(split))
        for images, labels in split.batches(min(BATCH, left), 1, shuffle_seed):
            yield self.as_wanted(split, images[0][:left]), labels[:left]
            left -= len(labels)
            if left <= 0:
                return

    def as_wanted(self, split: Split, images: Tensor) -> Tensor:
        """Return images `[B, C, H, W]` of a split with the network's channels and normalisation."""
        if self.normalise is not None:
            images = split.normalise.undo(images)
        if images.shape[1] == 1 and self.channels > 1:
            images = images.expand(-1, self.channels, -1, -1)
        if self.normalise is not None:
            images = self.normalise(images)
        return images.to(self.device)


class _Wanted:
    """A split as one network wants it."""

    def __init__(self, split: Split, inputs: DatasetInputs) -> None:
        self.split, self.inputs = split, inputs
        self.normalise = inputs.normalise or split.normalise

    def __len__(self) -> int:
        return len(self.split)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`."""
        for images, labels in self.split.batches(batch_size, 1, shuffle_seed, start=start):
            yield self.inputs.as_wanted(self.split, images[0]).expand(timesteps, -1, -1, -1, -1), labels


def load_inputs(
    data: DataSpec, example: tuple[Tensor, ...], normalise: Normalise | None, device: torch.device
) -> DatasetInputs:
    """Load the data that were asked for at the size of the network's input.

    Raises:
        InputError: the network does not read square images, or the data have other channels.
    """
    if len(example) != 1 or example[0].dim() != 4 or example[0].shape[2] != example[0].shape[3]:
        shapes = " and ".join(str(tuple(x.shape)) for x in example)
        raise InputError(
            f"the network reads {shapes}, and data sets hold square images [B, C, H, W]; convert it in Python with "
            "neuro.coding or quant, giving inputs of your own."
        )
    channels, side = example[0].shape[1], example[0].shape[2]
    dataset = load_dataset(
        data.name,
        image_size=side,
        split_seed=data.split_seed,
        train_limit=data.train_limit,
        test_limit=data.test_limit,
    )
    if dataset.in_channels not in (1, channels):
        raise InputError(
            f"{dataset.name} has {dataset.in_channels} channels and the network wants {channels}; give other --data."
        )
    return DatasetInputs(dataset, normalise, channels, device)
