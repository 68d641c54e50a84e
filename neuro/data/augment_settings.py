"""Augmentations from plain data, as a settings file or a command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardware_models.errors import InputError, unknown_name
from neuro.data.augment import AffineJitter, Augment, Chain, CropFlip
from neuro.data.rand_augment import RandAugment
from neuro.data.random_erasing import RandomErasing
from neuro.data.resized_crop import ResizedCropFlip


def build_augment(settings: Mapping[str, Any]) -> Augment | None:
    """Return the augmentations that `settings` name, in their order; None for none.

    Args:
        settings: `{crop_flip: pixels}`, `{resized_crop: [smallest area, largest]}`,
            `{affine: [degrees, scaling, shift]}`, `{rand_augment: [operations, magnitude]}`,
            `{random_erasing: probability}`, or several of them.

    Raises:
        InputError: an unknown name, or values that are not what it takes.
    """
    if not isinstance(settings, Mapping):
        raise InputError(f"augmentations are names with values, such as {{crop_flip: 4}}, and not {settings!r}.")
    augments = tuple(_build(name, value) for name, value in settings.items())
    return Chain(augments) if len(augments) > 1 else next(iter(augments), None)


def chosen_augment(settings: Mapping[str, Any] | None, own: Augment) -> Augment | None:
    """Return the augmentations that `settings` name, or the data set's `own` where they are None."""
    return own if settings is None else build_augment(settings)


def in_training(augment: Augment | None) -> str:
    """Return in words what is done to training images, for the record."""
    return "in training no augmentation" if augment is None else f"in training {augment}"


def _build(name: str, value: Any) -> Augment:
    if name not in _BUILDERS:
        raise unknown_name("augmentation", name, _BUILDERS)
    count, meaning, build = _BUILDERS[name]
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(numbers) != count or not all(_is_amount(number) for number in numbers):
        raise InputError(f"the augmentation {name} takes {meaning}, not {value!r}; give {name}: {meaning}.")
    return build(*numbers)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _whole(value: float, what: str) -> int:
    if value != int(value):
        raise InputError(f"{what} is {value}; give a whole number.")
    return int(value)


_BUILDERS: dict[str, tuple[int, str, Callable[..., Augment]]] = {
    "crop_flip": (1, "a padding in pixels", lambda padding: CropFlip(_whole(padding, "the padding of crop_flip"))),
    "resized_crop": (2, "[smallest share of the area, largest]", lambda low, high: ResizedCropFlip((low, high))),
    "affine": (3, "[degrees, scaling, shift]", AffineJitter),
    "rand_augment": (
        2,
        "[operations, magnitude]",
        lambda count, magnitude: RandAugment(_whole(count, "the number of operations of rand_augment"), magnitude),
    ),
    "random_erasing": (1, "a probability", RandomErasing),
}
