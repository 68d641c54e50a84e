"""The embedded digits."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from hardware_models.errors import InputError
from neuro.data import Dataset, Split, load_dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def everything(split: Split, seed: int | None = None, batch_size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*split.batches(batch_size, 1, seed), strict=True)
    return torch.cat(images, dim=1)[0], torch.cat(labels)


def train_of(dataset: Dataset) -> Split:
    assert dataset.train is not None
    return dataset.train


def test_both_parts_are_all_1797_real_digits_and_share_none(digits: Dataset) -> None:
    assert len(train_of(digits)) + len(digits.test) == 1797
    assert 0.18 < len(digits.test) / 1797 < 0.25

    # Independent of the code: undo the normalisation and compare with what scikit-learn gives.
    train, train_labels = everything(train_of(digits))
    test, test_labels = everything(digits.test)
    real = functional.interpolate(
        torch.from_numpy(load_digits().images).float()[:, None] / 16, scale_factor=2, mode="bilinear"
    )
    found = torch.cat([train, test])
    low, high = found.min(), found.max()
    found = (found - low) / (high - low)
    nearest = torch.cdist(found.flatten(1).double(), real.flatten(1).double()).min(dim=1)
    assert nearest.values.max() < 1e-3
    assert len(nearest.indices.unique()) == 1797
    assert torch.equal(torch.cat([train_labels, test_labels]), torch.from_numpy(load_digits().target)[nearest.indices])


def test_held_out_part_has_every_class_alike(digits: Dataset) -> None:
    counts = torch.bincount(everything(digits.test)[1], minlength=10)
    assert counts.min() >= 34
    assert counts.max() <= 37


def test_shapes_types_and_time_first_expansion(digits: Dataset) -> None:
    images, labels = next(iter(digits.test.batches(7, 4)))
    assert images.shape == (4, 7, 1, 16, 16)
    assert images.dtype == torch.float32
    assert images.stride(0) == 0, "a static image is not copied for each timestep"
    assert labels.shape == (7,)
    assert labels.dtype == torch.int64
    assert digits.classes == tuple("0123456789")
    assert (digits.in_channels, digits.image_size) == (1, 16)


def test_last_batch_is_smaller_and_nothing_is_lost(digits: Dataset) -> None:
    sizes = [len(labels) for _, labels in digits.test.batches(100, 1)]
    assert sizes[:-1] == [100] * (len(sizes) - 1)
    assert sum(sizes) == len(digits.test)


def test_training_pixels_are_normalised(digits: Dataset) -> None:
    images, _ = everything(train_of(digits))
    assert abs(images.mean()) < 1e-4
    assert abs(images.std() - 1) < 1e-4


def test_the_same_seed_gives_the_same_epoch_whatever_else_is_random(digits: Dataset) -> None:
    first = everything(train_of(digits), seed=5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = everything(train_of(digits), seed=5, batch_size=17)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first[0], second[0], atol=1e-5, rtol=0)
    other = everything(train_of(digits), seed=6)
    assert not torch.equal(first[1], other[1])


def test_shuffled_training_is_augmented_and_nothing_else_is(digits: Dataset) -> None:
    def sums(split: Split, seed: int | None) -> list[float]:
        return sorted(everything(split, seed)[0].double().sum((1, 2, 3)).tolist())

    assert sums(train_of(digits), 1) != sums(train_of(digits), None)
    assert sums(digits.test, 1) == pytest.approx(sums(digits.test, None))
    assert everything(train_of(digits), None)[0].equal(everything(train_of(digits), None)[0])


def test_augmented_digits_stay_the_same_digits(digits: Dataset) -> None:
    """A nearest-neighbour classifier on the plain images still reads the changed ones."""
    plain, plain_labels = everything(train_of(digits))
    changed, labels = everything(train_of(digits), seed=3)
    read = plain_labels[torch.cdist(changed.flatten(1), plain.flatten(1)).argmin(1)]
    assert (read == labels).float().mean() > 0.95
    assert changed.min() >= plain.min() - 1e-4, "black stays black where the image was moved away"


def test_split_seed_changes_the_split_and_the_default_is_fixed(digits: Dataset) -> None:
    assert torch.equal(everything(digits.test)[0], everything(load_dataset("digits").test)[0])
    other = everything(load_dataset("digits", split_seed=1).test)[0]
    assert not torch.equal(everything(digits.test)[0], other)


def test_limits_keep_the_classes_even() -> None:
    limited = load_dataset("digits", train_limit=50, test_limit=20)
    assert torch.bincount(everything(train_of(limited))[1]).tolist() == [5] * 10
    assert torch.bincount(everything(limited.test)[1]).tolist() == [2] * 10


def test_record_says_source_licence_split_and_normalisation(digits: Dataset) -> None:
    for word in ("UCI", "CC BY 4.0", "scikit-learn", "held out"):
        assert word in digits.source
    for word in ("bilinear", "16x16", "mean 0.3", "rotation"):
        assert word in digits.preprocessing


@pytest.mark.parametrize("size", [8, 16, 31])
def test_image_size(size: int) -> None:
    dataset = load_dataset("digits", image_size=size, test_limit=3)
    images, _ = next(iter(dataset.test.batches(3, 2)))
    assert images.shape == (2, 3, 1, size, size)
    assert dataset.image_size == size


def test_bad_values_are_refused_at_once(digits: Dataset) -> None:
    with pytest.raises(InputError, match="at least 8"):
        load_dataset("digits", image_size=4)
    with pytest.raises(InputError, match="at least 1"):
        load_dataset("digits", train_limit=0)
    with pytest.raises(InputError, match="timesteps is 0"):
        digits.test.batches(4, 0)
    with pytest.raises(InputError, match="batch size is 0"):
        digits.test.batches(0, 4)
