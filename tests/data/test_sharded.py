"""Shares of ranks, together the whole batch; epochs that begin in their middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hardware_models.errors import InputError
from neuro.data import load_dataset
from neuro.data.augment_settings import build_augment
from neuro.data.base import Split
from neuro.data.batching import Normalise, PlannedSplit, TensorSplit
from neuro.data.file_split import FileSplit, ImageFiles
from neuro.data.sharded import sharded

SAME = Normalise((0.0,), (1.0,))
EVERYTHING = {
    "affine": [10, 0.1, 0.1],
    "crop_flip": 1,
    "resized_crop": [0.3, 1],
    "rand_augment": [2, 9],
    "random_erasing": 0.5,
}


def bytes_split(count: int, settings: dict[str, Any]) -> TensorSplit:
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorSplit(images, torch.arange(count), SAME, augment=build_augment(settings))


def together(split: Split, world: int, batch_size: int, seed: int | None, start: int = 0) -> Iterator[tuple]:
    """The batches of all ranks, put together."""
    ranks = [sharded(split, rank, world).batches(batch_size, 2, seed, start=start) for rank in range(world)]
    for parts in zip(*ranks, strict=True):
        images, labels = zip(*parts, strict=True)
        yield torch.cat(images, dim=1), torch.cat(labels)


def same(found: Iterator[tuple], expected: Iterator[tuple]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 23),
    st.integers(1, 9),
    st.integers(1, 5),
    st.none() | st.integers(0, 2**31),
    st.sampled_from([{}, EVERYTHING]),
)
def test_ranks_together_are_the_whole_batch(
    count: int, batch_size: int, world: int, seed: int | None, augment: dict[str, Any]
) -> None:
    split = bytes_split(count, augment)
    assert same(together(split, world, batch_size, seed), split.batches(batch_size, 2, seed))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 23), st.integers(1, 9), st.none() | st.integers(0, 2**31), st.data())
def test_an_epoch_goes_on_where_it_stopped(count: int, batch_size: int, seed: int | None, data: st.DataObject) -> None:
    split = bytes_split(count, EVERYTHING)
    batches = list(split.batches(batch_size, 1, seed))
    start = data.draw(st.integers(0, len(batches)))
    assert same(split.batches(batch_size, 1, seed, start=start), iter(batches[start:]))
    assert same(sharded(split, 0, 1).batches(batch_size, 1, seed, start=start), iter(batches[start:]))


def test_a_rank_may_have_nothing() -> None:
    sizes = [
        [len(labels) for _, labels in sharded(bytes_split(5, EVERYTHING), rank, 3).batches(2, 4, 1)]
        for rank in range(3)
    ]
    assert sizes == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    images, _ = next(iter(sharded(bytes_split(5, EVERYTHING), 2, 3).batches(2, 4, 1)))
    assert (images.shape, images.dtype) == ((4, 0, 3, 8, 8), torch.float32)


@pytest.fixture
def noise_files(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    for number in range(7):
        pixels = generator.integers(0, 256, (20 + number, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


class Watched(ImageFiles):
    """Notes which images are opened."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(paths)
        self.opened: list[int] = []

    def open(self, index: int) -> Path:
        self.opened.append(index)
        return super().open(index)


def file_split(paths: list[Path]) -> tuple[FileSplit, Watched]:
    watched = Watched(paths)
    augment = build_augment({"resized_crop": [0.2, 1], "rand_augment": [2, 9]})
    normalise = Normalise((0.5,) * 3, (0.2,) * 3, 1 / 255)
    return FileSplit(watched, torch.arange(len(paths)), 12, normalise, augment=augment, workers=2), watched


@pytest.mark.parametrize("seed", [None, 3])
def test_ranks_open_only_their_own_files(noise_files: list[Path], seed: int | None) -> None:
    split, watched = file_split(noise_files)
    assert same(together(split, 3, 4, seed), split.batches(4, 2, seed))
    watched.opened.clear()
    labels = [labels for _, labels in sharded(split, 1, 3).batches(4, 1, seed)]
    assert sorted(watched.opened) == torch.cat(labels).sort().values.tolist()
    assert len(watched.opened) == 2  # one of four, one of three


def test_skipped_batches_are_not_read(noise_files: list[Path]) -> None:
    split, watched = file_split(noise_files)
    labels = [labels for _, labels in split.batches(3, 1, 5, start=2)]
    assert watched.opened == torch.cat(labels).tolist()
    assert len(watched.opened) == 1


def test_the_number_of_samples_and_the_normalisation_are_those_of_all() -> None:
    split = load_dataset("digits").test
    share = sharded(split, 1, 4)
    assert len(share) == len(split)
    assert share.normalise is split.normalise


class Plain:
    """A split without a plan."""

    normalise = SAME

    def __len__(self) -> int:
        return 7

    def batches(
        self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
    ) -> Iterator[tuple]:
        return bytes_split(7, {}).batches(batch_size, timesteps, shuffle_seed, start=start)


def test_a_split_without_a_plan_is_read_whole_and_cut() -> None:
    assert not isinstance(Plain(), PlannedSplit)
    for start in range(4):
        assert same(together(Plain(), 2, 3, 1, start), bytes_split(7, {}).batches(3, 2, 1, start=start))


@pytest.mark.parametrize("split", [bytes_split(7, {}), Plain()], ids=["planned", "plain"])
def test_refusals_come_at_the_call(split: Split) -> None:
    for rank, world in ((-1, 2), (2, 2), (0, 0)):
        with pytest.raises(InputError, match="there is no rank"):
            sharded(split, rank, world)
    share = sharded(split, 0, 2)
    for start in (-1, 4):
        with pytest.raises(InputError, match=f"3 batches cannot start at batch {start}"):
            share.batches(3, 1, start=start)
    with pytest.raises(InputError, match="batch size is 0"):
        share.batches(0, 1)
