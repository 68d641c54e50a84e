"""MNIST: the files it is read from, and what comes out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from data_files import idx_labels

from hardware_models.errors import InputError
from neuro.data import load_dataset


@pytest.mark.parametrize("layout", ["", "MNIST/raw", "mnist"])
def test_pixels_labels_and_sizes(fashion_folder: Path, tmp_path: Path, layout: str) -> None:
    """The files of Fashion-MNIST have MNIST's names and format: image i is filled with i, labels count up."""
    folder = tmp_path / "given"
    (folder / layout).mkdir(parents=True)
    for path in fashion_folder.iterdir():
        target = folder / layout / path.name.removesuffix(".gz")
        target.write_bytes(gzip.decompress(path.read_bytes()))
    data = load_dataset(f"mnist:{folder}")
    assert data.train is not None
    assert (len(data.train), len(data.test)) == (20, 10)
    images, labels = next(iter(data.test.batches(10, 1)))
    assert images.shape == (1, 10, 1, 28, 28)
    assert labels.tolist() == list(range(10))
    assert torch.allclose(images[0, 7] * 0.3081 + 0.1307, torch.tensor(7 / 255), atol=1e-6)


def test_larger_images_are_padded(fashion_folder: Path) -> None:
    images, _ = next(iter(load_dataset(f"mnist:{fashion_folder}", image_size=32).test.batches(10, 1)))
    raw = images * 0.3081 + 0.1307
    assert raw.shape[-1] == 32
    assert raw[0, 9, 0, 2:30, 2:30].min() > 0.03
    assert raw[0, 9, 0, :2].abs().max() < 1e-6


def test_bad_files(fashion_folder: Path) -> None:
    labels = fashion_folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx_labels([11] * 10)))
    with pytest.raises(InputError, match="label 11, but MNIST has the classes 0 to 9"):
        load_dataset(f"mnist:{fashion_folder}")
    labels.unlink()
    with pytest.raises(InputError, match="does not hold the four files of MNIST"):
        load_dataset(f"mnist:{fashion_folder}")
    with pytest.raises(InputError, match="write mnist:PATH"):
        load_dataset("mnist")
