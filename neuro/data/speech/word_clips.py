"""The clips of Speech Commands by part: its lists of validation and test clips part them by speaker."""

from __future__ import annotations

from pathlib import Path

from hardware_models.errors import InputError

WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
LISTS = ("validation_list.txt", "testing_list.txt")


def word_clips(root: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]], int]:
    """Return the training clips and the test clips by word, and how many validation clips are in neither.

    Raises:
        InputError: a folder or a list is missing, a list names a clip that is not there, a word lacks clips in a part.
    """
    missing = [name for name in WORDS if not (root / name).is_dir()]
    missing += [name for name in LISTS if not (root / name).is_file()]
    if missing:
        raise InputError(f"{root} lacks {', '.join(missing)} of Speech Commands; give the folder that holds all.")
    validation, testing = (_listed(root, name) for name in LISTS)
    train: dict[str, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    for word in WORDS:
        names = sorted(path.name for path in (root / word).glob("*.wav"))
        held_out = validation | testing
        train[word] = [root / word / name for name in names if f"{word}/{name}" not in held_out]
        test[word] = [root / word / name for name in names if f"{word}/{name}" in testing]
        if not train[word] or not test[word]:
            raise InputError(f"{root / word} has no clip to train on or none to test on; fetch the data again.")
    return train, test, len(validation)


def _listed(root: Path, name: str) -> set[str]:
    """Return the clips, as WORD/FILE, that a list names."""
    try:
        lines = (root / name).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{root / name} cannot be read ({error}); fetch it again.") from error
    absent = [line for line in lines if not (root / line).is_file()]
    if absent:
        raise InputError(f"{root / name} names {absent[0]} and {len(absent) - 1} more that are not there; fetch them.")
    return set(lines)
