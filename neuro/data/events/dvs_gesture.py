"""`dvs-gesture`: eleven gestures of 29 people before an event camera, 128x128.

Two layouts are read: IBM's own (recordings in AEDAT 3.1, each with a table of its gestures, and two lists of trials),
and tonic's (`ibmGestureTrain/USER/CLASS.npy`).
Source: A. Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System", CVPR 2017.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from hardware_models.errors import InputError
from neuro.data.base import Dataset
from neuro.data.batching import check_image_size
from neuro.data.events import aedat3, arrays
from neuro.data.events.augment import Shift
from neuro.data.events.event_split import Binning, EventSplit, Read, Sample, limited, words
from neuro.data.events.recording import Size
from neuro.data.splits import SPLIT_SEED

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
SIZE: Size = (128, 128)
# No flip: it would make a right hand a left one.
AUGMENT = Shift(5)
LISTS = ("trials_to_train.txt", "trials_to_test.txt")
TONIC = ("ibmGestureTrain", "ibmGestureTest")
COLUMNS = ("class", "startTime_usec", "endTime_usec")


def load(
    folder: Path,
    *,
    image_size: int = SIZE[0],
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    binning: Binning = "count",
) -> Dataset:
    """Return DVS-Gesture, two channels (off, on).

    Args:
        folder: with the two lists of trials (or `DvsGesture` in it), or with tonic's two folders.
        image_size: side of the frames, at most 128.
        split_seed: seed of the subset that a limit draws (the data bring their own split).
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        binning: frames of equally many events (`count`) or of equal duration (`time`).

    Raises:
        InputError: neither layout, a listed file or table is missing or damaged, another image size, a limit below
            1; a damaged recording when met.
    """
    check_image_size(image_size, 1, "DVS-Gesture")
    read, parts = _find(folder)
    train, test = (
        limited(samples, limit, split_seed) for samples, limit in zip(parts, (train_limit, test_limit), strict=True)
    )
    return Dataset(
        name=f"dvs-gesture:{folder}",
        source=f"DVS-Gesture from {folder}; {len(train)} to train and {len(test)} to test, by person",
        classes=CLASSES,
        in_channels=2,
        image_size=image_size,
        train=EventSplit(train, read, image_size, binning, AUGMENT),
        test=EventSplit(test, read, image_size, binning),
        preprocessing=words(image_size, binning, AUGMENT),
    )


def _find(folder: Path) -> tuple[Read, tuple[list[Sample], list[Sample]]]:
    """Return the reader and the samples of both parts, of the first layout that is there."""
    for root in (folder, folder / "DvsGesture"):
        if all((root / name).is_file() for name in LISTS):
            return partial(aedat3.read, sensor_size=SIZE), (_listed(root / LISTS[0]), _listed(root / LISTS[1]))
    for root in (folder, folder / "DVSGesture"):
        if all((root / name).is_dir() for name in TONIC):
            return partial(arrays.read_gesture, sensor_size=SIZE), (_tonic(root / TONIC[0]), _tonic(root / TONIC[1]))
    raise InputError(
        f"{folder} holds neither {' and '.join(LISTS)} nor tonic's {' and '.join(TONIC)}; give the folder that does."
    )


def _listed(trials: Path) -> list[Sample]:
    """Return the gestures of the recordings that a list names."""
    names = [line.strip() for line in _text(trials).splitlines() if line.strip()]
    missing = [name for name in names if not (trials.parent / name).is_file()]
    if not names:
        raise InputError(f"{trials} lists no recording; fetch it again.")
    if missing:
        raise InputError(
            f"{trials} lists {', '.join(missing[:3]) or 'nothing'}, absent from its folder; fetch it again."
        )
    return [sample for name in names for sample in _gestures(trials.parent / name)]


def _gestures(recording: Path) -> list[Sample]:
    """Return the gestures of one recording, from its table of class (1 to 11), start and end."""
    table = recording.with_name(f"{recording.stem}_labels.csv")
    rows = csv.DictReader(_text(table).splitlines())
    samples = []
    for row in rows:
        try:
            number, start, end = (int(row[column]) for column in COLUMNS)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{table} lacks whole numbers for {', '.join(COLUMNS)}; fetch it again.") from error
        if not 1 <= number <= len(CLASSES) or end <= start:
            raise InputError(f"{table} has the class {number} from {start} to {end} us; fetch it again.")
        samples.append(Sample(recording, number - 1, start, end))
    if not samples:
        raise InputError(f"{table} lists no gesture; fetch it again.")
    return samples


def _tonic(root: Path) -> list[Sample]:
    """Return the samples `USER/CLASS.npy`, classes from 0 to 10."""
    samples = []
    for path in sorted(root.rglob("*.npy")):
        if not path.stem.isdecimal() or int(path.stem) >= len(CLASSES):
            raise InputError(f"{path} is not named by a class from 0 to {len(CLASSES) - 1}; make the folder again.")
        samples.append(Sample(path, int(path.stem)))
    if not samples:
        raise InputError(f"{root} holds no .npy file; make it again.")
    return samples


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); fetch it again.") from error
