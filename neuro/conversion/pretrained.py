"""The trained network that a request fits, and the settings it comes with."""

from __future__ import annotations

from typing import Any

from hardware_models.errors import InputError
from neuro.conversion.spec import DataSpec, ModelSpec, merge_settings, read_trained
from neuro.hub import PREFIX, Card, hub_cards, network_folder
from neuro.models import architecture


def pretrained_settings(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Lay what was `given` on top of the settings of the trained spiking network that fits it.

    Of several that fit, one of the architecture's default variant goes first, then one of the default data set, then
    the most accurate one. Its weights are measured; they are trained on only where `training.epochs` is given.

    Args:
        given: nested settings; `model.name`, `model.variant`, `model.timesteps` and `data.name` choose.

    Returns:
        The settings, and in words which network it is.

    Raises:
        InputError: weights were given too, or no network fits.
    """
    model, data = given.get("model") or {}, given.get("data") or {}
    if model.get("weights"):
        raise InputError(f"--pretrained brings weights and --weights {model['weights']} was given; leave out one.")
    name, card = _best_fitting(model, data)
    built = read_trained(network_folder(f"{PREFIX}{name}")).built
    own = {"model": {**built.model.model_dump(), "weights": f"{PREFIX}{name}"}, "data": built.data.model_dump()}
    return merge_settings(own, given), f"pretrained: {_words(name, card)}"


def _best_fitting(model: dict[str, Any], data: dict[str, Any]) -> tuple[str, Card]:
    known, cards = architecture(model.get("name") or ModelSpec().name), hub_cards()
    variant, timesteps = model.get("variant"), model.get("timesteps")
    dataset = str(data.get("name") or "").split(":")[0]
    wanted = known.variant(variant).name if variant else None
    fitting = {
        name: card
        for name, card in cards.items()
        if (card.form, card.architecture) == ("spiking", known.name)
        and wanted in (None, card.variant)
        and timesteps in (None, card.timesteps)
        and dataset in ("", card.dataset)
    }
    if not fitting:
        asked = [f"{known.name} {wanted or ''}".strip(), "spiking", *([f"T = {timesteps}"] if timesteps else [])]
        there_is = "; ".join(_words(name, card) for name, card in cards.items())
        raise InputError(
            f"no trained network is {', '.join(asked)}{f' on {dataset}' if dataset else ''}; there "
            f"{f'are: {there_is}' if there_is else 'are none here, so train one with neuro train'}."
        )

    def rank(name: str) -> tuple[bool, bool, float]:
        card = fitting[name]
        return card.variant == known.default_variant, card.dataset == DataSpec().name, card.accuracy

    best = max(fitting, key=rank)
    return best, fitting[best]


def _words(name: str, card: Card) -> str:
    what = f"{card.architecture} {card.variant}, {card.form}, T = {card.timesteps}"
    right = f"{100 * card.accuracy:.2f} % ± {100 * card.standard_error:.2f} on {card.samples:,} samples"
    return f"{PREFIX}{name}, {what}, {right} of {card.dataset}"
