"""A quantized network with Brevitas' layers, for those who go on in Brevitas (0.13): its tools, exporters, back ends.

`QuantizedNetwork` itself is not made of them: Brevitas' layers cannot be pickled, and break `torch.compile`. The twin
made here holds the same parameters and quantizers, so that what trains or calibrates the one does so to the other.

Brevitas assembles a quantizer from an injector. Here the injector holds the network's own quantizer, behind the
interface that Brevitas expects: value, scale, zero point and width. So every scheme becomes a Brevitas quantizer, those
too that Brevitas lacks: mean|w| and learned scales by channel for binary weights, BitNet's ternary ones, powers of two,
ReActNet's thresholds.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.capture.constants import attribute, drop_unread
from quant.capture.operators import operator_name
from quant.network import QuantizedNetwork, averaged, presented
from quant.quantizers import Binary, PowerOfTwo, Quantizer, Shift, Spikes

_CONVOLUTIONS = {f"conv{n}d": f"QuantConv{n}d" for n in (1, 2, 3)}
_TRANSPOSED = {f"conv_transpose{n}d": f"QuantConvTranspose{n}d" for n in (1, 2, 3)}


class BrevitasNetwork(nn.Module):
    """A quantized network with Brevitas' layers.

    Attributes:
        layers: the graph; layers stand under the names that the network's quantizers had.
        timesteps: T; 1 where nothing fires.
    """

    def __init__(self, layers: fx.GraphModule, timesteps: int) -> None:
        super().__init__()
        self.layers, self.timesteps = layers, timesteps

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output, `[B, ...]`, for inputs `[B, ...]`; T timesteps are presented and averaged."""
        return averaged(self.layers(*presented(inputs, self.timesteps)), self.timesteps)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load as any module does; Brevitas would make its quantizers anew, apart from the network's."""
        config = _brevitas("config")
        before = config.REINIT_ON_STATE_DICT_LOAD
        config.REINIT_ON_STATE_DICT_LOAD = False
        try:
            return super().load_state_dict(*args, **kwargs)
        finally:
            config.REINIT_ON_STATE_DICT_LOAD = before


class BrevitasQuantizer(nn.Module):
    """A quantizer behind the interface of Brevitas' `tensor_quant`.

    Returns of its forward: (value, scale, zero point, width), where the width is that of value / scale as a whole
    number; for powers of two this is more than their codes take.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        width = 2 ** (quantizer.bits - 1) if isinstance(quantizer, PowerOfTwo) else quantizer.bits
        self.register_buffer("width", torch.tensor(float(width)), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale = self.quantizer.scale(x)
        zero = torch.as_tensor(self.quantizer.zero_point(), dtype=scale.dtype, device=scale.device)
        return self.quantizer(x), scale, zero, self.get_buffer("width")


def brevitas_form(network: QuantizedNetwork) -> BrevitasNetwork:
    """Return the network with Brevitas' layers, on the same parameters.

    A convolution or linear layer with a quantized weight becomes `brevitas.nn.QuantConv2d`, `QuantLinear` and so on, a
    table `QuantEmbedding`, every other quantizer `QuantIdentity`. Spiking neurons and what is not quantized stay. What
    a tool adds, such as the bias that bias correction gives to a layer without one, the twin has alone.

    Brevitas' own exporters take the twin; its QONNX rounds weights once more, and takes one bit for a sign, so that
    ternary weights by threshold, powers of two and codes 0 and 1 of one bit come out wrong, which `quant.export` writes
    as they are.

    Args:
        network: left as it is; its parameters and quantizers are the twin's too.

    Returns:
        The twin, in the mode that the network is in; it answers what the network answers.

    Raises:
        InputError: not a quantized network, or Brevitas is not installed.
    """
    if not isinstance(network, QuantizedNetwork):
        raise InputError(f"a {type(network).__name__} was given; quantize it first (quant.quantize).")
    _brevitas("nn")
    shared = {id(one): one for one in [*network.parameters(), *network.buffers(), *network.quantizers().values()]}
    layers: fx.GraphModule = copy.deepcopy(network.layers, shared)
    quantizers = network.quantizers()
    for node in layers.graph.find_nodes(op="call_function", target=torch.ops.aten._unsafe_view.default):
        node.target = torch.ops.aten.view.default  # the same, and known to the exporter that Brevitas uses
    made: set[str] = set()
    read: list[str] = []
    for node in list(layers.graph.nodes):
        name = str(node.target)
        if node.op != "call_module" or name not in quantizers or isinstance(quantizers[name], Spikes):
            continue
        weight = node.args[0] if node.args[0].op == "get_attr" else None
        if weight is not None and _takes_weight(layers, node, quantizers[name]):
            read += [str(one.target) for one in node.users for one in one.all_input_nodes if one.op == "get_attr"]
            read.append(str(weight.target))
        elif name not in made:
            layers.set_submodule(name, _identity(quantizers[name]))
            made.add(name)
    layers.graph.eliminate_dead_code()
    drop_unread(layers, dict.fromkeys(read))
    layers.recompile()
    return BrevitasNetwork(layers, network.timesteps).train(network.training)


def _takes_weight(module: fx.GraphModule, weight: fx.Node, quantizer: Quantizer) -> bool:
    """Put a layer of Brevitas in the place of the operator that reads a quantized weight; say whether there is one."""
    (reader,) = weight.users
    value, bias = _operands(module, weight, reader)
    if value is None:
        return False
    layer = _layer(module, weight, reader, quantizer)
    if layer is None:
        return False
    layer.weight = attribute(module, str(weight.args[0].target))  # type: ignore[union-attr]
    if bias is not None:
        layer.bias = bias
    name = str(weight.target)
    module.set_submodule(name, layer)
    with module.graph.inserting_before(reader):
        call = module.graph.call_module(name, (value,))
    call.meta = dict(reader.meta)
    reader.replace_all_uses_with(call)
    module.graph.erase_node(reader)
    return True


def _operands(module: fx.GraphModule, weight: fx.Node, reader: fx.Node) -> tuple[Any, Any]:
    """The value that a layer reads, and its bias; (None, None) where its operands are no layer's."""
    if operator_name(reader) == "embedding":
        return reader.args[1], None
    arguments = [*reader.args, None, None]
    value, own, bias = arguments[:3]
    if own is not weight or not (bias is None or (isinstance(bias, fx.Node) and bias.op == "get_attr")):
        return None, None
    return value, None if bias is None else attribute(module, str(bias.target))


