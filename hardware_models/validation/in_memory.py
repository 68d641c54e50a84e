"""Against published figures of in-memory computing: efficiencies of full arrays, and networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from hardware_models.chip import chip
from hardware_models.quantity import Grade
from hardware_models.validation.edge import network_rows, points
from hardware_models.validation.row import NOTHING, Row, single
from hardware_models.variants import estimate_variants
from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Bounds, Layer, Operand, Workload

DATA = "crossbar_points.csv"


def rows() -> Iterator[Row]:
    """Yield one row for each published efficiency, then one for each published network."""
    for point in points(DATA):
        if point["quantity"] != "efficiency" or not point["input_bits"]:
            continue
        inputs, weights, outputs = (int(point[name]) for name in ("input_bits", "weight_bits", "output_bits"))
        without = (point["without"],) if point["without"] else ()
        yield single(
            chip(point["chip"]).title,
            cast(Grade, point["grade"]),
            f"operations per joule at {inputs}-bit inputs, {outputs}-bit outputs ({point['conditions']})",
            operations_per_joule(point["chip"], inputs, weights, outputs, without),
            float(point["published"]),
            point["unit"],
            None,
            "figures of the chip" if point["fitted"] == "yes" else NOTHING,
            point["note"],
        )
    yield from network_rows(DATA)


def operations_per_joule(
    name: str, input_bits: int, weight_bits: int, adc_bits: int, without: tuple[str, ...] = ()
) -> float:
    """Return 2 MACs / energy of one matrix product that fills an array of the chip called `name`.

    Args:
        name: the chip.
        input_bits, weight_bits: of the product.
        adc_bits: resolution of the converters.
        without: figures that are taken as 0, because the published figure leaves them out.
    """
    found = chip(name)
    rows_, cols = (round(found.figures[f"array.{side}"].si) for side in ("rows", "cols"))
    reduction = rows_ // 2 if found.settings.get("signs") == "rows" else rows_
    outputs = cols // ceil_divide(weight_bits, round(found.figures["cell.bits"].si))
    product = _full_product(reduction, outputs, input_bits, weight_bits)
    variants = {"adc.bits": [float(adc_bits)], **{figure: [0.0] for figure in without}}
    energy = estimate_variants(product, found, variants).total_energy_j
    if energy is None:
        raise ValueError(f"{name} answers no energy, so a point of it cannot be scored")
    return 2.0 * reduction * outputs / float(energy[0, 0])


def fit_neurram() -> tuple[float, float]:
    """Return joules of reading a column for one phase, and of a conversion for each of its bits.

    Energy of a column = phases * e_column + bits * e_conversion, phases = max(input bits - 1, 1), for the sign is the
    polarity of the drive. Two unknowns from the two points marked as fitted; a column has 128 MACs.
    """
    fitted = [point for point in points(DATA) if point["chip"] == "neurram_rram" and point["fitted"] == "yes"]
    counts = np.array([[max(int(point["input_bits"]) - 1, 1), int(point["output_bits"])] for point in fitted])
    energies = np.array([2 * 128 / float(point["published"]) for point in fitted])
    column, conversion = np.linalg.solve(counts, energies)
    return float(column), float(conversion)


def _full_product(reduction: int, outputs: int, input_bits: int, weight_bits: int) -> Workload:
    def operand(name: str, bits: int, elements: int) -> Operand:
        role = "weight" if name == "weight" else "activation"
        fields = {"signed": True, "form": "float", "elements": elements, "nonzero": (elements,), "density": (1.0,)}
        return Operand.model_validate({"name": name, "role": role, "bits": bits, **fields})

    layer = Layer(
        name="full array",
        operator="linear",
        op="linear",
        timesteps=1,
        bounds=Bounds(in_channels=reduction, out_channels=outputs, in_size=(1,), out_size=(1,)),
        operands=(
            operand("input", input_bits, reduction),
            operand("weight", weight_bits, reduction * outputs),
        ),
        out_elements=outputs,
        macs=reduction * outputs,
    )
    return Workload(name="full array", timesteps=1, batch=1, layers=(layer,))
