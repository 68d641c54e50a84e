"""What a file of a packed network holds, and a network put back from it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hardware_models.errors import InputError
from quant.capture.constants import attribute
from quant.export.header import Settings, make, settings
from quant.network import QuantizedNetwork
from quant.packed.formats import UnpackableError, packed_weight, values_of
from quant.packed.fuse import fold
from quant.packed.weights import PackedWeight
from quant.quantizers import Quantizer, Ternary


@dataclass(frozen=True, eq=False)
class Content:
    """A quantized network in as few bits as it takes, but for its graph.

    Attributes:
        recipe: its name.
        timesteps: T.
        quantizers: what makes each of them.
        weights: by the names of their quantizers.
        parameters: the name of each packed weight, by that of its quantizer.
        norms: scale and shift of each BatchNorm, by its name: y = x scale + shift, float32 `[C]`.
        tensors: all others, by their names in the graph.
    """

    recipe: str
    timesteps: int
    quantizers: dict[str, Settings]
    weights: dict[str, PackedWeight]
    parameters: dict[str, str]
    norms: dict[str, tuple[Tensor, Tensor]]
    tensors: dict[str, Tensor]


@torch.no_grad()
def content_of(network: QuantizedNetwork) -> Content:
    """Return what a file of the network has to hold.

    Raises:
        InputError: a scale is zero or not finite.
    """
    module, quantizers = network.layers, network.quantizers()
    weights: dict[str, PackedWeight] = {}
    parameters: dict[str, str] = {}
    readers = _readers(module)
    for one in network.operators:
        if one.weight and readers[one.parameter] == 1:
            found = _alone(quantizers[one.weight], attribute(module, one.parameter), one.weight)
            if found is not None:
                weights[one.weight], parameters[one.weight] = found, one.parameter
    norms = {name: fold(norm) for name, norm in _norms(module).items()}
    held = set(parameters.values()) | {f"{name}.{key}" for name in norms for key in _NORM}
    tensors = {
        name: unrepeated(value.detach()).cpu() for name, value in module.state_dict().items() if name not in held
    }
    made = {name: settings(one) for name, one in quantizers.items()}
    return Content(network.recipe.name, network.timesteps, made, weights, parameters, norms, tensors)


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def unrepeated(value: Tensor) -> Tensor:
    """Return a view without the repetitions of an expanded tensor."""
    return value[tuple(slice(1) if step == 0 else slice(None) for step in value.stride())]


def _norms(module: nn.Module) -> dict[str, _BatchNorm]:
    found = {name: one for name, one in module.named_modules() if isinstance(one, _BatchNorm)}
    return {name: one for name, one in found.items() if one.running_mean is not None}


def _readers(module: fx.GraphModule) -> Counter[str]:
    """How many nodes read each tensor."""
    counts: Counter[str] = Counter()
    for node in module.graph.find_nodes(op="get_attr"):
        counts[str(node.target)] += len(node.users)
    return counts


def _alone(quantizer: Quantizer, value: Tensor, name: str) -> PackedWeight | None:
    """The packed weight, where its quantizer makes the same again of what is read back from it."""
    try:
        found = packed_weight(quantizer, value)
    except UnpackableError:
        return None
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    again = quantizer(parameter_of(found, quantizer).to(value.dtype))
    return found if torch.allclose(again, quantizer(value), rtol=1e-4, atol=0) else None


def parameter_of(weight: PackedWeight, quantizer: Quantizer) -> Tensor:
    """Return a parameter of which the quantizer makes the weight again.

    What it makes is the parameter itself, but for scales of mean |w| over zeros too, where w grows by n / (n other
    than 0).
    """
    values = values_of(weight, quantizer.axis)
    if not (isinstance(quantizer, Ternary) and quantizer.rule == "mean"):
        return values
    others = () if quantizer.axis is None else (quantizer.axis,)
    axes = tuple(i for i in range(values.dim()) if i not in others)
    share = (values != 0).float().mean(axes, keepdim=True)
    return values / share.clamp_min(1e-12)


@torch.no_grad()
def restored(network: QuantizedNetwork, content: Content, source: str) -> QuantizedNetwork:
    """Return a copy of a network with quantizers and tensors of `content`, in evaluation mode.

    Raises:
        InputError: it was made of another architecture or recipe; `source` is named.
    """
    if (content.recipe, content.timesteps) != (network.recipe.name, network.timesteps):
        raise InputError(
            f"{source} holds a network by {content.recipe} with T = {content.timesteps}, and one by "
            f"{network.recipe.name} with T = {network.timesteps} was given; quantize it as that one was."
        )
    made = copy.deepcopy(network).cpu()
    module = made.layers
    _same(source, made.quantizers(), content.quantizers)
    for name, one in content.quantizers.items():
        module.set_submodule(name, make(one))
    given, quantizers = dict(content.tensors), made.quantizers()
    for name, weight in content.weights.items():
        given[content.parameters[name]] = parameter_of(weight, quantizers[name])
    norms = _norms(module)
    _same(source, norms, content.norms)
    for name, (scale, shift) in content.norms.items():
        module.set_submodule(name, _norm(norms[name], scale, shift))
        given |= {f"{name}.{key}": value for key, value in module.get_submodule(name).state_dict().items()}
    own = module.state_dict()
    _same(source, own, given)
    for name, value in own.items():
        there = unrepeated(value)
        if there.shape != given[name].shape:
            raise _other(source, name)
        there.copy_(given[name])
    return made.eval()


def _norm(norm: _BatchNorm, scale: Tensor, shift: Tensor) -> _BatchNorm:
    """BatchNorm with mean 0 and variance 1 that scales and shifts alone."""
    made = type(norm)(len(scale), eps=0.0, momentum=norm.momentum)
    made.load_state_dict({"weight": scale, "bias": shift}, strict=False)
    return made


def _same(source: str, own: Iterable[str], given: Iterable[str]) -> None:
    differing = sorted(set(own) ^ set(given))
    if differing:
        raise _other(source, differing[0])


def _other(source: str, name: str) -> InputError:
    return InputError(
        f"{source} was made of another architecture, which has another {name}; give the network that it was made of."
    )
