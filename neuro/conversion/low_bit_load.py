"""From a run directory back to its low-bit network."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.conversion.architecture_source import OneStep, architecture_source
from neuro.conversion.low_bit_spec import LowBitSpec, resolve_low_bit_spec
from neuro.conversion.network_spec import is_network_source
from neuro.conversion.spec import read_settings
from neuro.sources import Source, load_source
from quant.export import load_quantized
from quant.network import QuantizedNetwork


def load_low_bit_run(directory: Path) -> tuple[QuantizedNetwork, tuple[Tensor, ...]]:
    """Return the network of a run of `neuro convert --to`, and an input for it.

    Raises:
        InputError: the directory holds no such run, or its network was given as a module and not by a name.
    """
    path = directory / "spec.yaml"
    if not path.is_file():
        raise InputError(f"{directory} is no run directory; give the folder that neuro convert --to wrote.")
    settings = read_settings(path)
    if "recipe" not in settings:
        raise InputError(f"{directory} is a run of another kind; give one of neuro convert --to.")
    spec = resolve_low_bit_spec(settings, str(path))
    source = load_float_source(spec)
    return load_quantized(directory / "weights.safetensors", float_network(source)), source.example


def load_float_source(spec: LowBitSpec) -> Source:
    """Load the network that is to be quantized.

    Raises:
        InputError: an unknown network, a variant of one that has none, or weights that are not its own.
    """
    given = spec.network
    if not is_network_source(given.source):
        if given.weights_by_order:
            raise InputError(
                "--weights-by-order is for networks that are given, such as --model timm:NAME; leave it out."
            )
        about = given.source, spec.variant, spec.data.name, given.input_size
        return architecture_source(*about, given.weights, spec.seed)
    if spec.variant is not None:
        raise InputError(f"--variant {spec.variant} is for architectures, see neuro models; leave it out.")
    return load_source(
        given.source,
        weights=given.weights,
        weights_by_order=given.weights_by_order,
        input_size=given.input_size,
        seed=spec.seed,
    )


def float_network(source: Source) -> nn.Module:
    """Return the module that is quantized: of an architecture its merged form.

    Raises:
        InputError: an exported program, or a network of several inputs.
    """
    if len(source.example) != 1 or not isinstance(source.model, nn.Module):
        raise InputError(
            f"{source.name} is no module with one input, which training and measuring follow; quantize it in "
            "Python with quant.quantize."
        )
    return source.model.merged() if isinstance(source.model, OneStep) else source.model
