"""Corruptions against their equations, other implementations, and what must hold of all."""

from __future__ import annotations

import colorsys
import io
import itertools

import numpy as np
import pytest
import torch
from evaluated import noise_images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image
from torch import Tensor

from hardware_models.errors import InputError
from neuro.evaluation import CORRUPTIONS, corrupt
from neuro.evaluation.blurs import defocus_blur, motion_blur

ALL = sorted(CORRUPTIONS)
DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "motion_blur"}


def photographs() -> Tensor:
    """Two real images, `[2, 3, 32, 32]`."""
    squares = [Image.fromarray(load_sample_image(name)).resize((32, 32)) for name in ("china.jpg", "flower.jpg")]
    return torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2).float() / 255


def grey(value: float, side: int = 200) -> Tensor:
    return torch.full((1, 1, side, side), value)


def dot(side: int = 15) -> Tensor:
    image = torch.zeros(1, 1, side, side)
    image[0, 0, side // 2, side // 2] = 1
    return image


@given(st.sampled_from(ALL), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_images_stay_images(name: str, severity: int, channels: int, side: int, seed: int) -> None:
    images = noise_images(2, channels, side)
    before = images.clone()
    found = corrupt(images, name, severity, seed)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert bool(((found >= 0) & (found <= 1)).all())
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("severity", [1, 5])
def test_a_sample_does_not_depend_on_its_batch(name: str, severity: int) -> None:
    images = noise_images(7, 3, 32)
    whole = corrupt(images, name, severity, seed=3)
    for size in (1, 3):
        parts = [corrupt(part, name, severity, 3, first=i * size) for i, part in enumerate(images.split(size))]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("name", ALL)
def test_seed_and_sample_decide_what_is_drawn(name: str) -> None:
    images = noise_images(1, 1, 16).expand(2, -1, -1, -1)
    one, two = corrupt(images, name, 3, seed=1), corrupt(images, name, 3, seed=2)
    assert torch.equal(one, corrupt(images, name, 3, seed=1))
    assert torch.equal(one, two) is (name not in DRAWN)
    assert torch.equal(one[0], one[1]) is (name not in DRAWN)


@pytest.mark.parametrize("name", ALL)
def test_severity_grows(name: str) -> None:
    images = photographs()
    errors = [float((corrupt(images, name, severity) - images).square().mean()) for severity in range(1, 6)]
    assert errors[0] > 0
    if name == "motion_blur":  # of the same sigma, whose kernel ends before the shorter reach does
        assert errors.pop(3) == pytest.approx(errors[2], rel=1e-3)
    assert all(a < b for a, b in itertools.pairwise(errors))


def test_gaussian_noise_has_its_standard_deviation() -> None:
    added = corrupt(grey(0.5), "gaussian_noise", 5) - 0.5
    assert float(added.mean()) == pytest.approx(0, abs=0.002)
    assert float(added.std()) == pytest.approx(0.1, rel=0.02)


def test_shot_noise_has_the_variance_of_counted_photons() -> None:
    found = corrupt(grey(0.4), "shot_noise", 3)
    assert float(found.mean()) == pytest.approx(0.4, abs=0.002)
    assert float(found.var()) == pytest.approx(0.4 / 100, rel=0.03)
    torch.testing.assert_close(found * 100, (found * 100).round(), atol=1e-3, rtol=0)
    assert torch.equal(corrupt(grey(0.0), "shot_noise", 3), grey(0.0))


def test_impulse_noise_is_salt_and_pepper() -> None:
    found = corrupt(grey(0.5), "impulse_noise", 5)
    assert float((found == 1).float().mean()) == pytest.approx(0.035, abs=0.003)
    assert float((found == 0).float().mean()) == pytest.approx(0.035, abs=0.003)
    assert set(found.unique().tolist()) == {0.0, 0.5, 1.0}


def test_gaussian_blur_is_scipys() -> None:
    images = noise_images(2, 3, 20)
    for severity, sigma in ((1, 0.4), (3, 0.7), (5, 1.0)):
        expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
        np.testing.assert_allclose(corrupt(images, "gaussian_blur", severity).numpy(), expected, atol=1e-6)


def test_a_sharp_disk_is_a_mean_over_its_pixels() -> None:
    images = noise_images(1, 2, 12)
    square = np.ones((1, 1, 3, 3)) / 9  # within 1.5 of the middle
    cross = np.array([[[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]]) / 5  # within 1
    for radius, kernel in ((1.5, square), (1.0, cross)):
        expected = ndimage.correlate(images.numpy(), kernel, mode="nearest")
        np.testing.assert_allclose(defocus_blur(images, radius, 0.05).numpy(), expected, atol=1e-6)


def test_a_point_out_of_focus_is_a_softened_point() -> None:
    # Radius 0.3 holds one pixel; its neighbours get exp(-1 / 2 0.4^2) of it, and the diagonal ones that squared.
    found = corrupt(dot(), "defocus_blur", 1)[0, 0, 6:9, 6:9]
    line = np.exp([-1 / 0.32, 0, -1 / 0.32])
    expected = np.outer(line, line) / line.sum() ** 2
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_motion_smears_to_one_side() -> None:
    images = noise_images(3, 2, 10)
    weights = np.exp(-0.5 * (np.arange(13) / 2.0) ** 2)
    weights /= weights.sum()
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (0, 12), (0, 12)], mode="edge")
    level = sum(w * padded[:, :, :10, i : i + 10] for i, w in enumerate(weights))
    upright = sum(w * padded[:, :, i : i + 10, :10] for i, w in enumerate(weights))
    found = motion_blur(images, 6, 2.0, np.array([0.0, 90.0, 0.0])).numpy()
    np.testing.assert_allclose(found, np.stack([level[0], upright[1], level[2]]), atol=1e-6)


def test_motion_goes_to_forty_five_degrees_at_most() -> None:
    places = [corrupt(dot(41), "motion_blur", 5, seed)[0, 0].nonzero() - 20 for seed in range(20)]
    assert all(bool((place[:, 0].abs() <= place[:, 1].abs()).all()) for place in places)
    assert all(int(place[:, 1].max()) == 0 for place in places)  # a pixel reads what is to its right
    slopes = [float(place[-1, 0] + place[0, 0]) for place in places]
    assert min(slopes) < 0 < max(slopes)


def test_blurs_keep_what_is_even() -> None:
    for name in ("gaussian_blur", "defocus_blur", "motion_blur"):
        torch.testing.assert_close(corrupt(grey(0.3, 9), name, 5), grey(0.3, 9))


def test_brightness_is_added_to_the_value_of_the_colour() -> None:
    images = photographs()
    images[0, :, 0, 0] = 0
    images[0, :, 0, 1] = torch.tensor([1.0, 0.5, 0.25])

    def brighter(pixel: np.ndarray) -> tuple[float, ...]:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1.0))

    expected = np.apply_along_axis(brighter, 1, images.double().numpy())
    np.testing.assert_allclose(corrupt(images, "brightness", 4).numpy(), expected, atol=1e-6)


