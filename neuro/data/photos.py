"""`photos`: crops of the two photographs in scikit-learn, to calibrate and compare networks of natural images.

china.jpg and flower.jpg, 640x427 (both CC BY, the authors in scikit-learn's `datasets/images/README.txt`). Two scenes
are few: enough to set ranges and to see whether two networks agree, no measure of accuracy.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neuro.data.base import Dataset
from neuro.data.batching import TensorSplit, check_image_size
from neuro.data.folder import NORMALISE
from neuro.data.images import training_box

DEFAULT_SIZE = 224
CROPS = 64
"""Crops of each part."""


def load(
    *,
    image_size: int = DEFAULT_SIZE,
    split_seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Dataset:
    """Return random crops, three channels, unlabelled; the two parts are different crops of the same photographs.

    Args:
        image_size: side of the crops in pixels.
        split_seed: seed of the crops.
        train_limit: most crops of the first part; None takes 64.
        test_limit: most crops of the second part; None takes 64.

    Raises:
        InputError: `image_size` below 1.
    """
    import sklearn
    from sklearn.datasets import load_sample_images

    check_image_size(image_size, 1, "photos")
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    uniform = torch.rand(2 * CROPS, 5, generator=torch.Generator().manual_seed(split_seed)).tolist()
    crops = torch.stack([_crop(photographs[i % 2], image_size, tuple(row)) for i, row in enumerate(uniform)])
    parts = [part[:limit] for part, limit in zip(crops.split(CROPS), (train_limit, test_limit), strict=True)]
    train, test = (TensorSplit(part, torch.full((len(part),), -1), NORMALISE) for part in parts)
    return Dataset(
        name="photos",
        source=(
            f"random crops of china.jpg and flower.jpg (CC BY), from scikit-learn {sklearn.__version__}; {len(train)} "
            f"to calibrate and {len(test)} others to compare (seed {split_seed}); unlabelled"
        ),
        classes=(),
        in_channels=3,
        image_size=image_size,
        train=train,
        test=test,
        preprocessing=f"crops of 8 % to 100 % of the area, resized to {image_size}x{image_size}, bicubic; {NORMALISE}",
    )


def _crop(photograph: Image.Image, size: int, uniform: tuple[float, ...]) -> Tensor:
    box = training_box(*photograph.size, uniform)
    pixels = np.asarray(photograph.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)
