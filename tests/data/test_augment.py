"""Augmentations against changes worked out by hand."""

from __future__ import annotations

import torch

from neuro.data.augment import AffineJitter, CropFlip

MIDDLE = 0.5  # the uniform number that means no change


def dot(row: int, column: int, size: int = 8) -> torch.Tensor:
    image = torch.zeros(1, 1, size, size)
    image[0, 0, row, column] = 1
    return image


def test_affine_without_change_is_the_identity() -> None:
    images = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    unchanged = AffineJitter(10, 0.1, 0.25)(images, torch.full((3, 4), MIDDLE))
    torch.testing.assert_close(unchanged, images, atol=1e-5, rtol=0)


def test_affine_shift_moves_by_a_share_of_the_side() -> None:
    # Draw 0 of the shift is the full shift towards lower columns in the source: the picture goes right.
    moved = AffineJitter(0, 0, 0.25)(dot(3, 3), torch.tensor([[MIDDLE, MIDDLE, 0.0, MIDDLE]]))
    torch.testing.assert_close(moved, dot(3, 5), atol=1e-5, rtol=0)
    moved = AffineJitter(0, 0, 0.25)(dot(3, 3), torch.tensor([[MIDDLE, MIDDLE, MIDDLE, 0.0]]))
    torch.testing.assert_close(moved, dot(5, 3), atol=1e-5, rtol=0)


def test_affine_quarter_turn_is_rot90() -> None:
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    turned = AffineJitter(90, 0, 0)(images, torch.tensor([[1.0, MIDDLE, MIDDLE, MIDDLE]]))
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_affine_scaling_grows_and_shrinks() -> None:
    square = torch.zeros(1, 1, 16, 16)
    square[..., 4:12, 4:12] = 1
    jitter = AffineJitter(0, 0.5, 0)
    grown = jitter(square, torch.tensor([[MIDDLE, 1.0, MIDDLE, MIDDLE]])).sum()
    shrunk = jitter(square, torch.tensor([[MIDDLE, 0.0, MIDDLE, MIDDLE]])).sum()
    assert abs(grown / 64 - 1.5**2) < 0.15
    assert abs(shrunk / 64 - 0.5**2) < 0.05


def test_crop_moves_and_fills_with_black_on_bytes() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 4, 4)
    # The corner of the crop is at the corner of the padding: the picture goes down and right by the padding.
    cropped = CropFlip(1)(image, torch.tensor([[0.0, 0.0, 0.9]]))
    assert cropped.dtype == torch.uint8
    assert cropped[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]
    assert torch.equal(CropFlip(1)(image, torch.tensor([[0.5, 0.5, 0.9]])), image)


def test_flip_is_left_to_right_and_per_image() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    changed = CropFlip(1)(images, torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.5, 0.6]]))
    assert torch.equal(changed[0], images[0].flip(-1))
    assert torch.equal(changed[1], images[1])
