"""Mixup and CutMix by hand and by their invariants; Beta against scipy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hardware_models.errors import InputError
from neuro.data.beta import symmetric_beta
from neuro.data.mixing import BatchMix, CutMix, Mix, Mixup, one_hot

LABELS = torch.tensor([0, 1, 2, 3, 4, 5])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat_images(timesteps: int = 1) -> torch.Tensor:
    """Image i is filled with i."""
    return torch.arange(6.0).view(1, 6, 1, 1, 1).expand(timesteps, 6, 2, 8, 8)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 1.5, 8.0])
def test_beta_has_its_distribution(alpha: float) -> None:
    generator = seeded(0)
    drawn = [symmetric_beta(alpha, generator) for _ in range(1500)]
    assert min(drawn) >= 0
    assert max(drawn) <= 1
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize(("alpha", "share"), [(1e-3, 0.0), (1e4, 1.0)])
def test_beta_of_extreme_shapes(alpha: float, share: float) -> None:
    generator = seeded(0)
    drawn = torch.tensor([symmetric_beta(alpha, generator) for _ in range(300)])
    assert abs(((drawn > 0.4) & (drawn < 0.6)).float().mean() - share) < 0.02
    assert abs(drawn.mean() - 0.5) < 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([Mixup(0.4), Mixup(3.0), CutMix(1.0), CutMix(0.2), Mix(0.8, 1.0, 0.7)]),
    st.integers(0, 2**31),
    st.integers(1, 3),
)
def test_targets_say_what_the_images_are_made_of(mix: BatchMix, seed: int, timesteps: int) -> None:
    """Image i is filled with i and has the class i: the mean of its pixels is the mean class by its target."""
    images, targets = mix(flat_images(timesteps), LABELS, 6, seeded(seed))
    assert images.shape == (timesteps, 6, 2, 8, 8)
    assert images.stride(0) == 0 or timesteps == 1
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    assert targets.min() >= 0
    torch.testing.assert_close(images[0].mean((1, 2, 3)), targets @ torch.arange(6.0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mix", [Mixup(0.4), CutMix(1.0), Mix(0.8, 1.0)])
def test_a_seed_means_the_same_for_every_presentation(mix: BatchMix) -> None:
    once, targets = mix(flat_images(2), LABELS, 6, seeded(5))
    copied, same = mix(flat_images(2).contiguous(), LABELS, 6, seeded(5))
    assert torch.equal(once, copied)
    assert torch.equal(targets, same)
    assert not torch.equal(targets, mix(flat_images(2), LABELS, 6, seeded(6))[1])


def test_frames_that_differ_in_time_are_mixed_each() -> None:
    images = torch.rand(3, 6, 2, 8, 8, generator=seeded(0))
    mixed, _ = Mixup(1.0)(images, LABELS, 6, seeded(1))
    for step in range(3):
        alone, _ = Mixup(1.0)(images[step : step + 1], LABELS, 6, seeded(1))
        assert torch.equal(mixed[step : step + 1], alone)
    cut, _ = CutMix(1.0)(images, LABELS, 6, seeded(1))
    changed = (cut != images).any(2)
    assert torch.equal(changed[0], changed[2])


def test_cutmix_pastes_one_box_of_another_image() -> None:
    seen = 0
    for seed in range(30):
        images, targets = CutMix(1.0)(flat_images(), LABELS, 6, seeded(seed))
        for index, image in enumerate(images[0]):
            pasted = image[0] != index
            assert torch.equal(pasted, pasted.any(1)[:, None] & pasted.any(0)[None, :])
            assert torch.equal(image[0], image[1])
            assert len(image[pasted.expand_as(image)].unique()) <= 1
            assert targets[index, index] == pytest.approx(1 - pasted.float().mean().item(), abs=1e-6)
            seen += int(pasted.any())
    assert seen > 60


def test_the_given_images_are_kept() -> None:
    images = torch.rand(2, 6, 1, 4, 4, generator=seeded(0))
    before = images.clone()
    for mix in (Mixup(1.0), CutMix(1.0)):
        mix(images, LABELS, 6, seeded(3))
    assert torch.equal(images, before)


def test_mix_chooses_as_often_as_it_says() -> None:
    mix, kinds = Mix(0.8, 1.0, 0.5), {"none": 0, "whole": 0, "cut": 0}
    for seed in range(400):
        images, _ = mix(flat_images(), LABELS, 6, seeded(seed))
        values = [len(image.unique()) for image in images[0]]
        untouched = torch.equal(images, flat_images())
        kinds["none" if untouched else "cut" if max(values) > 1 else "whole"] += 1
    assert abs(kinds["none"] - 200) < 50  # a small box may also fall outside
    assert abs(kinds["whole"] - 100) < 40
    assert abs(kinds["cut"] - 100) < 40


def test_one_of_the_two_can_be_left_out() -> None:
    assert str(Mix(0.8, 0)) == "mixup (alpha 0.8) of 100% of the batches"
    assert str(Mix(0.8, 1, 0.5)) == "mixup (alpha 0.8) or CutMix (alpha 1) of 50% of the batches"
    only_cut, _ = Mix(0, 1)(flat_images(), LABELS, 6, seeded(0))
    assert set(only_cut.unique().tolist()) <= set(range(6))


def test_empty_and_single_batches() -> None:
    images, targets = Mixup(1.0)(torch.zeros(2, 0, 1, 4, 4), torch.zeros(0, dtype=torch.int64), 3, seeded(0))
    assert (images.shape, targets.shape) == ((2, 0, 1, 4, 4), (0, 3))
    one, target = CutMix(1.0)(torch.ones(1, 1, 1, 4, 4), torch.tensor([1]), 3, seeded(0))
    assert torch.equal(one, torch.ones(1, 1, 1, 4, 4))
    assert target.tolist() == [[0, 1, 0]]


def test_refusals() -> None:
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="give a number above 0"):
            Mixup(wrong)
        with pytest.raises(InputError, match="the alpha of CutMix"):
            CutMix(wrong)
    with pytest.raises(InputError, match="neither mixup nor CutMix"):
        Mix(0, 0)
    with pytest.raises(InputError, match="the alpha of mixup is -1"):
        Mix(-1, 1)
    with pytest.raises(InputError, match=r"probability of 1\.5"):
        Mix(1, 1, 1.5)
    with pytest.raises(InputError, match="run from -1 to 2, but the classes are 0 to 5"):
        one_hot(torch.tensor([-1, 2]), 6)
    with pytest.raises(InputError, match="run from 0 to 6"):
        Mixup(1.0)(flat_images(), torch.tensor([0, 1, 2, 3, 4, 6]), 6, seeded(0))
