"""Small data sets on disk."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from data_files import MakeImages, idx_images, idx_labels
from PIL import Image


@pytest.fixture
def make_images() -> MakeImages:
    """Write `count` PNG pictures, each of one colour that tells them apart, into a folder."""

    def make(folder: Path, count: int, base: int = 0, size: tuple[int, int] = (40, 30)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", size, (base + 5 * number, 128, 7)).save(folder / f"{number:03}.png")

    return make


@pytest.fixture
def fashion_folder(tmp_path: Path) -> Path:
    """A folder with Fashion-MNIST's four files, of 20 and 10 images; image i is filled with the value i."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    for part, count in (("train", 20), ("t10k", 10)):
        images = np.broadcast_to(np.arange(count)[:, None, None], (count, 28, 28))
        labels = [i % 10 for i in range(count)]
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_images(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_labels(labels)))
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Fashion-MNIST; returns its (absent) cache folder."""
    monkeypatch.setattr("neuro.data.fashion_files.SHARED_FOLDERS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NEURO_DATA", raising=False)
    return tmp_path / "cache" / "neuro"
