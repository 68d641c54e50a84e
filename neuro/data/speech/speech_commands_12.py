"""`speech-commands-12`: ten commands of Speech Commands, other words as `unknown`, and `silence`.

For each part, `unknown` and `silence` have each a tenth as many clips as the ten commands together, rounded up. Unknown
clips are drawn by the split seed from the other 25 words of the same part. Silence is seconds of the recordings in
`_background_noise_`, drawn by the same seed: from their first 80 % to train and from the rest to test.
Source: P. Warden, arXiv:1804.03209, 2018, section 7 (the shares); the parting of the noise is ours.
"""

from __future__ import annotations

from pathlib import Path

import torch

from hardware_models.errors import InputError
from neuro.data.base import Dataset
from neuro.data.speech.speech_commands import DEFAULT_MELS, dataset
from neuro.data.speech.speech_split import Clip
from neuro.data.speech.wav import RATE, wav_length
from neuro.data.speech.word_clips import WORDS, word_clips
from neuro.data.splits import SPLIT_SEED

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = len(COMMANDS), len(COMMANDS) + 1
CLASSES = (*COMMANDS, "unknown", "silence")
NOISE = "_background_noise_"
TRAIN_NOISE = 0.8


def load(
    folder: Path,
    *,
    image_size: int = DEFAULT_MELS,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Dataset:
    """Return Speech Commands with 12 classes, one channel.

    Args:
        folder: as for `speech-commands`, with `_background_noise_` too.
        image_size: mel bands, the height of a sample; its width is 128 / T.
        split_seed: seed of the unknown and silent clips, and of the subset that a limit draws.
        train_limit: most training clips to keep; None keeps all.
        test_limit: most test clips to keep; None keeps all.

    Raises:
        InputError: what `speech-commands` refuses; no background noise, or one too short to be parted.
    """
    train, test, left_out = word_clips(folder)
    generator = torch.Generator().manual_seed(split_seed)
    noises = _noises(folder / NOISE)
    parts = [
        _clips(words, [(path, *bounds[part]) for path, bounds in noises.items()], generator)
        for part, words in enumerate((train, test))
    ]
    return dataset(
        f"speech-commands-12:{folder}",
        f"Speech Commands from {folder}, 12 classes (split seed {split_seed}), {left_out} validation clips left out",
        CLASSES,
        parts[0],
        parts[1],
        mels=image_size,
        split_seed=split_seed,
        limits=(train_limit, test_limit),
    )


def _clips(words: dict[str, list[Path]], noises: list[tuple[Path, int, int]], generator: torch.Generator) -> list[Clip]:
    """Return the clips of one part: the commands, unknown words, silence."""
    clips = [Clip(path, label) for label, word in enumerate(COMMANDS) for path in words[word]]
    share = -(-len(clips) // 10)
    others = [path for word in WORDS if word not in COMMANDS for path in words[word]]
    drawn = torch.randperm(len(others), generator=generator)[:share].sort().values
    clips += [Clip(others[index], UNKNOWN) for index in drawn.tolist()]
    for which, where in torch.rand(share, 2, generator=generator, dtype=torch.float64).tolist():
        path, first, end = noises[int(which * len(noises))]
        clips.append(Clip(path, SILENCE, first + int(where * (end - RATE - first + 1))))
    return clips


def _noises(folder: Path) -> dict[Path, tuple[tuple[int, int], tuple[int, int]]]:
    """Return the samples of each recording of noise that train and that test, as first and end."""
    found = {}
    for path in sorted(folder.glob("*.wav")):
        length = wav_length(path)
        border = int(length * TRAIN_NOISE)
        if min(border, length - border) < RATE:
            raise InputError(f"{path} has {length} samples, too few to train and to test on; give 5 s at least.")
        found[path] = ((0, border), (border, length))
    if not found:
        raise InputError(f"there is no recording of noise in {folder}; fetch the data again.")
    return found
