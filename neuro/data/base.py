"""The one interface of all data sets, and time-first batches.

A `Dataset` holds two `Split`s. A split yields batches `(images, labels)` with images `[T, B, C, H, W]` in
float32: a static image is presented T times by expansion, without a copy (direct encoding), and event data
bring their own T. Models therefore never ask what kind of data they see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # describing the data sets (`neuro data`) must not wait for torch
    from torch import Tensor

    from neuro.data.batching import Normalise


class Split(Protocol):
    """One part (train or test) of a data set.

    Attributes:
        normalise: how pixels were normalised, for a network that wants them otherwise.
    """

    normalise: Normalise

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(images [T, B, C, H, W] float32, labels [B] int64)`; the last batch may be smaller.

        Args:
            batch_size: samples in a batch, B.
            timesteps: T; a static image is expanded along time.
            shuffle_seed: order of the samples; None keeps the stored order, without augmentation. The same
                seed gives the same order and the same augmentation on every machine and for every batch size.
            start: batches to leave out at the beginning, which are not read.

        Raises:
            InputError: `batch_size` or `timesteps` below 1, at the call; an unreadable sample, when met.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set, ready to use.

    Attributes:
        name: as given on the command line, for example `digits`.
        source: where it came from, with its licence and its split, for the run's record.
        classes: names of the classes; empty when the images carry no labels.
        in_channels: channels of an image.
        image_size: side of the square images, in pixels.
        train: samples to train on; None for unlabelled images, and for a folder that holds only a test part.
        test: held-out samples (for unlabelled images, all of them, with labels -1).
        preprocessing: what was done to the pixels, normalisation and augmentation included, for the record.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    in_channels: int
    image_size: int
    train: Split | None
    test: Split
    preprocessing: str = ""
