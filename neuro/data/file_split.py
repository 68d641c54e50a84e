"""A split whose images stay in their files and are decoded, ahead of their use, by a few threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from neuro.data.batching import Normalise, check_batching, plan_epoch, present
from neuro.data.images import CROP_DRAWS, check_header, read_square

# Threads, not processes: Pillow lets go of the interpreter lock while it decodes and resizes.
MOST_WORKERS = 8
BATCHES_AHEAD = 2
# Opening every file of a very large set would cost minutes; there, a damaged one is named when it is met.
MOST_HEADERS = 20_000
BAR_FROM = 1_000


class FileSplit:
    """Images in files, three channels.

    Args:
        paths: the files, N.
        labels: class of each, `[N]` int64, -1 where there is none.
        image_size: side of the images in pixels.
        normalise: from uint8 RGB to what the network sees.
        augment: whether a shuffled epoch takes random crops and flips.
    """

    def __init__(
        self, paths: Sequence[Path], labels: Tensor, image_size: int, normalise: Normalise, *, augment: bool
    ) -> None:
        self.paths = tuple(paths)
        self.labels = labels
        self.image_size = image_size
        self.normalise = normalise
        self.draws = CROP_DRAWS if augment else 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def check_headers(self) -> None:
        """Refuse at once a file that is no image, rather than hours into a run.

        Raises:
            InputError: names the first such file.
        """
        checked = self.paths[:MOST_HEADERS]
        for path in tqdm(checked, desc="checking images", leave=False, disable=len(checked) < BAR_FROM):
            check_header(path)

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time-first batches; see `Split.batches`."""
        check_batching(batch_size, timesteps)
        return self._batches(batch_size, timesteps, shuffle_seed)

    def _batches(self, batch_size: int, timesteps: int, seed: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        order, draws = plan_epoch(len(self), seed, self.draws)
        pool = ThreadPoolExecutor(_workers(), thread_name_prefix="images")
        waiting: deque[tuple[Tensor, list[Future[np.ndarray]]]] = deque()
        try:
            for chosen in order.split(batch_size):
                waiting.append((chosen, self._decode(pool, chosen, draws)))
                if len(waiting) > BATCHES_AHEAD:
                    yield self._collect(*waiting.popleft(), timesteps)
            while waiting:
                yield self._collect(*waiting.popleft(), timesteps)
        finally:  # a damaged image, an interruption, or a caller that stops early
            pool.shutdown(cancel_futures=True)

    def _decode(self, pool: ThreadPoolExecutor, chosen: Tensor, draws: Tensor | None) -> list[Future[np.ndarray]]:
        """Set the threads to the images at the indices `chosen`."""
        numbers = [None] * len(chosen) if draws is None else [tuple(row) for row in draws[chosen].tolist()]
        return [
            pool.submit(read_square, self.paths[index], self.image_size, uniform)
            for index, uniform in zip(chosen.tolist(), numbers, strict=True)
        ]

    def _collect(self, chosen: Tensor, decoded: list[Future[np.ndarray]], timesteps: int) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(np.stack([future.result() for future in decoded]))
        return present(self.normalise(pixels.permute(0, 3, 1, 2)), timesteps), self.labels[chosen]


def _workers() -> int:
    """Return the processors that this process may use, but not more threads than decoding repays."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_WORKERS)
