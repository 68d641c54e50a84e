"""`profile_low_bit`: the Workload of a quantized network, at the widths that its quantizers give to every operand."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from hardware_models.workload import Layer, Operand, Workload
from neuro.profiling.profile import profile
from quant.capture.operators import KINDS, operator_name
from quant.network import VALUES, WEIGHTS, Quantized, QuantizedNetwork
from quant.quantizers import Quantizer, Spikes, Uniform

_LAYERS = ("synapse", "product")


def profile_low_bit(network: QuantizedNetwork, batch: Tensor, name: str | None = None) -> Workload:
    """Run a quantized network and measure every operator.

    Layers are called by module path and operator. Where an operand is 0 or 1 up to its scale, one-bit activations or
    spikes, the layer takes the accumulates that were counted. Any other takes multiply-accumulates at the widths of its
    operands, +-1 times +-1 among them (1 x 1 bit: XNOR and count). The arithmetic inside quantizers simulates low bits
    and is left out; putting sums back onto few bits is not counted.

    Args:
        network: in any mode.
        batch: input, `[B, ...]`.
        name: of the Workload.

    Raises:
        InputError: as `profile`.
    """
    view, names = _with_named_operators(network)
    found = profile(view, batch, timesteps=network.timesteps, time_first=False, name=name)
    quantizers = network.quantizers()
    found = _without_simulation(found)
    layers = tuple(
        _at_widths(layer, names[_site(layer)], quantizers, found.batch) if _site(layer) in names else layer
        for layer in found.layers
    )
    made = found.model_copy(update={"layers": layers})
    made.arrays.update(found.arrays)
    return made


class _Operator(nn.Module):
    """One operator as a module, so that who watches modules sees a layer."""

    def __init__(self, node: fx.Node) -> None:
        super().__init__()
        self.target: Any = node.target
        self.places = {one: i for i, one in enumerate(node.all_input_nodes)}
        self.args, self.kwargs = node.args, node.kwargs

    def forward(self, *values: Any) -> Any:
        """Return what the operator answers to the values of its input nodes."""
        args, kwargs = map_arg((self.args, self.kwargs), lambda node: values[self.places[node]])
        return self.target(*args, **kwargs)


def _with_named_operators(network: QuantizedNetwork) -> tuple[QuantizedNetwork, dict[str, Quantized]]:
    """Return a view of the network whose layers and products are modules, and what each of them is."""
    layers = fx.GraphModule(network.layers, _copied(network.layers.graph))
    by_node = {one.node: one for one in network.operators if KINDS.get(one.operator) in _LAYERS}  # kept ones as well
    names: dict[str, Quantized] = {}
    for node in list(layers.graph.nodes):
        made = by_node.get(node.name)
        if made is None or operator_name(node) in ("mul", "multiply"):
            continue
        name = f"{made.path}.{node.name}" if made.path != "the network" else node.name
        layers.add_submodule(name, _Operator(node))
        with layers.graph.inserting_before(node):
            called = layers.graph.call_module(name, tuple(node.all_input_nodes))
        node.replace_all_uses_with(called)
        layers.graph.erase_node(node)
        names[name] = made
    layers.recompile()
    view = QuantizedNetwork(layers, network.recipe, network.timesteps, network.operators)
    return view.train(network.training), names


def _without_simulation(workload: Workload) -> Workload:
    """Leave out what quantizers compute, spiking neurons aside, and connect what lies before with what lies behind."""
    inside = {
        layer.name: layer.consumers
        for layer in workload.layers
        if layer.name.startswith((f"{VALUES}.", f"{WEIGHTS}.")) and layer.operator != "neuron"
    }
    kept = [layer for layer in workload.layers if layer.name not in inside]
    joined = [layer.model_copy(update={"consumers": _behind(layer.consumers, inside)}) for layer in kept]
    made = workload.model_copy(update={"layers": tuple(joined)})
    made.arrays.update(workload.arrays)
    return made


def _behind(consumers: tuple[str, ...], inside: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    found: set[str] = set()
    todo, seen = list(consumers), set(consumers)
    while todo:
        name = todo.pop()
        if name not in inside:
            found.add(name)
        else:
            todo += [one for one in inside[name] if one not in seen]
            seen.update(inside[name])
    return tuple(sorted(found))


def _copied(graph: fx.Graph) -> fx.Graph:
    made = fx.Graph()
    output = made.graph_copy(graph, {})
    made.output(output)
    return made


def _site(layer: Layer) -> str:
    """The module that a layer was seen in; products are named with their operation."""
    return layer.name.partition(":")[0]


def _at_widths(layer: Layer, made: Quantized, quantizers: dict[str, Quantizer], batch: int) -> Layer:
    """A measured layer with the widths of its quantizers, and the operations that these take."""
    held = _held(layer, made, quantizers)
    if not held:
        return layer
    spiking = [name for name, one in held.items() if is_zero_or_one(one) and name != "weight"]
    update: dict[str, Any] = {"operands": tuple(_operand(one, held.get(one.name)) for one in layer.operands)}
    if not spiking:
        update |= {"macs": layer.dense_macs * batch, "acs": 0, "acs_by_timestep": (), "driven_by": None}
    elif layer.driven_by not in spiking:
        driver = layer.operand(spiking[0])
        count = round(sum(driver.nonzero) * layer.fan_out)
        update |= {"macs": 0, "acs": count, "acs_by_timestep": (), "driven_by": driver.name}
    return layer.model_copy(update=update)


def _held(layer: Layer, made: Quantized, quantizers: dict[str, Quantizer]) -> dict[str, Quantizer]:
    """The quantizer of each operand that has one, by the operand's name."""
    values = [one.name for one in layer.operands if one.role == "activation"]
    inputs = list(made.inputs)
    if len(inputs) == 1:
        inputs *= len(values)  # the square of a value
    found = {name: quantizers[one] for name, one in zip(values, inputs, strict=False)}
    if made.weight:
        found["weight"] = quantizers[made.weight]
    return found


def is_zero_or_one(quantizer: Quantizer) -> bool:
    """Whether its codes are 0 and 1: a product with them selects what is added."""
    affine = isinstance(quantizer, Uniform) and quantizer.affine
    return isinstance(quantizer, Spikes) or (quantizer.limits() == (0, 1) and not affine)


def _operand(operand: Operand, quantizer: Quantizer | None) -> Operand:
    if quantizer is None:
        return operand
    if is_zero_or_one(quantizer):
        return operand.model_copy(update={"bits": 1, "signed": False, "form": "binary"})
    update = {"bits": quantizer.bits, "signed": quantizer.signed, "form": "integer", "magnitude": (), "levels": 0}
    return operand.model_copy(update=update)
