"""Run ZigZag on networks and accelerators that it brings along, and write what it finds for each layer.

ZigZag is a peer that the spatial engine is scored against (`hardware_models/validation/data/zigzag.csv`). It runs in
an environment of its own, whose Python runs this script:

    python3.11 -m venv zigzag && zigzag/bin/pip install zigzag-dse==3.9.1 six
    OMP_NUM_THREADS=1 zigzag/bin/python benchmarks/oracle_zigzag.py --out zigzag.csv

About 40 CPU seconds for each network, accelerator and objective.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = [
    (accelerator, "resnet18", objective)
    for accelerator in ("tpu_like", "edge_tpu_like", "ascend_like", "meta_prototype", "tesla_npu_like")
    for objective in ("energy", "latency")
] + [("tpu_like", "alexnet", "energy"), ("tpu_like", "mobilenetv2", "energy"), ("edge_tpu_like", "alexnet", "energy")]
"""Accelerator, network and what ZigZag's mapping minimises."""

MAPPINGS = {"meta_prototype": "meta_prototype_like"}
"""Mapping files whose name is not the accelerator's."""

COLUMNS = (
    *(
        "accelerator",
        "network",
        "objective",
        "layer",
        "groups",
        "batch",
        "out_channels",
        "in_channels",
        "out_h",
        "out_w",
    ),
    *("kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w"),
    *("energy_pj", "mac_energy_pj", "array_cycles", "latency_cycles"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    out = parser.parse_args().out
    version = importlib.metadata.version("zigzag-dse")
    with out.open("w", newline="") as file:
        file.write(
            f"# ZigZag {version} (MIT licence), its own networks, accelerators and mapping files, loma engine,\n"
        )
        file.write(
            "# lpf_limit 6; one line a layer, as benchmarks/oracle_zigzag.py wrote them. Channels are those of\n"
        )
        file.write("# one group; array_cycles is the temporal mapping without stalls.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in CASES:
            start = time.process_time()
            rows, energy, latency = run(*case)
            writer.writerows([*case, *row] for row in rows)
            file.flush()
            print(
                *case,
                f"{energy:.2f} pJ",
                f"{latency:.0f} cycles",
                f"{time.process_time() - start:.1f} CPU s",
                flush=True,
            )


def run(accelerator: str, network: str, objective: str) -> tuple[list[list[Any]], float, float]:
    """Return a row for each layer, and ZigZag's own totals (pJ, cycles)."""
    import zigzag
    from zigzag.api import get_hardware_performance_zigzag

    inputs = Path(zigzag.__file__).parent / "inputs"
    model = inputs / "workload" / f"{network}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        energy, latency, found = get_hardware_performance_zigzag(
            str(model),
            str(inputs / "hardware" / f"{accelerator}.yaml"),
            str(inputs / "mapping" / f"{MAPPINGS.get(accelerator, accelerator)}.yaml"),
            opt=objective,
            dump_folder=folder,
            loma_show_progress_bar=False,
        )[:3]
    shapes = geometry(model)
    return [row(evaluation, shapes) for evaluation, _ in found[0][1]], energy, latency


def row(evaluation: Any, shapes: dict[str, tuple[int, int, int, int]]) -> list[Any]:
    layer = evaluation.layer
    sizes = {str(dim): size for dim, size in layer.layer_dim_sizes.data.items()}
    names = ("G", "B", "K", "C", "OY", "OX", "FY", "FX")
    bounds = [int(sizes.get(name, 1)) for name in names]
    bounds[1] *= int(sizes.get("D", 1))
    stride_h, stride_w, in_h, in_w = shapes.get(layer.name, (1, 1, 1, 1))
    figures = evaluation.energy_total, evaluation.mac_energy, evaluation.ideal_temporal_cycle, evaluation.latency_total2
    return [layer.name, *bounds, stride_h, stride_w, in_h, in_w, *(repr(float(figure)) for figure in figures)]


def geometry(model: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return stride and input size (rows, columns) of every convolution, by name."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(model, load_external_data=False)).graph
    known = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
    }
    found = {}
    for node in graph.node:
        if node.op_type == "Conv":
            strides = next((tuple(a.ints) for a in node.attribute if a.name == "strides"), (1, 1))
            found[node.name] = (*strides, *known[node.input[0]][2:])
    return found


if __name__ == "__main__":
    main()
