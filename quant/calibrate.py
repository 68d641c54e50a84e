"""Post-training quantization: ranges, rounding and biases chosen from data, without training.

One walk through the network, layer by layer, with all data at once and the float network beside it: each layer is
fitted on what the quantized layers before it hand on.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError, unknown_name
from quant.bias_correction import add_to_bias, channel_axis, is_rectified, mean_difference, takes_bias
from quant.capture import capture
from quant.equalize import Equalized, equalize
from quant.moments import as_product
from quant.network import Quantized, QuantizedNetwork, presented
from quant.observe import CalibrationWarning, Ranges, checked
from quant.quantize import quantize
from quant.quantizers import Quantizer, Spikes, Uniform
from quant.ranges import RangeMethod
from quant.recipes import Recipe
from quant.rounding import Rounding, adaround, gptq
from quant.walk import Walk


@dataclass(frozen=True)
class LayerRecord:
    """What calibration did to one layer with weights.

    Attributes:
        path: its module.
        operator: such as `conv2d`.
        rounding: how its weights were rounded.
        bias: whether its bias was corrected.
        before: error of its output (where the network fires, in each timestep), |y' - y|^2 / |y|^2 against the float
            network, with its weights rounded to nearest and its bias as it was, on what the calibrated layers before it
            hand on.
        after: the same as it is now.
        note: why something was not done that was asked for; empty where all was.
    """

    path: str
    operator: str
    rounding: str
    bias: bool
    before: float
    after: float
    note: str = ""


@dataclass(frozen=True)
class Calibration:
    """The record of a calibration.

    Attributes:
        method: how ranges of activations were chosen.
        samples: how many inputs were looked at.
        layers: what was done to each layer with weights, in order.
        error: of the network's output, |y' - y|^2 / |y|^2 against the float network, on the calibration data.
        equalized: what was equalized beforehand.
        warnings: what was warned of.
    """

    method: str
    samples: int
    layers: tuple[LayerRecord, ...]
    error: float
    equalized: tuple[Equalized, ...] = ()
    warnings: tuple[str, ...] = ()


def post_training(
    model: nn.Module,
    recipe: str | Path | Recipe,
    batches: Iterable[tuple[Tensor, ...]],
    *,
    method: RangeMethod = "mse",
    percentile: float = 99.99,
    equalization: bool = False,
    strength: float = 0.5,
    bias_correction: bool = True,
    rounding: Rounding = "gptq",
    timesteps: int = 4,
    keep: Iterable[str] = (),
) -> tuple[QuantizedNetwork, Calibration]:
    """Quantize a network from data alone: capture, equalize, quantize, calibrate.

    Args:
        model: in evaluation mode; left as it is.
        recipe: a name, a file or a `Recipe`.
        batches: inputs as the network was trained on, each `[B, ...]`; some hundred samples.
        method: see `calibrate`.
        percentile: see `calibrate`.
        equalization: even out the ranges of channels first, see `quant.equalize`: where few channels have far larger
            values than the others, and the data are many enough to show the range of each.
        strength: of equalization, 0 to 1: how much of the difference goes into the weights.
        bias_correction: see `calibrate`.
        rounding: see `calibrate`.
        timesteps: T, of recipes that fire.
        keep: operators and layers that stay in floating point, see `quant.quantize`.

    Returns:
        The network in evaluation mode, BatchNorm folded, and the record.

    Raises:
        InputError: as `quant.quantize` and `calibrate`.
    """
    data = checked(batches)
    _check_names(method, rounding)
    few, signs = (tuple(x[:count] for x in data[0]) for count in (_EXAMPLE, _SIGNS))
    captured = capture(model, few)
    pairs: tuple[Equalized, ...] = ()
    if equalization:
        captured, pairs = equalize(captured, data, strength)
    network = quantize(captured, recipe, signs, timesteps=timesteps, keep=tuple(keep), trainable=False)
    found = calibrate(
        network,
        data,
        method=method,
        percentile=percentile,
        bias_correction=bias_correction,
        rounding=rounding,
        exact=captured.graph,
    )
    return network, Calibration(**{**vars(found), "equalized": pairs})


_EXAMPLE, _SIGNS = 2, 64
"""Samples that a network is captured with, and those that tell which values are never negative."""


@torch.no_grad()
def calibrate(
    network: QuantizedNetwork,
    batches: Iterable[tuple[Tensor, ...]],
    *,
    method: RangeMethod = "mse",
    percentile: float = 99.99,
    bias_correction: bool = True,
    rounding: Rounding = "nearest",
    exact: fx.GraphModule | None = None,
) -> Calibration:
    """Choose ranges of activations, roundings of weights and biases of a network, in place.

    Weights that are rounded otherwise than to nearest are written back as code times scale, so that the quantizers of
    the network find these codes.

    Args:
        network: fresh from `quant.quantize`; its weights are those of the float network.
        batches: inputs, each `[B, ...]`; all are held in memory, with the values of a few layers.
        method: how ranges are chosen, see `quant.ranges`.
        percentile: of that method.
        bias_correction: take the mean error of each channel back, see `quant.bias_correction`.
        rounding: `nearest`, `gptq` or `adaround`, see `quant.rounding`; for weights on equal steps.
        exact: the float network as captured, whose operators have the same names; None takes the network without its
            quantizers, with rectifiers in the place of those that send spikes.

    Raises:
        InputError: no data, constant or not finite data, an unknown method or rounding, or a network that is training.
    """
    _check_names(method, rounding)
    data = [presented(batch, network.timesteps) for batch in checked(batches)]
    _check_mode(network)
    fitter = _Fitter(network, data, method, percentile, bias_correction, rounding, exact)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CalibrationWarning)
        error = fitter.run()
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    told = tuple(str(one.message) for one in caught if issubclass(one.category, CalibrationWarning))
    samples = sum(len(batch[0]) for batch in data) // network.timesteps
    return Calibration(method, samples, tuple(fitter.records), error, warnings=told)


class _Fitter:
    """Walks through a network and its float twin side by side."""

    def __init__(
        self,
        network: QuantizedNetwork,
        data: list[tuple[Tensor, ...]],
        method: RangeMethod,
        percentile: float,
        bias_correction: bool,
        rounding: Rounding,
        exact: fx.GraphModule | None,
    ) -> None:
        self.bias_correction, self.rounding = bias_correction, rounding
        self.module, self.timesteps = network.layers, network.timesteps
        self.quantizers = network.quantizers()
        self.layers = {one.node: one for one in network.operators if one.kind == "synapse"}
        self.walk = Walk(self.module, data)
        self.exact = Walk(_without_quantizers(self.module) if exact is None else exact, data)
        self.ranges = Ranges(network, self.walk, method, percentile)
        self.rounded: set[str] = set()
        self.records: list[LayerRecord] = []

    def run(self) -> float:
        """Fit every layer; return the error of the output."""
        error = 0.0
        for node in self.walk.nodes:
            self.ranges.choose(node)
            layer = self.layers.get(node.name)
            if layer is None:
                self.walk.compute(node)
            else:
                self._fit(layer, node)
            if node.op == "output":
                wanted = self.exact.values(self.exact.until(node.name))
                error = _error(*(self._answers(one) for one in (wanted, self.walk.values(node))))
        self.ranges.silent()
        return error

    def _answers(self, outputs: list[Tensor]) -> list[Tensor]:
        """The mean over the timesteps."""
        return [y.unflatten(0, (self.timesteps, -1)).mean(0) for y in outputs]

    def _fit(self, layer: Quantized, node: fx.Node) -> None:
        """Round the weights of a layer and correct its bias."""
        rounding, note = self._round_later(layer, node)
        inputs = self.walk.values(_value(node)) if rounding != "nearest" else []
        wanted = self.exact.values(self.exact.until(node.name))
        before = _error(wanted, self.walk.peek(node))
        if inputs:
            self._round(layer, node, inputs)
        self.walk.compute(node)
        corrected = self.bias_correction and takes_bias(node)
        if corrected:
            self._correct(node, wanted)
        elif self.bias_correction:
            note = note or f"{layer.operator} takes no bias"
        after = _error(wanted, self.walk.values(node))
        self.records.append(LayerRecord(layer.path, layer.operator, rounding, corrected, before, after, note))

    def _round_later(self, layer: Quantized, node: fx.Node) -> tuple[Rounding, str]:
        """Return how the weights of a layer can be rounded, and why not as asked for."""
        if self.rounding == "nearest" or not layer.weight:
            return "nearest", ""
        if layer.parameter in self.rounded:
            return "nearest", "its weights are those of a layer before"
        if not isinstance(self.quantizers[layer.weight], Uniform):
            return "nearest", "its weights are not on equal steps"
        if as_product(node) is None:
            return "nearest", f"{layer.operator} has no rule for {self.rounding}"
        return self.rounding, ""

    def _round(self, layer: Quantized, node: fx.Node, inputs: list[Tensor]) -> None:
        product, quantizer = as_product(node), self.quantizers[layer.weight]
        assert product is not None
        assert isinstance(quantizer, Uniform)
        parameter = self.module.get_parameter(layer.parameter)
        weight, scale = product.weights(parameter), product.weights(quantizer.scale(parameter).expand_as(parameter))
        choose = gptq if self.rounding == "gptq" else adaround
        codes = choose(weight, scale, quantizer.low, quantizer.high, product.gram(inputs, parameter))
        parameter.copy_((codes * scale).reshape(parameter.shape))
        self.rounded.add(layer.parameter)
        read = node.args[1]
        assert isinstance(read, fx.Node)
        self.walk.again(read)

    def _correct(self, node: fx.Node, wanted: list[Tensor]) -> None:
        found = self.walk.values(node)
        axis = channel_axis(node, found[0])
        change = mean_difference(wanted, found, axis, is_rectified(node))
        made = add_to_bias(self.module, node, change)
        if made is not None:
            self.walk.compute(made)
        shape = [1] * found[0].dim()
        shape[axis] = -1
        self.walk.apply(node, lambda y: y + change.view(shape))


def _value(node: fx.Node) -> fx.Node:
    (value,) = (one for one in node.args[:1] if isinstance(one, fx.Node))
    return value


def _without_quantizers(module: fx.GraphModule) -> fx.GraphModule:
    """A copy whose quantizers do nothing; neurons send nothing below 0, so in their place are rectifiers."""
    twin = copy.deepcopy(module)
    for name, one in list(twin.named_modules()):
        if isinstance(one, Quantizer):
            twin.set_submodule(name, nn.ReLU() if isinstance(one, Spikes) else nn.Identity())
    return twin


def _error(wanted: list[Tensor], found: list[Tensor]) -> float:
    """|y' - y|^2 / |y|^2 over all batches."""
    difference = sum(float((a - b).double().square().sum()) for a, b in zip(wanted, found, strict=True))
    return difference / max(sum(float(a.double().square().sum()) for a in wanted), 1e-30)


def _check_names(method: str, rounding: str) -> None:
    if method not in get_args(RangeMethod):
        raise unknown_name("way to choose a range", method, get_args(RangeMethod))
    if rounding not in get_args(Rounding):
        raise unknown_name("rounding", rounding, get_args(Rounding))


def _check_mode(network: nn.Module) -> None:
    for name, one in network.named_modules():
        if isinstance(one, nn.modules.batchnorm._BatchNorm) and one.training:
            raise InputError(
                f"{name.removeprefix('layers.')} is a BatchNorm in training mode, whose results change with every "
                "batch; call network.eval() before it is calibrated."
            )
