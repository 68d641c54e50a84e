"""Corrupted splits, and accuracy on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from evaluated import CPU, PLAIN, labelled, noise_images, spikeformer
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.data.batching import Normalise, TensorSplit
from neuro.evaluation import CORRUPTIONS, Robustness, corrupt, corrupted, robustness, step_logits

BYTES = Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), scale=1 / 255)


def stored_bytes(count: int = 10) -> TensorSplit:
    images = (noise_images(count, 3, 16) * 255).round().byte()
    return TensorSplit(images, torch.arange(count) % 2, BYTES)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_the_images_of_a_split_are_corrupted_before_normalisation(name: str) -> None:
    split = stored_bytes()
    part = corrupted(split, name, 3, seed=4)
    assert len(part) == len(split)
    (images, labels), (pair, _) = next(part.batches(10, 2)), next(iter(part.batches(10, 1)))
    assert images.shape == (2, 10, 3, 16, 16)
    assert images.dtype == torch.float32
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[:1], pair)
    assert torch.equal(labels, split.labels)
    if name != "shot_noise" and name != "jpeg":  # where the last bit of an undone pixel may turn a count
        expected = corrupt(split.images.float() / 255, name, 3, seed=4)
        torch.testing.assert_close(part.normalise.undo(images[0]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_the_batch_size_does_not_matter(name: str) -> None:
    part = corrupted(stored_bytes(), name, 5, seed=1)
    whole, parts = (torch.cat([images[0] for images, _ in part.batches(size, 1)]) for size in (10, 3))
    assert torch.equal(whole, parts)


def test_a_shuffled_order_is_refused() -> None:
    with pytest.raises(InputError, match="keep their stored order; give no seed, not 0"):
        corrupted(stored_bytes(), "contrast", 1).batches(4, 1, shuffle_seed=0)


def test_what_changes_in_time_is_refused() -> None:
    class Moving:
        normalise = PLAIN

        def __len__(self) -> int:
            return 2

        def batches(
            self, batch_size: int, timesteps: int, shuffle_seed: int | None = None, *, start: int = 0
        ) -> Iterator[tuple[Tensor, Tensor]]:
            yield noise_images(timesteps * 2).view(timesteps, 2, 1, 8, 8), torch.tensor([0, 1])

    with pytest.raises(InputError, match="change from timestep to timestep"):
        next(corrupted(Moving(), "contrast", 1).batches(2, 2))


def test_unknown_corruptions_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="unknown corruption 'frost'"):
        corrupted(stored_bytes(), "frost", 1)
    with pytest.raises(InputError, match="severity of contrast was 9"):
        corrupted(stored_bytes(), "contrast", 9)


class Bright(nn.Module):
    """Class 1 for images whose mean pixel is above 0.5."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((0, 2, 3, 4))
        return torch.stack([0.5 - mean, mean - 0.5], -1)


def test_accuracy_by_corruption_and_severity() -> None:
    # Two dark images of 0.35 and two of 0.25 turn bright as more is added: 0.05, 0.1, 0.15, 0.2, 0.3.
    values = torch.tensor([0.34, 0.34, 0.25, 0.25, 0.8, 0.8, 0.8, 0.8])
    split = TensorSplit(values.view(8, 1, 1, 1).expand(8, 1, 4, 4), (values > 0.5).long(), PLAIN)
    found = robustness(Bright(), split, 2, CPU, ["brightness", "contrast"], [3, 4, 5], batch_size=3)
    assert found.clean == 1.0
    assert found.severities == (3, 4, 5)
    assert found.accuracies == {"brightness": (1.0, 0.75, 0.5), "contrast": (1.0, 1.0, 1.0)}
    assert found.mean_of("brightness") == 0.75
    assert found.mean == pytest.approx(0.875)
    text = found.to_markdown()
    assert "| Corruption | severity 3 | severity 4 | severity 5 | mean |" in text
    assert "| brightness | 100.00 % | 75.00 % | 50.00 % | 75.00 % |" in text
    assert "Clean 100.00 %, mean over corruptions and severities 87.50 %." in text


def test_all_corruptions_of_a_spiking_network() -> None:
    model, split = spikeformer(), labelled(12)
    found = robustness(model, split, 2, CPU, severities=[1])
    assert set(found.accuracies) == set(CORRUPTIONS)
    part = step_logits(model, corrupted(split, "jpeg", 1), 2, CPU)
    assert found.accuracies["jpeg"] == (part.accuracy(),)
    assert found.clean == step_logits(model, split, 2, CPU).accuracy()


@pytest.mark.parametrize(
    ("names", "severities", "message"),
    [([], [1], "the corruptions to evaluate were"), (["jpeg"], [], "severities"), (["jpeg", "jpeg"], [1], "each once")],
)
def test_requests_that_do_not_fit_are_refused(names: list[str], severities: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        robustness(Bright(), labelled(2, 2), 1, CPU, names, severities)


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="jpeg has 1 accuracies for 2 severities"):
        Robustness(1.0, (1, 2), {"jpeg": (0.5,)})
