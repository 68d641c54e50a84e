"""`neuro push`: pack a trained network into a folder with a card."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Pack the network of a finished neuro train into a folder that others can use: its weights, how it
is built, and a card with its accuracy, its spikes and its energy, which are measured here. Paths
of this machine are taken out. Upload the folder as it is to the Hugging Face Hub, or give it to
neuro as hub:PATH; the folders in $NEURO_HUB are known as hub:NAME.

  neuro push runs/digits-spiking networks/digits-spiking
  NEURO_HUB=networks neuro convert --pretrained --data digits
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory of neuro train")
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to write, new or empty")
    parser.add_argument("--licence", metavar="NAME", default="Apache-2.0", help="of the weights (Apache-2.0)")
    parser.add_argument("--note", metavar="TEXT", default="", help="anything else the card should say")


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what is in it."""
    from hardware_models.quantity import with_prefix
    from neuro.cli.terminal import Terminal
    from neuro.experiments.push import push

    console = Terminal(soft_wrap=True)
    card = push(
        args.run,
        args.folder,
        licence=args.licence,
        note=args.note,
        say=lambda text: console.print(text, markup=False),
    )
    right = f"{100 * card.accuracy:.2f} % ± {100 * card.standard_error:.2f} of {card.samples:,} held-out samples"
    cost = f"{with_prefix(card.cost.spikes, digits=3)} spikes, {with_prefix(card.cost.energy_j, 'J', digits=3)}"
    console.print(f"{card.name}: {card.form}, {right}, {cost}, {card.licence}: {args.folder}", markup=False)
    return 0
