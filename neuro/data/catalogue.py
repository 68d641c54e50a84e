"""What a user is told about each data set, and whether it is on this machine. Loads nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from neuro.data import fashion_files


@dataclass(frozen=True)
class DatasetInfo:
    """What a user is told about a data set.

    Attributes:
        name: what to give on the command line.
        spec: how to write it, with its path if it takes one.
        what: what the images show.
        size: how many there are, of what shape, and at what size they are presented unless told otherwise.
        origin: where they come from, and the licence.
        found: whether they can be loaded now, without a download.
        where: where they were found; empty when they were not.
        how_to_get: what to do to have them; empty when nothing need be done.
    """

    name: str
    spec: str
    what: str
    size: str
    origin: str
    found: bool
    where: str
    how_to_get: str


def given(name: str, what: str, size: str, origin: str, where: str) -> Callable[[], DatasetInfo]:
    """Return the description of a data set whose place the user gives as NAME:PATH."""
    return lambda: DatasetInfo(
        name=name, spec=f"{name}:PATH", what=what, size=size, origin=origin, found=True, where=where, how_to_get=""
    )


def describe_digits() -> DatasetInfo:
    """Describe the data set and look for it here."""
    found = importlib.util.find_spec("sklearn") is not None
    return DatasetInfo(
        name="digits",
        spec="digits",
        what="handwritten digits, 10 classes",
        size="1,797 images of 8x8, grey; 1,438 to train, 359 held out; presented at 16x16",
        origin="UCI Optical Recognition of Handwritten Digits (CC BY 4.0), inside scikit-learn",
        found=found,
        where="scikit-learn" if found else "",
        how_to_get="" if found else "pip install scikit-learn",
    )


def describe_fashion_mnist() -> DatasetInfo:
    """Describe the data set and look for it here."""
    files = fashion_files.find()
    return DatasetInfo(
        name="fashion-mnist",
        spec="fashion-mnist or fashion-mnist:PATH",
        what="pictures of clothes, 10 classes",
        size="70,000 images of 28x28, grey; 60,000 to train, 10,000 to test; presented at 32x32",
        origin="Zalando Research, github.com/zalandoresearch/fashion-mnist (MIT)",
        found=files is not None,
        where=str(next(iter(files.values())).parent) if files else "",
        how_to_get="" if files else f"downloaded when first used (31 MB); or {fashion_files.HOW_TO_GET}",
    )


def describe_photos() -> DatasetInfo:
    """Describe the data set and look for it here."""
    found = importlib.util.find_spec("sklearn") is not None
    return DatasetInfo(
        name="photos",
        spec="photos",
        what="crops of two photographs, unlabelled",
        size="64 crops to calibrate and 64 to compare; presented at 224x224, 3 channels",
        origin="china.jpg and flower.jpg (CC BY), inside scikit-learn",
        found=found,
        where="scikit-learn" if found else "",
        how_to_get="" if found else "pip install scikit-learn",
    )


describe_mnist = given(
    "mnist",
    what="handwritten digits, 10 classes",
    size="70,000 images of 28x28, grey; 60,000 to train, 10,000 to test",
    origin="Y. LeCun, C. Cortes, C. Burges, 1998",
    where="the folder that you give, with the four idx files",
)
describe_cifar10 = given(
    "cifar10",
    what="pictures of things and animals, 10 classes",
    size="60,000 images of 32x32, 3 channels; 50,000 to train, 10,000 to test",
    origin="A. Krizhevsky, 2009",
    where="the place that you give: the binary or Python version, a folder or its archive, or a folder of PNG sheets",
)
describe_cifar100 = given(
    "cifar100",
    what="pictures of things and animals, 100 classes",
    size="60,000 images of 32x32, 3 channels; 50,000 to train, 10,000 to test",
    origin="A. Krizhevsky, 2009",
    where="the place that you give: the binary or Python version, a folder or its archive",
)
describe_folder = given(
    "folder",
    what="your own images",
    size="as many as the folder holds, of any format that Pillow reads; presented at 224x224, 3 channels",
    origin="PATH/CLASS/*, or PATH/train/CLASS/* and PATH/val/CLASS/*, or unlabelled PATH/*",
    where="the folder that you give",
)
describe_shards = given(
    "shards",
    what="your own images in tar files",
    size="as many as the tar files hold, .jpg, .jpeg, .png or .webp; presented at 224x224, 3 channels",
    origin="PATH/train*.tar and PATH/val*.tar (or test*.tar), of KEY.jpg with KEY.cls or KEY.json, or CLASS/NAME.jpg",
    where="the folder that you give",
)
describe_dvs_gesture = given(
    "dvs-gesture",
    what="11 gestures before an event camera",
    size="recordings of 128x128, off and on; split by the data's own lists",
    origin="A. Amir et al., CVPR 2017",
    where="the folder that you give, with trials_to_train.txt and the .aedat files, or tonic's folders",
)
describe_cifar10_dvs = given(
    "cifar10-dvs",
    what="CIFAR-10's pictures before an event camera, 10 classes",
    size="10,000 recordings of 128x128, off and on; a tenth held out",
    origin="H. Li et al., 2017",
    where="the folder that you give, with one folder of .aedat or .aedat4 for each class",
)
describe_n_mnist = given(
    "n-mnist",
    what="MNIST's digits before an event camera, 10 classes",
    size="70,000 recordings of 34x34, off and on; 60,000 to train, 10,000 to test",
    origin="G. Orchard et al., 2015",
    where="the folder that you give, with Train/0..9 and Test/0..9 of .bin files",
)
describe_events = given(
    "events",
    what="your own event recordings",
    size="as many as the folder holds; presented at 128x128, off and on",
    origin="PATH/train/CLASS/* and PATH/test/CLASS/* (.raw, .dat, .aedat, .aedat4, .bin, .es, .npz, .npy)",
    where="the folder that you give",
)
describe_speech_commands = given(
    "speech-commands",
    what="spoken words, 35 classes",
    size="105,829 clips of up to 1 s; 32 mel bands x 128 frames, cut into T parts",
    origin="P. Warden, arXiv:1804.03209, 2018",
    where="the folder that you give, with a folder for each word and the two lists",
)
describe_speech_commands_12 = given(
    "speech-commands-12",
    what="ten commands, unknown words and silence, 12 classes",
    size="105,829 clips of up to 1 s; 32 mel bands x 128 frames, cut into T parts",
    origin="P. Warden, arXiv:1804.03209, 2018",
    where="the folder that you give, as for speech-commands, with _background_noise_",
)
