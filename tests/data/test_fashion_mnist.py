"""Fashion-MNIST: where it is found, what the files must be, and what comes out."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import idx_images, idx_labels

from hardware_models.errors import InputError
from neuro.data import load_dataset

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"


def load(folder: Path, **options: int) -> torch.Tensor:
    return next(iter(load_dataset(f"fashion-mnist:{folder}", **options).test.batches(10, 1)))[0]


def test_images_are_padded_not_blurred(fashion_folder: Path) -> None:
    images = load(fashion_folder)
    assert images.shape == (1, 10, 1, 32, 32)
    raw = images * 0.3530 + 0.2860
    assert torch.allclose(raw[0, 9, 0, 2:30, 2:30], torch.tensor(9 / 255), atol=1e-6)
    raw[..., 2:30, 2:30] = 0
    assert raw.abs().max() < 1e-6


def test_larger_images_repeat_pixels_and_then_pad(fashion_folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28))
    for part in ("train", "t10k"):
        (fashion_folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_images(pixels)))
        (fashion_folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_labels([3])))
    raw = (load(fashion_folder, image_size=61)[0, 0, 0] * 0.3530 + 0.2860) * 255
    expected = np.pad(np.kron(pixels[0], np.ones((2, 2))), ((2, 3), (2, 3)))
    np.testing.assert_allclose(raw.numpy(), expected, atol=1e-3)


def test_counts_labels_and_record(fashion_folder: Path) -> None:
    dataset = load_dataset(f"fashion-mnist:{fashion_folder}")
    assert dataset.train is not None
    assert (len(dataset.train), len(dataset.test)) == (20, 10)
    labels = torch.cat([labels for _, labels in dataset.train.batches(6, 2)])
    assert labels.tolist() == [*range(10), *range(10)]
    assert dataset.classes[9] == "Ankle boot"
    assert "NOT the published files" in dataset.source
    assert str(fashion_folder) in dataset.source
    assert "padded with black to 32x32" in dataset.preprocessing


def test_training_is_augmented_the_same_way_under_a_seed(fashion_folder: Path) -> None:
    train = load_dataset(f"fashion-mnist:{fashion_folder}").train
    assert train is not None
    first, labels = next(iter(train.batches(20, 1, 4)))
    again, same = next(iter(train.batches(20, 1, 4)))
    plain, _ = next(iter(train.batches(20, 1)))
    assert torch.equal(first, again)
    assert torch.equal(labels, same)

    def totals(images: torch.Tensor) -> torch.Tensor:
        return images.sum((0, 2, 3, 4)).sort().values

    torch.testing.assert_close(totals(first), totals(plain), atol=1e-2, rtol=0)  # no pixel is lost at 32x32
    corners = first[0, :, 0, 2, 2] < -0.8  # where the picture has moved away from, black shows
    assert 0 < corners.sum() < 20


@pytest.mark.parametrize("layout", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_found_through_the_environment_in_the_usual_layouts(
    nowhere: Path, fashion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(fashion_folder, data / layout)
    monkeypatch.setenv("NEURO_DATA", str(data))
    assert len(load_dataset("fashion-mnist").test) == 10


def test_unpacked_files_are_read_too(fashion_folder: Path) -> None:
    for path in fashion_folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load(fashion_folder).shape[1] == 10


def test_image_size_below_the_stored_one_is_refused(fashion_folder: Path) -> None:
    with pytest.raises(InputError, match="at least 28"):
        load(fashion_folder, image_size=16)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_folder_and_missing_part(fashion_folder: Path, tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "absent")
    (fashion_folder / TRAIN_LABELS).unlink()
    assert f"lacks {TRAIN_LABELS};" in refusal(fashion_folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],  # truncated
        lambda raw: b"",  # a download that never began
        lambda raw: b"<html>not found</html>",  # an error page under the file's name
        lambda raw: raw[:40] + bytes([raw[40] ^ 0xFF]) + raw[41:],  # one byte changed
    ],
    ids=["truncated", "empty", "html", "flipped byte"],
)
def test_damaged_gzip(fashion_folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = fashion_folder / TRAIN_IMAGES
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(fashion_folder)
    assert str(path) in message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (idx_labels([1] * 20), "begins with 00 00 08 01, not 00 00 08 03"),
        (idx_images(np.zeros((20, 28, 28)))[:-1], "announces 20x28x28 but holds 15679 bytes"),
        (idx_images(np.zeros((20, 28, 28))) + b"x", "holds 15681 bytes"),
        (idx_images(np.zeros((20, 28, 28)))[:10], "a complete header"),
        (idx_images(np.zeros((0, 28, 28))), "holds 0 bytes"),
        (idx_images(np.zeros((20, 32, 32))), "images of 32x32, not 28x28"),
        (idx_images(np.zeros((19, 28, 28))), "19 images but"),
    ],
)
def test_wrong_contents_of_the_image_file(fashion_folder: Path, content: bytes, word: str) -> None:
    (fashion_folder / TRAIN_IMAGES).write_bytes(gzip.compress(content))
    assert word in refusal(fashion_folder)


def test_a_label_that_is_no_class(fashion_folder: Path) -> None:
    (fashion_folder / TRAIN_LABELS).write_bytes(gzip.compress(idx_labels([10] * 20)))
    assert "the label 10" in refusal(fashion_folder)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_files() -> None:
    dataset = load_dataset(f"fashion-mnist:{DEBIAN}")
    assert dataset.train is not None
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert "the published files by SHA-256" in dataset.source

    images, labels = next(iter(dataset.train.batches(60_000, 1)))
    assert torch.bincount(labels).tolist() == [6_000] * 10
    assert labels[:5].tolist() == [9, 0, 0, 3, 0]  # a boot, two T-shirts, a dress, a T-shirt
    inside = images[..., 2:30, 2:30]
    assert abs(inside.mean()) < 1e-3
    assert abs(inside.std() - 1) < 1e-3
