"""`speech-commands`: 105,829 spoken words of up to one second at 16 kHz, 35 classes.

The data's own lists part the clips by speaker: what is in neither list trains, the testing list tests, and the
validation list is left out of both. Shorter clips have zeros after them, as in the source's own code.
Source: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.speech.mel import FFT, HOP, WINDOW
from neuro.data.speech.speech_split import Clip, SpeechSplit, measured
from neuro.data.speech.word_clips import WORDS, word_clips
from neuro.data.splits import SPLIT_SEED, balanced_subset

DEFAULT_MELS = 32


def load(
    folder: Path,
    *,
    image_size: int = DEFAULT_MELS,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Dataset:
    """Return Speech Commands with its 35 words, one channel.

    Args:
        folder: with a folder of WAV files for each word, `validation_list.txt` and `testing_list.txt`.
        image_size: mel bands, the height of a sample; its width is 128 / T, so that T = 4 gives 32x32.
        split_seed: seed of the subset that a limit draws, and of the clips that are measured for normalisation.
        train_limit: most training clips to keep; None keeps all.
        test_limit: most test clips to keep; None keeps all.

    Raises:
        InputError: a folder, list or listed clip is missing, a clip of another form or longer than a second, too
            many bands, a limit below 1.
    """
    train, test, left_out = word_clips(folder)
    parts = [[Clip(path, label) for label, word in enumerate(WORDS) for path in part[word]] for part in (train, test)]
    return dataset(
        f"speech-commands:{folder}",
        f"Speech Commands from {folder}, {left_out} validation clips left out",
        WORDS,
        parts[0],
        parts[1],
        mels=image_size,
        split_seed=split_seed,
        limits=(train_limit, test_limit),
    )


def dataset(
    name: str,
    source: str,
    classes: tuple[str, ...],
    train: Sequence[Clip],
    test: Sequence[Clip],
    *,
    mels: int,
    split_seed: int,
    limits: tuple[int | None, int | None],
) -> Dataset:
    """Return a data set of clips, normalised over the training clips that there are before a limit."""
    check_image_size(mels, 1, "log-mel features")
    normalise = measured(train, mels, split_seed)
    kept = [_limited(part, limit, split_seed) for part, limit in zip((train, test), limits, strict=True)]
    return Dataset(
        name=name,
        source=f"{source}; {len(kept[0])} to train and {len(kept[1])} to test",
        classes=classes,
        in_channels=1,
        image_size=mels,
        train=SpeechSplit(kept[0], mels, normalise),
        test=SpeechSplit(kept[1], mels, normalise),
        preprocessing=(
            f"16-bit samples over 32768, zeros after clips shorter than 1 s; logarithm of {mels} HTK mel bands of the "
            f"power spectrum (transform {FFT}, Hann window {WINDOW}, hop {HOP}), 128 frames in T parts; minus mean "
            f"{normalise.mean[0]:.4g}, over standard deviation {normalise.std[0]:.4g}, of training clips"
        ),
    )


def _limited(clips: Sequence[Clip], limit: int | None, seed: int) -> list[Clip]:
    labels = torch.tensor([clip.label for clip in clips], dtype=torch.int64)
    return [clips[index] for index in balanced_subset(labels, limit, seed).tolist()]
