"""neuro: spike-driven and low-bit variants of neural networks, measured and costed.

conversion = neuro.convert("spikeformer_v2", timesteps=4)      train, measure, cost
found = neuro.convert_network("timm:deit_tiny_patch16_224")    any other network, without training
low = neuro.quantize_network("timm:resnet18", to="w8a8")       its low-bit variant
workload = neuro.profile(model, batch)                         measure any torch module
history = neuro.train(model, neuro.load_dataset("digits"))     the training loop alone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.conversion.low_bit_run import quantize_network
    from neuro.conversion.network_run import convert_network
    from neuro.conversion.pipeline import convert
    from neuro.data import load_dataset
    from neuro.models.registry import create_model
    from neuro.profiling.profile import profile
    from neuro.training import TrainingSettings, train

_HOMES = {
    "convert": "neuro.conversion.pipeline",
    "convert_network": "neuro.conversion.network_run",
    "create_model": "neuro.models.registry",
    "load_dataset": "neuro.data",
    "quantize_network": "neuro.conversion.low_bit_run",
    "profile": "neuro.profiling.profile",
    "train": "neuro.training",
    "TrainingSettings": "neuro.training",
}

__all__ = [
    "TrainingSettings",
    "convert",
    "convert_network",
    "create_model",
    "load_dataset",
    "profile",
    "quantize_network",
    "train",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line and `hardware_models` users should not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'neuro' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
