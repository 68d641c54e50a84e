"""The card of a trained network as a page to read."""

from __future__ import annotations

from typing import Any

import yaml

from hardware_models.quantity import with_prefix
from neuro.evaluation.markdown import escaped, grid, percent
from neuro.hub import Card

_HUB_LICENCES = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "cc0-1.0", "cc-by-4.0")
"""Those that the front matter of a model card has a word for, among many others."""


def model_card(card: Card) -> str:
    """Return the card as a `README.md`: front matter for the Hugging Face Hub, then tables."""
    front = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    form = f"{card.form}, T = {card.timesteps}"
    parts = [
        f"---\n{front}---",
        f"# {escaped(card.name)}",
        escaped(f"{card.architecture} {card.variant}, {form}, trained on {card.dataset} with neuro."),
        *([escaped(card.note)] if card.note else []),
        grid(["", "Network"], _facts(card), text_columns=2),
        "## What one inference takes",
        _costs_table(card),
        escaped(
            f"Mean over {card.profiled_samples} held-out samples; energy under {card.convention}, with its band: "
            "operation counts times constants, without memory traffic."
        ),
        "## Data",
        escaped(f"{card.dataset_source}. {card.preprocessing}".strip()),
        "## Use",
        "```python\nfrom neuro.experiments.networks import load_trained\n\n"
        'network = load_trained("hub:./PATH").model  # of this folder, or hub:OWNER/NAME\n```',
        "## Train it again",
        f"    {card.command}",
        escaped(", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(card: Card) -> dict[str, Any]:
    known = card.licence.lower() in _HUB_LICENCES
    licence = {"license": card.licence.lower()} if known else {"license": "other", "license_name": card.licence}
    kind = "spiking-neural-network" if card.form == "spiking" else "float" if card.form == "float" else "quantized"
    return {
        **licence,
        "library_name": "neuro",
        "tags": ["image-classification", kind, card.architecture],
        "datasets": [card.dataset],
        "metrics": ["accuracy"],
    }


def _facts(card: Card) -> list[list[str]]:
    facts = {
        "Accuracy": f"{percent(card.accuracy)} ± {percent(card.standard_error)} (standard error) of {card.samples:,} "
        "held-out samples",
        "Parameters": f"{card.parameters:,}",
        "Epochs": str(card.epochs),
        "Seed": str(card.seed),
        "Started from": card.weights_of or "random weights",
        "Teacher": card.teacher or "none",
        "Licence": card.licence,
        "SHA-256 of the weights": card.weights_sha256,
    }
    return [[name, escaped(value)] for name, value in facts.items()]


def _costs_table(card: Card) -> str:
    heads = ["Form", "Spikes", "Spikes / neuron / step", "SOPs", "MACs", "Energy", "Band"]
    costs = {"as trained": card.cost} | ({"merged, as inference runs it": card.merged_cost} if card.merged_cost else {})
    rows = [
        [
            name,
            with_prefix(cost.spikes, digits=3),
            "-" if cost.firing_rate is None else f"{cost.firing_rate:.4f}",
            with_prefix(cost.sops, digits=3),
            with_prefix(cost.macs, digits=3),
            with_prefix(cost.energy_j, "J", digits=3),
            f"{with_prefix(cost.energy_low_j, 'J', digits=3)} to {with_prefix(cost.energy_high_j, 'J', digits=3)}",
        ]
        for name, cost in costs.items()
    ]
    return grid(heads, rows)
