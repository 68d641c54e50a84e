"""CIFAR-10: both forms of its files give the same images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hardware_models.errors import InputError
from neuro.data import load_dataset

COUNT = 4


def pixels(name: str) -> np.ndarray:
    """`[N, 3, 32, 32]`, other ones in each file."""
    return np.random.default_rng(len(name) + ord(name[-1])).integers(0, 256, (COUNT, 3, 32, 32)).astype(np.uint8)


NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
LABELS = np.arange(COUNT, dtype=np.uint8) + 6


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    folder = tmp_path / "binary"
    folder.mkdir()
    for name in NAMES:
        records = np.concatenate([LABELS[:, None], pixels(name).reshape(COUNT, -1)], 1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    folder = tmp_path / "sheets"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(pixels(name).transpose(0, 2, 3, 1).reshape(COUNT, 1024, 3)).save(folder / f"{name}.png")
    (folder / "train_lables.json").write_text(json.dumps(LABELS.tolist() * 5))
    (folder / "test_lables.json").write_text(json.dumps(LABELS.tolist()))
    return folder


@pytest.mark.parametrize("form", ["binary", "sheets"])
def test_pixels_and_labels(request: pytest.FixtureRequest, form: str) -> None:
    data = load_dataset(f"cifar10:{request.getfixturevalue(form)}")
    assert data.train is not None
    assert (len(data.train), len(data.test)) == (5 * COUNT, COUNT)
    images, labels = next(iter(data.test.batches(COUNT, 1)))
    mean, std = torch.tensor((0.4914, 0.4822, 0.4465)), torch.tensor((0.2470, 0.2435, 0.2616))
    raw = (images[0] * std.view(3, 1, 1) + mean.view(3, 1, 1)) * 255
    torch.testing.assert_close(raw, torch.from_numpy(pixels("test_batch")).float(), atol=1e-3, rtol=0)
    assert labels.tolist() == LABELS.tolist()
    assert data.classes[6] == "frog"


def test_the_binary_version_is_found_in_the_folder_it_unpacks_to(binary: Path) -> None:
    binary.rename(binary.parent / "cifar-10-batches-bin")
    assert len(load_dataset(f"cifar10:{binary.parent}").test) == COUNT


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_dataset(f"cifar10:{folder}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_and_damaged_files(binary: Path, sheets: Path) -> None:
    (binary / "test_batch.bin").write_bytes(b"x" * 100)
    assert "100 bytes, no whole number of records" in refusal(binary)
    (binary / "test_batch.bin").unlink()
    assert "lacks test_batch.bin of the binary version" in refusal(binary)

    (sheets / "test_lables.json").write_text("[1, 2]")
    assert "2 labels for 4 images" in refusal(sheets)
    (sheets / "test_lables.json").write_text("{")
    assert "no list of labels" in refusal(sheets)
    (sheets / "test_lables.json").write_text(json.dumps([1, 2, 3, 10]))
    assert "the label 10" in refusal(sheets)
    Image.new("RGB", (100, 4)).save(sheets / "test_batch.png")
    assert "lines of 100 pixels" in refusal(sheets)
    (sheets / "test_batch.png").write_bytes(b"no picture")
    assert "cannot be read as a picture" in refusal(sheets)
    with pytest.raises(InputError, match="images of 32x32, not of 64x64"):
        load_dataset(f"cifar10:{sheets}", image_size=64)
