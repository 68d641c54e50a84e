"""A split of event recordings: frames for the number of timesteps in use, made once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hardware_models.errors import InputError
from neuro.data.augment import Augment
from neuro.data.batching import Chosen, Normalise, PlannedSplit
from neuro.data.events.binning import frames_by_count, frames_by_time, squared
from neuro.data.events.recording import Events
from neuro.data.splits import balanced_subset

Binning = Literal["count", "time"]
Read = Callable[[Path], Events]
COUNTS = Normalise((0.0, 0.0), (1.0, 1.0))
"""Counts stay as they are."""
BAR_FROM = 500


@dataclass(frozen=True)
class Sample:
    """A recording, or the part of it between two times.

    Attributes:
        path: the file.
        label: index of the class.
        start_us: first time of the part; None for the whole recording.
        end_us: time before which the part ends; None for the whole recording.
    """

    path: Path
    label: int
    start_us: int | None = None
    end_us: int | None = None


class EventSplit(PlannedSplit):
    """Event recordings as batches `[T, B, 2, H, W]` of counts, off and on.

    The files are read when the first batch of a number of timesteps is asked for; the frames are then kept, in the
    smallest integers that hold them, until another number is asked for.

    Args:
        samples: in stored order; parts of one recording beside each other, so that it is read once.
        read: the reader.
        image_size: side of the square frames, at most the sensor's longer side.
        binning: frames of equally many events (`count`) or of equal duration (`time`).
        augment: random changes in a shuffled epoch; None for a test split.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        read: Read,
        image_size: int,
        binning: Binning,
        augment: Augment | None = None,
    ) -> None:
        if binning not in ("count", "time"):
            raise InputError(f"events cannot be binned by {binning!r}; give 'count' or 'time'.")
        self.samples = tuple(samples)
        self.labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        self.read = read
        self.image_size = image_size
        self.binning = binning
        self.augment = augment
        self.normalise = COUNTS
        self._kept: tuple[int, list[Tensor]] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def gather(self, chosen: Chosen, timesteps: int) -> tuple[Tensor, Tensor]:
        """Return `(frames [T, B, 2, H, W] float32, labels [B] int64)` of the chosen samples."""
        kept = self._frames(timesteps)
        frames = torch.zeros(timesteps, len(chosen.indices), 2, self.image_size, self.image_size)
        for place, index in enumerate(chosen.indices.tolist()):
            frames[:, place] = kept[index]
        if self.augment is not None and chosen.draws is not None and len(chosen.indices):
            frames = self.augment(frames, chosen.draws)
        return frames, self.labels[chosen.indices]

    def _frames(self, timesteps: int) -> list[Tensor]:
        """Return the frames `[T, 2, H, W]` of each sample."""
        if self._kept is None or self._kept[0] != timesteps:
            self._kept = None  # before the new ones take memory
            shown = tqdm(self._events(), "binning events", len(self), leave=False, disable=len(self) < BAR_FROM)
            self._kept = timesteps, [self._binned(sample, events, timesteps) for sample, events in shown]
        return self._kept[1]

    def _events(self) -> Iterator[tuple[Sample, Events]]:
        """Yield each sample's events; a recording is read once for all of its parts that stand beside each other."""
        path, recording = None, None
        for sample in self.samples:
            if recording is None or sample.path != path:
                path, recording = sample.path, self.read(sample.path)
            events = recording
            if sample.start_us is not None and sample.end_us is not None:
                events = recording.between(sample.start_us, sample.end_us)
            if not len(events):
                raise InputError(
                    f"{sample.path} has no event between {sample.start_us} and {sample.end_us} us, where a label says "
                    "so; fetch it and its labels again."
                )
            yield sample, events

    def _binned(self, sample: Sample, events: Events, timesteps: int) -> Tensor:
        events = squared(events)
        if events.width < self.image_size:
            raise InputError(
                f"{sample.path} is of a sensor {events.width} pixels wide or high, less than the image size "
                f"{self.image_size}; give an image size of at most {events.width}."
            )
        size = (self.image_size, self.image_size)
        if self.binning == "count":
            return _narrow(frames_by_count(events, timesteps, size=size))
        return _narrow(frames_by_time(events, timesteps=timesteps, size=size))


def limited(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """Return at most `limit` samples in stored order, the classes as even as possible; see `balanced_subset`."""
    labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    return [samples[index] for index in balanced_subset(labels, limit, seed).tolist()]


def words(image_size: int, binning: Binning, augment: Augment | None) -> str:
    """Return what is done to events, for the record of a run."""
    bins = "equally many events" if binning == "count" else "equal duration"
    changes = "" if augment is None else f"; in training {augment}"
    return f"counts of off and on events, T frames of {bins}, summed to {image_size}x{image_size}{changes}"


def _narrow(frames: np.ndarray) -> Tensor:
    """Return counts in the smallest integers that hold them."""
    most = frames.max()
    kind = np.uint8 if most <= 0xFF else np.int16 if most <= 0x7FFF else np.int32
    return torch.from_numpy(frames.astype(kind))
