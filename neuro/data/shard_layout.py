"""Which images a folder of tar files holds and the class of each, by either of two layouts.

KEY.jpg, KEY.cls                  WebDataset: the class's number as text, or in KEY.json under "label"
CLASS/NAME.JPEG                   the class is the folder, as in ImageNet's archives
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hardware_models.errors import InputError
from neuro.data.tar_index import Member, members

IMAGE_ENDINGS = frozenset({"jpg", "jpeg", "png", "webp"})
LABEL_ENDINGS = ("cls", "json")


@dataclass(frozen=True)
class ShardSamples:
    """Images and their classes.

    Attributes:
        images: where each lies.
        labels: the class of each: a number in digits, or the name of a folder.
        numbered: whether the classes are numbers.
        unread: endings of other members, which are not used.
    """

    images: tuple[Member, ...]
    labels: tuple[str, ...]
    numbered: bool
    unread: frozenset[str]


@dataclass
class _Sample:
    """What stands under one key."""

    image: Member | None = None
    label: int | None = None


def read_part(paths: Sequence[Path]) -> ShardSamples:
    """Return the images of several tar files, in the order of the files.

    Raises:
        InputError: a damaged tar file, an image without a class, a class without an image, two images under one key,
            a label that is no number, no image at all.
    """
    held = [member for path in paths for member in members(path)]
    keyed = any(_key(member.name)[1] in LABEL_ENDINGS for member in held)
    samples = _by_key(held) if keyed else _by_folder(held)
    if not samples.images:
        raise InputError(f"{paths[0].parent} holds no image in {_names(paths)}; give shards with {_endings()}.")
    return samples


def _by_key(held: Sequence[Member]) -> ShardSamples:
    """Return the samples of WebDataset's layout."""
    found: dict[tuple[Path, str], _Sample] = {}
    unread = set()
    for member in held:
        key, ending = _key(member.name)
        if ending in IMAGE_ENDINGS:
            _take_image(found.setdefault((member.tar, key), _Sample()), member)
        elif ending in LABEL_ENDINGS:
            _take_label(found.setdefault((member.tar, key), _Sample()), member, ending)
        else:
            unread.add(ending)
    images = tuple(_image(sample, *place) for place, sample in found.items())
    return ShardSamples(images, _numbers(found), True, frozenset(unread))


def _by_folder(held: Sequence[Member]) -> ShardSamples:
    """Return the samples of ImageNet's layout."""
    images = tuple(member for member in held if _suffix(member) in IMAGE_ENDINGS)
    return ShardSamples(images, _folders(images), False, frozenset(map(_suffix, held)) - IMAGE_ENDINGS)


def _key(name: str) -> tuple[str, str]:
    """Return the key, folders included, and the ending after the first dot of the name, in small letters."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _suffix(member: Member) -> str:
    return PurePosixPath(member.name).suffix.removeprefix(".").lower()


def _take_image(sample: _Sample, member: Member) -> None:
    if sample.image is not None:
        raise InputError(f"{member} and {sample.image.name} have the same key; give each image a key of its own.")
    sample.image = member


def _take_label(sample: _Sample, member: Member, ending: str) -> None:
    """Note the label of a sample; `.cls` and `.json` must agree."""
    label = _label(member, ending)
    if label is None:
        return
    if sample.label not in (None, label):
        raise InputError(f"{member} says the class {label}, another member of its key {sample.label}; make them agree.")
    sample.label = label


def _label(member: Member, ending: str) -> int | None:
    """Return the class that a member states, or None for a JSON document without one."""
    content = member.read()
    try:
        if ending == "cls":
            label = int(content.decode("ascii"))
        else:
            document = json.loads(content)
            if not isinstance(document, dict) or "label" not in document:
                return None
            label = document["label"]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{member} holds no class ({error}); write the class's number into it.") from error
    if type(label) is not int or label < 0:
        raise InputError(f"{member} holds the class {label!r}; give a whole number from 0 on.")
    return label


def _image(sample: _Sample, path: Path, key: str) -> Member:
    if sample.image is None:
        raise InputError(f"{path} holds a class for the key {key} but no image ({_endings()}); add it.")
    return sample.image


def _numbers(found: dict[tuple[Path, str], _Sample]) -> tuple[str, ...]:
    labels = []
    for sample in found.values():
        if sample.label is None:
            raise InputError(f"{sample.image} has no class; add KEY.cls with its number, or KEY.json with a 'label'.")
        labels.append(str(sample.label))
    return tuple(labels)


def _folders(images: Sequence[Member]) -> tuple[str, ...]:
    labels = []
    for image in images:
        folder = PurePosixPath(image.name).parent.name
        if not folder:
            raise InputError(f"{image} has no class: neither KEY.cls or KEY.json beside it, nor a folder; add one.")
        labels.append(folder)
    return tuple(labels)


def _names(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{paths[0].name} to {paths[-1].name}"


def _endings() -> str:
    return ", ".join(f".{ending}" for ending in sorted(IMAGE_ENDINGS))
