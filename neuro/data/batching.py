"""What the splits share: the plan of an epoch, time-first presentation, and a split whose images fit in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

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


class Chosen(NamedTuple):
    """The samples of one batch, before they are read.

    Attributes:
        indices: of the samples, `[B]` int64.
        draws: their random numbers, `[B, D]` in [0, 1); None without augmentation.
    """

    indices: Tensor
    draws: Tensor | None

    def part(self, rank: int, world: int) -> Chosen:
        """Return the `rank`-th of `world` contiguous parts, as `torch.tensor_split` cuts them; it may be empty."""
        draws = None if self.draws is None else self.draws.tensor_split(world)[rank]
        return Chosen(self.indices.tensor_split(world)[rank], draws)


class PlannedSplit(ABC):
    """A split that plans an epoch before it reads: samples can be gathered by their indices, or left out unread.

    Attributes:
        normalise: how pixels are normalised.
        augment: random changes in a shuffled epoch; None for none.
    """

    normalise: Normalise
    augment: Augment | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def gather(self, chosen: Chosen, timesteps: int) -> tuple[Tensor, Tensor]:
        """Return `(images [T, B, C, H, W] float32, labels [B] int64)` of the chosen samples; B may be 0."""

    def gather_each(self, planned: Iterable[Chosen], timesteps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `gather` of each; a split that reads files overrides this to read ahead."""
        for chosen in planned:
            yield self.gather(chosen, timesteps)

    def plan(self, batch_size: int, shuffle_seed: int | None, start: int = 0) -> Iterator[Chosen]:
        """Yield the samples of each batch from the batch `start` on; see `Split.batches` for the seed.

        Raises:
            InputError: `start` is negative, or beyond the number of batches, at the call.
        """
        check_start(start, len(self), batch_size)
        order, draws = plan_epoch(len(self), shuffle_seed, self.augment.draws if self.augment else 0)
        rest = order[start * batch_size :]
        return (Chosen(indices, None if draws is None else draws[indices]) for indices in _cut(rest, batch_size))

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`.

        Args:
            batch_size: samples in a batch.
            timesteps: T.
            shuffle_seed: order of the samples and their augmentation; None keeps the stored order, without.
            start: batches at the beginning of the epoch to leave out, unread: to go on inside an epoch.

        Raises:
            InputError: as `Split.batches`; `start` below 0 or beyond the number of batches, at the call.
        """
        check_batching(batch_size, timesteps)
        return self.gather_each(self.plan(batch_size, shuffle_seed, start), timesteps)


class TensorSplit(PlannedSplit):
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
        return len(self.labels)

    def gather(self, chosen: Chosen, timesteps: int) -> tuple[Tensor, Tensor]:
        images = self.images[chosen.indices]
        if self.resize is not None:
            images = self.resize(images)
        if self.augment is not None and chosen.draws is not None and len(images):
            images = self.augment(images, chosen.draws)
        return present(self.normalise(images), timesteps), self.labels[chosen.indices]


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


def _cut(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the batches of an order; none of an empty one, where `Tensor.split` yields one."""
    return (order[first : first + batch_size] for first in range(0, len(order), batch_size))


def present(images: Tensor, timesteps: int) -> Tensor:
    """Return static images `[B, C, H, W]` as `[T, B, C, H, W]`, a view with stride 0 in time."""
    return images.unsqueeze(0).expand(timesteps, *images.shape)


def check_batching(batch_size: int, timesteps: int) -> None:
    """Refuse a batch size or a number of timesteps below 1."""
    for name, value in (("batch size", batch_size), ("number of timesteps", timesteps)):
        if value < 1:
            raise InputError(f"the {name} is {value}; give at least 1.")


def check_start(start: int, samples: int, batch_size: int) -> None:
    """Refuse to begin an epoch at a batch that it does not reach."""
    count = -(-samples // batch_size)
    if not 0 <= start <= count:
        raise InputError(f"an epoch of {count} batches cannot start at batch {start}; give 0 to {count}.")


def check_image_size(image_size: int, smallest: int, what: str) -> int:
    """Return `image_size`, or refuse one below `smallest`, the least that `what` can have."""
    if image_size < smallest:
        raise InputError(f"{what} cannot be made {image_size} pixels wide; give an image size of at least {smallest}.")
    return image_size
