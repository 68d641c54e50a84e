"""A split of short sounds as log-mel features in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hardware_models.errors import InputError
from neuro.data.batching import Chosen, Normalise, PlannedSplit, check_batching
from neuro.data.speech.mel import HOP, log_mel
from neuro.data.speech.wav import RATE, read_wav
from neuro.data.splits import balanced_subset

FRAMES = RATE // HOP
"""Frames of the one second that each clip has."""
MOST_MEASURED = 1_000
"""Clips that the mean and the standard deviation are taken over."""
CHUNK = 64
BAR_FROM = 2_000


@dataclass(frozen=True)
class Clip:
    """One second of a recording, or a recording of at most one second.

    Attributes:
        path: the file.
        label: index of the class.
        start: first sample of the second; None takes the whole file.
    """

    path: Path
    label: int
    start: int | None = None


class SpeechSplit(PlannedSplit):
    """Clips as batches `[T, B, 1, mels, 128 / T]`: T parts of the second, one after the other.

    The files are read when the first batch is asked for; their features stay in memory (4 bytes a number).

    Args:
        clips: in stored order.
        mels: mel bands.
        normalise: from log-mel features to what the network sees.
    """

    def __init__(self, clips: Sequence[Clip], mels: int, normalise: Normalise) -> None:
        self.clips = tuple(clips)
        self.labels = torch.tensor([clip.label for clip in clips], dtype=torch.int64)
        self.mels = mels
        self.normalise = normalise
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `PlannedSplit.batches`.

        Raises:
            InputError: a number of timesteps that does not divide the 128 frames, too.
        """
        check_batching(batch_size, timesteps)
        if FRAMES % timesteps:
            raise InputError(f"{timesteps} timesteps do not divide the {FRAMES} frames of a clip; give 1, 2, 4 .. 128.")
        return super().batches(batch_size, timesteps, shuffle_seed, start=start)

    def gather(self, chosen: Chosen, timesteps: int) -> tuple[Tensor, Tensor]:
        """Return `(features [T, B, 1, mels, 128 / T] float32, labels [B] int64)` of the chosen clips."""
        if self._kept is None:
            self._kept = features(self.clips, self.mels)
        images = self.normalise(self._kept[chosen.indices].unsqueeze(1))
        parts = images.unflatten(-1, (timesteps, FRAMES // timesteps))
        return parts.permute(3, 0, 1, 2, 4).contiguous(), self.labels[chosen.indices]


def features(clips: Sequence[Clip], mels: int) -> Tensor:
    """Return log-mel features `[N, mels, 128]` of clips.

    Raises:
        InputError: a file that cannot be read, of another form, or longer than a second; too many bands.
    """
    kept = torch.empty(len(clips), mels, FRAMES)
    starts = range(0, len(clips), CHUNK)
    for start in tqdm(starts, desc="hearing clips", leave=False, disable=len(clips) < BAR_FROM):
        sounds = np.stack([_sound(clip) for clip in clips[start : start + CHUNK]])
        kept[start : start + CHUNK] = log_mel(torch.from_numpy(sounds), mels, RATE)
    return kept


def measured(clips: Sequence[Clip], mels: int, seed: int) -> Normalise:
    """Return the normalisation by mean and standard deviation of at most 1,000 training clips, even by class.

    Raises:
        InputError: what `features` refuses; clips that are all silent.
    """
    labels = torch.tensor([clip.label for clip in clips], dtype=torch.int64)
    chosen = balanced_subset(labels, MOST_MEASURED, seed).tolist()
    found = features([clips[index] for index in chosen], mels).double()
    std = float(found.std())
    if not std > 0:
        raise InputError(f"the clips in {clips[0].path.parent.parent} are all silent; fetch them again.")
    return Normalise((float(found.mean()),), (std,))


def _sound(clip: Clip) -> np.ndarray:
    """Return one second `[16000]` float32 in -1 .. 1, with zeros after a shorter recording."""
    whole = clip.start is None
    samples = read_wav(clip.path, start=clip.start or 0, count=None if whole else RATE)
    if len(samples) > RATE:
        raise InputError(f"{clip.path} has {len(samples)} samples, more than one second of {RATE}; cut it.")
    sound = np.zeros(RATE, np.float32)
    sound[: len(samples)] = samples / np.float32(1 << 15)
    return sound