def _layer(module: fx.GraphModule, weight: fx.Node, reader: fx.Node, quantizer: Quantizer) -> Any:
    """The layer of Brevitas for an operator, with weights still to be set; None where it has none."""
    name, nets = operator_name(reader), _brevitas("nn")
    value: Tensor = attribute(module, str(weight.args[0].target))  # type: ignore[union-attr]
    more = {"weight_quant": _injector(quantizer, weight=True), "device": value.device, "dtype": value.dtype}
    if name == "embedding":
        del more["device"], more["dtype"]
        padding = reader.args[2] if len(reader.args) > 2 and reader.args[2] != -1 else None
        return nets.QuantEmbedding(*value.shape, padding_idx=padding, **more)
    more |= {"bias": len(reader.args) > 2 and reader.args[2] is not None}
    if name == "linear":
        return nets.QuantLinear(value.shape[1], value.shape[0], **more)
    settings = _settings(reader, name, value.dim() - 2)
    if settings is None:
        return None
    transposed, found = settings
    groups, kernel = found["groups"], tuple(value.shape[2:])
    if transposed:
        layer = getattr(nets, f"QuantConvTranspose{len(kernel)}d")
        return layer(value.shape[0], value.shape[1] * groups, kernel, **found, **more)
    return getattr(nets, f"QuantConv{len(kernel)}d")(value.shape[1] * groups, value.shape[0], kernel, **found, **more)


def _settings(reader: fx.Node, name: str, dims: int) -> tuple[bool, dict[str, Any]] | None:
    """Whether a convolution is transposed, and stride, padding and so on as its layer takes them."""
    plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    turned = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    if name in _CONVOLUTIONS:
        transposed, names, values = False, plain, reader.args[3:]
    elif name in _TRANSPOSED:
        transposed, names, values = True, turned, reader.args[3:]
    elif name == "convolution":
        stride, padding, dilation, transposed, output_padding, groups = reader.args[3:9]  # type: ignore[assignment]
        values = (
            (stride, padding, output_padding, groups, dilation) if transposed else (stride, padding, dilation, groups)
        )
        names = turned if transposed else plain
    else:
        return None
    found = names | dict(zip(names, values, strict=False))
    return bool(transposed), {key: _each(value, dims) if key != "groups" else value for key, value in found.items()}


def _each(value: Any, dims: int) -> Any:
    """A setting for every axis; a word stays."""
    if isinstance(value, str):
        return value
    return (value,) * dims if isinstance(value, int) else tuple(value) * (dims if len(value) == 1 else 1)


def _identity(quantizer: Quantizer) -> nn.Module:
    """The layer of Brevitas that quantizes a value."""
    nets = _brevitas("nn")
    if not (isinstance(quantizer, Binary) and quantizer.shifts):
        found: nn.Module = nets.QuantIdentity(act_quant=_injector(quantizer, weight=False))
        return found
    plain = Binary(quantizer.scaling, quantizer.estimator)
    plain.scale_ = quantizer.scale_
    return nn.Sequential(Shift(quantizer), nets.QuantIdentity(act_quant=_injector(plain, weight=False)))


def _injector(quantizer: Quantizer, weight: bool) -> Any:
    """What Brevitas makes a quantizer from; its exporters ask for sign, narrow range and rounding."""
    proxies, enums = _brevitas("proxy"), _brevitas("inject.enum")
    low, high = quantizer.limits()
    return type(
        f"{type(quantizer).__name__}Injector",
        (_brevitas("inject").ExtendedInjector,),
        {
            "proxy_class": proxies.WeightQuantProxyFromInjector if weight else proxies.ActQuantProxyFromInjector,
            "tensor_quant": BrevitasQuantizer(quantizer),
            "signed": low < 0,
            "narrow_range": low == -high,
            "bit_width": quantizer.bits,
            "float_to_int_impl_type": enums.FloatToIntImplType.ROUND,
        },
    )


def _brevitas(name: str) -> Any:
    try:
        return importlib.import_module(f"brevitas.{name}")
    except ImportError as error:
        raise InputError("brevitas is not installed; pip install neuro[export].") from error
