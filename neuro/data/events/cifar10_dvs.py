"""`cifar10-dvs`: CIFAR-10's pictures moved before an event camera, 128x128, 10,000 recordings.

The camera lay on its side: of its own files (`.aedat`, AEDAT 2.0) rows and columns are exchanged here, so that the
pictures stand upright. The files that tonic offers (`.aedat4`) are taken as they are.
The data bring no split; one tenth of each class is held out, as the papers that use them do, by the split seed.
Source: H. Li, H. Liu, X. Ji, G. Li, L. Shi, "CIFAR10-DVS: An Event-Stream Dataset for Object Classification",
Frontiers in Neuroscience 11:309, 2017.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from neuro.data.augment import Chain
from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.events.augment import FlipX, Shift
from neuro.data.events.class_folders import class_samples, subfolder
from neuro.data.events.event_split import Binning, EventSplit, limited, words
from neuro.data.events.reading import read_events
from neuro.data.events.recording import Events
from neuro.data.splits import SPLIT_SEED, held_out_split

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STORED_SIZE = 128
HELD_OUT = 0.1
AUGMENT = Chain((FlipX(), Shift(5)))
LAYOUTS = ("", "CIFAR10DVS", "CIFAR10-DVS")


def load(
    folder: Path,
    *,
    image_size: int = STORED_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    binning: Binning = "count",
) -> Dataset:
    """Return CIFAR10-DVS, two channels (off, on).

    Args:
        folder: with one folder of recordings for each class, in it or in `CIFAR10DVS` (tonic).
        image_size: side of the frames, at most 128.
        split_seed: seed of the held-out tenth and of the subset that a limit draws.
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        binning: frames of equally many events (`count`) or of equal duration (`time`).

    Raises:
        InputError: a class folder is missing or empty, another image size, a limit below 1; a damaged file when met.
    """
    check_image_size(image_size, 1, "CIFAR10-DVS")
    root = subfolder(folder, [f"{layout}/{CLASSES[0]}".lstrip("/") for layout in LAYOUTS], "CIFAR10-DVS").parent
    samples = class_samples(root, CLASSES, [".aedat", ".aedat4"])
    parts = held_out_split(torch.tensor([sample.label for sample in samples]), split_seed, HELD_OUT)
    train, test = (
        limited([samples[index] for index in part.tolist()], limit, split_seed)
        for part, limit in zip(parts, (train_limit, test_limit), strict=True)
    )
    return Dataset(
        name=f"cifar10-dvs:{folder}",
        source=(
            f"CIFAR10-DVS from {root}; {HELD_OUT:.0%} of each class held out (split seed {split_seed}); "
            f"{len(train)} to train and {len(test)} to test"
        ),
        classes=CLASSES,
        in_channels=2,
        image_size=image_size,
        train=EventSplit(train, read_upright, image_size, binning, AUGMENT),
        test=EventSplit(test, read_upright, image_size, binning),
        preprocessing=words(image_size, binning, AUGMENT),
    )


def read_upright(path: Path) -> Events:
    """Return the events of a recording, rows and columns of an AEDAT 2.0 exchanged."""
    events = read_events(path, (STORED_SIZE, STORED_SIZE))
    return replace(events, x=events.y, y=events.x) if path.suffix.lower() == ".aedat" else events
