"""`digits`: 1,797 real handwritten digits of 8x8 pixels, embedded in scikit-learn.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0; its test part (13 writers) as scikit-learn ships it.
The held-out split is drawn by class, not by writer: the file does not say who wrote what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neuro.data.augment import AffineJitter
from neuro.data.augment_settings import chosen_augment, in_training
from neuro.data.base import Dataset
from neuro.data.batching import Normalise, TensorSplit, check_image_size
from neuro.data.splits import SPLIT_SEED, balanced_subset, held_out_split

STORED_SIZE = 8
DEFAULT_SIZE = 16
WHITE = 16  # the stored value of a fully inked pixel
JITTER = AffineJitter(degrees=10, scaling=0.1, shift=1 / 16)


def load(
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = SPLIT_SEED,
    train_limit: int | None = None,
    test_limit: int | None = None,
    augment: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the digits, one channel, enlarged bilinearly to `image_size`.

    Args:
        image_size: side of the images in pixels, at least 8.
        split_seed: seed of the held-out split, 20 % of each class.
        train_limit: most training samples to keep; None keeps all.
        test_limit: most test samples to keep; None keeps all.
        augment: changes of training images, see `build_augment`; None takes the data set's own, {} none.

    Raises:
        InputError: `image_size` below 8, a limit below 1, or an unknown augmentation.
    """
    check_image_size(image_size, STORED_SIZE, "digits")
    changes = chosen_augment(augment, JITTER)
    images, labels, version = _stored()
    images = _enlarge(images, image_size)
    train, test = held_out_split(labels, split_seed)
    seen = images[train]  # the test part must not leak into the normalisation
    normalise = Normalise((seen.mean().item(),), (seen.std().item(),))
    train = train[balanced_subset(labels[train], train_limit, split_seed)]
    test = test[balanced_subset(labels[test], test_limit, split_seed)]
    return Dataset(
        name="digits",
        source=(
            f"UCI Optical Recognition of Handwritten Digits (CC BY 4.0), from scikit-learn {version}; "
            f"{len(train)} to train and {len(test)} held out by class (split seed {split_seed})"
        ),
        classes=tuple(str(digit) for digit in range(10)),
        in_channels=1,
        image_size=image_size,
        train=TensorSplit(images[train], labels[train], normalise, augment=changes),
        test=TensorSplit(images[test], labels[test], normalise),
        preprocessing=(
            f"{STORED_SIZE}x{STORED_SIZE} enlarged bilinearly to {image_size}x{image_size}; {normalise}; "
            f"{in_training(changes)}"
        ),
    )


def _stored() -> tuple[Tensor, Tensor, str]:
    """Return images `[1797, 1, 8, 8]` float32 in 0..1, labels `[1797]` int64, and scikit-learn's version."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / WHITE
    return images, torch.from_numpy(digits.target).long(), sklearn.__version__


def _enlarge(images: Tensor, image_size: int) -> Tensor:
    """Return images `[N, 1, 8, 8]` as `[N, 1, image_size, image_size]`."""
    return functional.interpolate(images, size=(image_size, image_size), mode="bilinear", align_corners=False)
