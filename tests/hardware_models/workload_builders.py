"""Small workloads written by hand, as a user without torch would write them."""

from __future__ import annotations

from typing import Any

from hardware_models.workload import Bounds, Layer, Operand, Workload


def operand(
    name: str, form: str = "float", bits: int = 32, density: tuple[float, ...] = (1.0,), **extra: Any
) -> Operand:
    """An operand of 100 values whose counts follow from its densities."""
    nonzero = tuple(round(100 * share) for share in density)
    fields = {
        "role": "weight" if name == "weight" else "activation",
        "signed": form != "binary",
        "elements": 100,
    }
    return Operand(name=name, form=form, bits=bits, density=density, nonzero=nonzero, **(fields | extra))


def spikes(*density: float, name: str = "input") -> Operand:
    """Binary spikes with one density for each timestep."""
    return operand(name, "binary", 1, density)


def linear(name: str, rows: int, inputs: int, outputs: int, *operands: Operand, **extra: Any) -> Layer:
    """A linear layer; without operands a 32-bit floating-point one."""
    bounds = Bounds(in_channels=inputs, out_channels=outputs, in_size=(rows,), out_size=(rows,))
    fields: dict[str, Any] = {"timesteps": 1, "out_elements": rows * outputs, "op": "addmm"}
    return Layer(
        name=name,
        operator="linear",
        bounds=bounds,
        operands=operands or (operand("input"), operand("weight")),
        **(fields | extra),
    )


def conv3x3(name: str, size: int, channels: tuple[int, int], *operands: Operand, **extra: Any) -> Layer:
    """A 3x3 convolution with padding 1 on a square image."""
    bounds = Bounds(
        in_channels=channels[0],
        out_channels=channels[1],
        in_size=(size, size),
        out_size=(size, size),
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
    )
    fields: dict[str, Any] = {"timesteps": 1, "out_elements": channels[1] * size * size, "op": "convolution"}
    return Layer(name=name, operator="conv", bounds=bounds, operands=operands, **(fields | extra))


def product(name: str, heads: int, m: int, k: int, n: int, *operands: Operand, **extra: Any) -> Layer:
    """`heads` products [m, k] x [k, n] of activations."""
    bounds = Bounds(groups=heads, in_channels=heads * k, out_channels=heads * n, in_size=(m,), out_size=(m,))
    fields: dict[str, Any] = {"timesteps": 1, "out_elements": heads * m * n, "op": "bmm"}
    return Layer(name=name, operator="matmul", bounds=bounds, operands=operands, **(fields | extra))


def other(name: str, operator: str, **extra: Any) -> Layer:
    """A layer without synapses."""
    return Layer(**{"name": name, "operator": operator, "op": operator, "timesteps": 1, "out_elements": 10} | extra)


def workload(*layers: Layer, batch: int = 1, timesteps: int = 1, **extra: Any) -> Workload:
    """A workload of these layers."""
    return Workload(name="by hand", timesteps=timesteps, batch=batch, layers=layers, **extra)
