"""What the splits share: order, time-first presentation, and a split whose images fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.data.augment import Augment


@dataclass(frozen=True)
class Normalise:
    """`(pixel * scale - mean) / std` by channel.

    Attributes:
        mean: mean of each channel after scaling.
        std: standard deviation of each channel after scaling.
        scale: factor from stored pixels to the range 0..1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0

    def __call__(self, images: Tensor) -> Tensor:
        """Map images `[B, C, H, W]` of any dtype to normalised float32 of the same shape."""
        mean = torch.tensor(self.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.std).view(1, -1, 1, 1)
        return (images.float() * self.scale - mean) / std

    def undo(self, images: Tensor) -> Tensor:
        """Map normalised images `[..., C, H, W]` back to the range 0..1."""
        return images * torch.tensor(self.std).view(-1, 1, 1) + torch.tensor(self.mean).view(-1, 1, 1)

    def __str__(self) -> str:
        mean, std = ("/".join(f"{v:.4g}" for v in values) for values in (self.mean, self.std))
        return f"pixels to 0..1, minus mean {mean}, over standard deviation {std}"


class TensorSplit:
    """A split whose images are held in memory.

    Args:
        images: stored pixels, `[N, C, h, w]`, any dtype.
        labels: class of each image, `[N]` int64.
        normalise: from pixels at their final size to what the network sees.
        resize: from stored pixels `[B, C, h, w]` to the final size `[B, C, H, W]`; None when they have it.
        augment: random changes of training images at their final size, before normalisation, so that what
            lies outside an image is the data's own black; None for a test split.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        normalise: Normalise,
        resize: Callable[[Tensor], Tensor] | None = None,
        augment: Augment | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.normalise = normalise
        self.resize = resize
        self.augment = augment

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`."""
        check_batching(batch_size, timesteps)
        return self._batches(batch_size, timesteps, shuffle_seed)

    def _batches(self, batch_size: int, timesteps: int, seed: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        order, draws = plan_epoch(len(self), seed, self.augment.draws if self.augment else 0)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            images = self.images[chosen]
            if self.resize is not None:
                images = self.resize(images)
            if self.augment is not None and draws is not None:
                images = self.augment(images, draws[chosen])
            yield present(self.normalise(images), timesteps), self.labels[chosen]


def plan_epoch(count: int, seed: int | None, draws: int) -> tuple[Tensor, Tensor | None]:
    """Return the order of the samples `[N]` int64 and each sample's random numbers `[N, draws]`.

    Both are drawn at once from a generator of their own: nothing else that draws random numbers, and no
    batch size, changes what a seed means. Without a seed the order is the stored one and nothing is drawn;
    None stands for no numbers.
    """
    if seed is None:
        return torch.arange(count), None
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)
    return order, torch.rand(count, draws, generator=generator) if draws else None


def present(images: Tensor, timesteps: int) -> Tensor:
    """Return static images `[B, C, H, W]` as `[T, B, C, H, W]`, a view with stride 0 in time."""
    return images.unsqueeze(0).expand(timesteps, *images.shape)


def check_batching(batch_size: int, timesteps: int) -> None:
    """Refuse a batch size or a number of timesteps below 1."""
    for name, value in (("batch size", batch_size), ("number of timesteps", timesteps)):
        if value < 1:
            raise InputError(f"the {name} is {value}; give at least 1.")


def check_image_size(image_size: int, smallest: int, what: str) -> int:
    """Return `image_size`, or refuse one below `smallest`, the least that `what` can have."""
    if image_size < smallest:
        raise InputError(f"{what} cannot be made {image_size} pixels wide; give an image size of at least {smallest}.")
    return image_size
