"""Folders of images: layouts, splits, batches, and everything that can be wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import MakeImages
from PIL import Image

from hardware_models.errors import InputError
from neuro.data import Dataset, Split, load_dataset

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


def load(folder: Path, size: int = 8, **options: int) -> Dataset:
    return load_dataset(f"folder:{folder}", image_size=size, **options)


def reds(split: Split, seed: int | None = None, batch_size: int = 3) -> list[tuple[int, int]]:
    """Return (red value of the one-coloured image, label) of each sample, in order."""
    found = []
    for images, labels in split.batches(batch_size, 2, seed):
        red = (images[0].mean((2, 3)) * STD + MEAN)[:, 0] * 255
        found += list(zip(red.round().int().tolist(), labels.tolist(), strict=True))
    return found


@pytest.fixture
def pets(tmp_path: Path, make_images: MakeImages) -> Path:
    """Two classes of ten: cats have red values 0, 5 .. 45, dogs 100, 105 .. 145."""
    make_images(tmp_path / "pets" / "dog", 10, base=100)
    make_images(tmp_path / "pets" / "cat", 10, base=0)
    return tmp_path / "pets"


CATS = [(5 * i, 0) for i in range(10)]
DOGS = [(100 + 5 * i, 1) for i in range(10)]


def test_classes_are_folders_in_alphabetical_order(pets: Path) -> None:
    dataset = load(pets)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train is not None
    assert sorted(reds(dataset.train) + reds(dataset.test)) == CATS + DOGS
    assert len(dataset.test) == 4
    assert sorted(label for _, label in reds(dataset.test)) == [0, 0, 1, 1]
    assert "20% of each class held out" in dataset.source
    assert "16 to train and 4 to test" in dataset.source


def test_the_held_out_split_is_the_same_every_time(pets: Path) -> None:
    assert reds(load(pets).test) == reds(load(pets).test)


def test_shapes_normalisation_and_expansion(pets: Path) -> None:
    dataset = load(pets, size=12)
    images, labels = next(iter(dataset.test.batches(3, 4)))
    assert images.shape == (4, 3, 3, 12, 12)
    assert images.dtype == torch.float32
    assert images.stride(0) == 0
    assert labels.dtype == torch.int64
    assert (dataset.in_channels, dataset.image_size) == (3, 12)
    green, blue = (128 / 255 - 0.456) / 0.224, (7 / 255 - 0.406) / 0.225
    torch.testing.assert_close(images[0, :, 1], torch.full((3, 12, 12), green))
    torch.testing.assert_close(images[0, :, 2], torch.full((3, 12, 12), blue))
    assert "0.485/0.456/0.406" in dataset.preprocessing


def test_default_size_is_that_of_imagenet_networks(pets: Path) -> None:
    dataset = load_dataset(f"folder:{pets}")
    assert next(iter(dataset.test.batches(1, 1)))[0].shape == (1, 1, 3, 224, 224)


def test_shuffled_epochs_are_deterministic_and_complete(pets: Path) -> None:
    train = load(pets).train
    assert train is not None
    assert reds(train, 7) == reds(train, 7, batch_size=16)
    assert reds(train, 7) != reds(train, 8)
    assert sorted(reds(train, 7)) == sorted(reds(train))


def test_training_crops_differ_by_seed_and_evaluation_does_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    dataset = load(tmp_path)
    assert dataset.train is not None

    def first(split: Split, seed: int | None) -> torch.Tensor:
        return next(iter(split.batches(1, 1, seed)))[0]

    assert torch.equal(first(dataset.train, 1), first(dataset.train, 1))
    assert not torch.equal(first(dataset.train, 1), first(dataset.train, 2))
    assert torch.equal(first(dataset.train, None), first(dataset.test, 1))


@pytest.mark.parametrize(("train", "held_out"), [("train", "val"), ("training", "test"), ("Train", "Validation")])
def test_a_folder_with_its_own_split(tmp_path: Path, make_images: MakeImages, train: str, held_out: str) -> None:
    for name, base in (("cat", 0), ("dog", 100)):
        make_images(tmp_path / train / name, 3, base)
        make_images(tmp_path / held_out / name, 2, base + 50)
    dataset = load(tmp_path)
    assert dataset.train is not None
    assert reds(dataset.train) == [*CATS[:3], *DOGS[:3]]
    assert reds(dataset.test) == [(50, 0), (55, 0), (150, 1), (155, 1)]
    assert f"its folder {held_out}" in dataset.source


def test_only_a_training_folder_is_split(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "train" / "cat", 5)
    make_images(tmp_path / "train" / "dog", 5, 100)
    dataset = load(tmp_path)
    assert dataset.train is not None
    assert (len(dataset.train), len(dataset.test)) == (8, 2)


def test_only_a_validation_folder_can_be_tested_on(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "val" / "cat", 1)
    make_images(tmp_path / "val" / "dog", 2, 100)
    dataset = load(tmp_path)
    assert dataset.train is None
    assert reds(dataset.test) == [CATS[0], *DOGS[:2]]
    assert "nothing to train on" in dataset.source


def test_unlabelled_images(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "photos", 3)
    dataset = load(tmp_path / "photos")
    assert dataset.classes == ()
    assert dataset.train is None
    assert reds(dataset.test) == [(0, -1), (5, -1), (10, -1)]
    assert "unlabelled" in dataset.source


def test_limits(pets: Path, tmp_path: Path, make_images: MakeImages) -> None:
    dataset = load(pets, train_limit=6, test_limit=2)
    assert dataset.train is not None
    assert sorted(label for _, label in reds(dataset.train)) == [0, 0, 0, 1, 1, 1]
    assert sorted(label for _, label in reds(dataset.test)) == [0, 1]
    make_images(tmp_path / "photos", 3)
    assert len(load(tmp_path / "photos", test_limit=1).test) == 1


def test_other_files_hidden_files_and_deeper_folders(pets: Path, make_images: MakeImages) -> None:
    (pets / "README.txt").write_text("about")
    (pets / "cat" / "Thumbs.db").write_bytes(b"x")
    (pets / "cat" / "._000.png").write_bytes(b"left by a Mac")
    (pets / ".git").mkdir()
    (pets / "__MACOSX").mkdir()
    (pets / "cat" / "000.png").rename(pets / "cat" / "UPPER.PNG")
    make_images(pets / "cat" / "more", 1, 50)
    dataset = load(pets)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train is not None
    assert sorted(reds(dataset.train) + reds(dataset.test)) == [*CATS, (50, 0), *DOGS]


def test_a_caller_may_stop_early(pets: Path) -> None:
    split = load(pets).test
    batches = split.batches(1, 1)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(list(split.batches(1, 1))) == len(split)  # and the next caller gets them all


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_folder_file_and_empty_folder(tmp_path: Path, pets: Path) -> None:
    assert "there is no folder" in refusal(tmp_path / "absent")
    assert f"folder:{pets / 'cat'}" in refusal(pets / "cat" / "000.png")
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refusal(tmp_path / "empty")


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "holds no image (only 'notes.txt')" in refusal(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "deeper").mkdir()
    assert "holds no image" in refusal(tmp_path)


def test_one_class_says_how_to_use_it_unlabelled(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "cat", 3)
    message = refusal(tmp_path)
    assert "only one class, 'cat'" in message
    assert f"folder:{tmp_path / 'cat'}" in message


def test_a_class_without_images(pets: Path) -> None:
    (pets / "bird").mkdir()
    assert "no image for the class 'bird'" in refusal(pets)


def test_a_class_with_one_image_cannot_be_split(pets: Path, make_images: MakeImages) -> None:
    make_images(pets / "bird", 1)
    assert "the class 'bird'" in refusal(pets)
    assert "train/ and val/" in refusal(pets)


def test_images_beside_class_folders(pets: Path, make_images: MakeImages) -> None:
    make_images(pets, 1)
    assert "holds both images ('000.png') and class folders" in refusal(pets)


def test_parts_with_other_classes(tmp_path: Path, make_images: MakeImages) -> None:
    for part, name in (("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "bird")):
        make_images(tmp_path / part / name, 2)
    assert "'bird', 'dog' are in one only" in refusal(tmp_path)


def test_a_held_out_part_without_classes(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "train" / "cat", 2)
    make_images(tmp_path / "train" / "dog", 2)
    make_images(tmp_path / "test", 2)
    assert "has no class folders" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "stub"])
def test_a_file_that_is_no_image_is_named_at_once(pets: Path, content: bytes) -> None:
    bad = pets / "dog" / "bad.png"
    bad.write_bytes(content)
    message = refusal(pets)
    assert f"cannot read the image {bad}" in message
    assert "replace it or take it out" in message


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_image_is_named_when_it_is_met(tmp_path: Path, make_images: MakeImages, ending: str) -> None:
    make_images(tmp_path, 2)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    bad = tmp_path / f"bad.{ending}"
    Image.fromarray(noise).save(bad)
    bad.write_bytes(bad.read_bytes()[:-500])
    test = load(tmp_path).test
    with pytest.raises(InputError, match="cannot read the image") as caught:
        list(test.batches(2, 1))
    assert str(bad) in str(caught.value)


def test_an_image_that_disappears_is_named(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path, 2)
    test = load(tmp_path).test
    (tmp_path / "001.png").unlink()
    with pytest.raises(InputError, match=r"001\.png: No such file"):
        list(test.batches(2, 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(pets: Path) -> None:
    (pets / "cat").chmod(0)
    try:
        assert "permit it" in refusal(pets)
    finally:
        (pets / "cat").chmod(0o755)


def test_bad_image_size(pets: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        load(pets, size=0)