def test_contrast_shrinks_about_the_mean_of_each_channel() -> None:
    images = photographs()
    found = corrupt(images, "contrast", 2)
    torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3)), images.std((2, 3)) / 2)


def test_pixelate_shows_fewer_pixels() -> None:
    found = corrupt(noise_images(1, 1, 32), "pixelate", 5)[0, 0]
    assert len(found.unique(dim=0)) == len(found.unique(dim=1).T) == 20  # 0.65 of 32
    halves = torch.tensor([[0.0, 1.0], [0.5, 0.2]])[None, None]
    torch.testing.assert_close(corrupt(halves, "pixelate", 5), torch.full((1, 1, 2, 2), 0.425))  # one pixel is left


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_jpeg_is_what_a_file_would_hold(channels: int, mode: str) -> None:
    stored = (photographs()[:1, :channels] * 255).round().byte()
    file = io.BytesIO()
    Image.fromarray(stored[0].permute(1, 2, 0).numpy().squeeze()).save(file, "JPEG", quality=40)
    read = Image.open(file)
    assert read.mode == mode
    expected = torch.from_numpy(np.asarray(read).reshape(32, 32, channels).copy()).permute(2, 0, 1)
    assert torch.equal((corrupt(stored / 255, "jpeg", 5)[0] * 255).round().byte(), expected)


def test_rounding_of_the_normalisation_is_no_other_range() -> None:
    images = torch.tensor([-1e-6, 1 + 1e-6]).view(1, 1, 1, 2)
    assert corrupt(images, "impulse_noise", 1, seed=5).tolist() == [[[[0.0, 1.0]]]]


@pytest.mark.parametrize(
    ("name", "severity", "seed", "message"),
    [
        ("gaussian_noice", 1, 0, "did you mean 'gaussian_noise'"),
        ("fog", 1, 0, "unknown corruption 'fog'"),
        ("jpeg", 0, 0, "severity of jpeg was 0"),
        ("jpeg", 6, 0, "from 1 to 5"),
        ("jpeg", 1, -1, "seed of jpeg was -1"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, severity: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupt(noise_images(1), name, severity, seed)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 1, 4, 4), 1.5), "from 1.5 to 1.5"),
        (torch.full((1, 1, 4, 4), -0.5), "from -0.5 to -0.5"),
        (torch.full((1, 1, 4, 4), float("nan")), "from nan to nan"),
        (torch.zeros(1, 4, 4), r"shape \(1, 4, 4\); give \[B, C, H, W\]"),
        (torch.zeros(0, 1, 4, 4), r"shape \(0, 1, 4, 4\)"),
    ],
)
def test_what_is_no_image_is_refused(images: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupt(images, "contrast", 1)


def test_jpeg_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="images of 2 channels cannot be JPEG"):
        corrupt(noise_images(1, 2), "jpeg", 1)
