"""Other libraries' neurons, imported only when they are timed: they are no dependencies of the project."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuro.bench.case import Contender, Work, one_line

Run = Callable[[Tensor], Tensor]
"""Runs a neuron over input `[T, ...]` from rest and returns its spikes."""


def missing(package: str) -> str:
    """Return why a peer cannot be timed; empty where it can."""
    return "" if importlib.util.find_spec(package) else f"{package} is not installed (pip install neuro[peers])"


def versions() -> dict[str, str]:
    """Return the version of every peer, and of what compiles for both; None of those that are missing."""
    found = {}
    for package in ("spikingjelly", "snntorch", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def contender(name: str, package: str, make: Callable[[], Work], goal: float | None) -> Contender:
    """Return the contender that `make` sets up, or why the package cannot be timed."""
    reason = missing(package)
    try:
        return Contender(name, None if reason else make(), reason, goal)
    except Exception as error:  # a peer that is installed may still not import
        return Contender(name, None, one_line(error), goal)


def spikingjelly_lif(v_threshold: float = 1.0) -> nn.Module:
    """Return SpikingJelly's multi-step LIF with the settings of our default: tau 2, hard reset to 0."""
    neuron: Any = importlib.import_module("spikingjelly.activation_based.neuron")
    surrogate: Any = importlib.import_module("spikingjelly.activation_based.surrogate")
    made: nn.Module = neuron.LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=v_threshold,
        detach_reset=True,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        step_mode="m",
    )
    return made


def run_spikingjelly(module: nn.Module) -> Run:
    """Return what runs SpikingJelly's neuron from rest."""
    functional: Any = importlib.import_module("spikingjelly.activation_based.functional")

    def run(x: Tensor) -> Tensor:
        functional.reset_net(module)
        spikes: Tensor = module(x)
        return spikes

    return run


def run_snntorch() -> Run:
    """Return what runs snnTorch's Leaky neuron, one timestep after the other, as its users write it."""
    snntorch: Any = importlib.import_module("snntorch")
    surrogate: Any = importlib.import_module("snntorch.surrogate")
    leaky = snntorch.Leaky(beta=0.5, spike_grad=surrogate.sigmoid(slope=4), reset_mechanism="zero")

    def run(x: Tensor) -> Tensor:
        potential = leaky.init_leaky()
        spikes = []
        for x_t in x:
            spike, potential = leaky(x_t, potential)
            spikes.append(spike)
        return torch.stack(spikes)

    return run
