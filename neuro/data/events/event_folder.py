"""`events:PATH`: your own event recordings, `PATH/train/CLASS/*` and `PATH/test/CLASS/*`, in any format that is read.

Recordings that do not state the size of their sensor (EVT without a geometry, `.npy`, `.npz`) take it from the text
file `PATH/geometry.txt`, one line such as 640x480.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.events.class_folders import class_names, class_samples
from neuro.data.events.event_split import Binning, EventSplit, limited, words
from neuro.data.events.reading import READERS, read_events
from neuro.data.events.recording import Size
from neuro.data.splits import SPLIT_SEED

DEFAULT_SIZE = 128
GEOMETRY = "geometry.txt"


def load(
    folder: Path,
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    binning: Binning = "count",
) -> Dataset:
    """Return the recordings of a folder, two channels (off, on).

    Args:
        folder: with `train` and `test`, each with one folder of recordings for each class.
        image_size: side of the frames; the events stand in the middle of a square as large as the sensor's longer
            side, summed to it.
        split_seed: seed of the subset that a limit draws.
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        binning: frames of equally many events (`count`) or of equal duration (`time`).

    Raises:
        InputError: no such folders, classes that differ, a class without recordings, a damaged geometry, an image
            size below 1, a limit below 1; when met, a damaged recording, or a sensor smaller than the image size.
    """
    check_image_size(image_size, 1, "event frames")
    classes = class_names(folder / "train")
    differing = set(classes) ^ set(class_names(folder / "test"))
    if differing:
        raise InputError(f"only one of train and test in {folder} has {', '.join(sorted(differing))}; make them agree.")
    train, test = (
        limited(class_samples(folder / part, classes, list(READERS)), limit, split_seed)
        for part, limit in (("train", train_limit), ("test", test_limit))
    )
    read = partial(read_events, sensor_size=_geometry(folder / GEOMETRY))
    return Dataset(
        name=f"events:{folder}",
        source=f"the event recordings in {folder}; {len(train)} to train and {len(test)} to test",
        classes=classes,
        in_channels=2,
        image_size=image_size,
        train=EventSplit(train, read, image_size, binning),
        test=EventSplit(test, read, image_size, binning),
        preprocessing=words(image_size, binning, None),
    )


def _geometry(path: Path) -> Size | None:
    """Return the size that the text file states, or None where there is no such file."""
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); write one line such as 640x480.") from error
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"{path} holds {text[:40]!r}, not WIDTHxHEIGHT; write one line such as 640x480.")
    return int(width), int(height)
