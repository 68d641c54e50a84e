"""A split whose images stay in their files and are decoded, ahead of their use, by a few threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hardware_models.errors import InputError
from neuro.data.augment import Augment, Chain
from neuro.data.batching import Chosen, Normalise, PlannedSplit, present
from neuro.data.images import check_header, read_square
from neuro.data.resized_crop import ResizedCropFlip

# Threads, not processes: Pillow lets go of the interpreter lock while it decodes and resizes.
MOST_WORKERS = 8
BATCHES_AHEAD = 2
# Opening every file of a very large set would cost minutes; there, a damaged one is named when it is met.
MOST_HEADERS = 20_000
BAR_FROM = 1_000


class EncodedImages(Protocol):
    """Images that are not decoded yet; several threads may open them at once."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def open(self, index: int) -> Path | IO[bytes]:
        """Return what Pillow can open."""
        ...

    def name(self, index: int) -> str:
        """Return what to call the image in messages."""
        ...


class ImageFiles:
    """Images, one in each file.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Path:
        return self.paths[index]

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def check_headers(self) -> None:
        """Refuse at once a file that is no image, rather than hours into a run.

        Raises:
            InputError: names the first such file.
        """
        checked = self.paths[:MOST_HEADERS]
        for path in tqdm(checked, desc="checking images", leave=False, disable=len(checked) < BAR_FROM):
            check_header(path)


class FileSplit(PlannedSplit):
    """Images in files, three channels.

    Args:
        images: the images, N.
        labels: class of each, `[N]` int64, -1 where there is none.
        image_size: side of the images in pixels.
        normalise: from uint8 RGB to what the network sees.
        augment: random changes of a shuffled epoch; a `ResizedCropFlip` that comes first is carried out while the
            image is read, and without one the centre is cut.
        workers: threads that decode; None takes the processors that there are, up to 8.

    Raises:
        InputError: `workers` below 1.
    """

    def __init__(
        self,
        images: EncodedImages,
        labels: Tensor,
        image_size: int,
        normalise: Normalise,
        *,
        augment: Augment | None = None,
        workers: int | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"{workers} threads cannot decode images; give at least 1 worker.")
        self.images = images
        self.labels = labels
        self.image_size = image_size
        self.normalise = normalise
        self.augment = augment
        self.crop, self.after = _crop_and_rest(augment)
        self.workers = workers or _processors()

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, chosen: Chosen, timesteps: int) -> tuple[Tensor, Tensor]:
        return next(iter(self.gather_each([chosen], timesteps)))

    def gather_each(self, planned: Iterable[Chosen], timesteps: int) -> Iterator[tuple[Tensor, Tensor]]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        waiting: deque[tuple[Chosen, list[Future[np.ndarray]]]] = deque()
        try:
            for chosen in planned:
                waiting.append((chosen, self._decode(pool, chosen)))
                if len(waiting) > BATCHES_AHEAD:
                    yield self._collect(*waiting.popleft(), timesteps)
            while waiting:
                yield self._collect(*waiting.popleft(), timesteps)
        finally:  # a damaged image, an interruption, or a caller that stops early
            pool.shutdown(cancel_futures=True)

    def _decode(self, pool: ThreadPoolExecutor, chosen: Chosen) -> list[Future[np.ndarray]]:
        """Set the threads to the chosen images."""
        numbers: list[tuple[float, ...] | None] = [None] * len(chosen.indices)
        if self.crop is not None and chosen.draws is not None:
            numbers = [tuple(row) for row in chosen.draws[:, : self.crop.draws].tolist()]
        return [
            pool.submit(self._read, index, uniform)
            for index, uniform in zip(chosen.indices.tolist(), numbers, strict=True)
        ]

    def _read(self, index: int, uniform: tuple[float, ...] | None) -> np.ndarray:
        area = (1.0, 1.0) if self.crop is None else self.crop.area
        return read_square(self.images.open(index), self.image_size, uniform, area, self.images.name(index))

    def _collect(self, chosen: Chosen, decoded: list[Future[np.ndarray]], timesteps: int) -> tuple[Tensor, Tensor]:
        pixels = np.empty((len(decoded), self.image_size, self.image_size, 3), np.uint8)
        for place, future in enumerate(decoded):
            pixels[place] = future.result()
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        if self.after is not None and chosen.draws is not None and len(images):
            images = self.after(images, chosen.draws[:, self.crop.draws if self.crop else 0 :])
        return present(self.normalise(images), timesteps), self.labels[chosen.indices]


def _crop_and_rest(augment: Augment | None) -> tuple[ResizedCropFlip | None, Augment | None]:
    """Return the crop that is carried out while an image is read, and what comes after it."""
    augments = augment.augments if isinstance(augment, Chain) else (augment,)
    if not isinstance(augments[0], ResizedCropFlip):
        return None, augment
    return augments[0], Chain(augments[1:]) if augments[1:] else None


def _processors() -> int:
    """Return the processors that this process may use, but not more threads than decoding repays."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_WORKERS)
