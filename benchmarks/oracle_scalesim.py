"""Run SCALE-Sim 3.0.0 beside our equations: regenerate the golden figures, and compare the time they take.

    python3 -m venv VENV && VENV/bin/pip install scalesim==3.0.0 "numpy<2.4"
    python benchmarks/oracle_scalesim.py --python VENV/bin/python --given GIVEN.csv --out GOLDEN.csv
    python benchmarks/oracle_scalesim.py --python VENV/bin/python --time

SCALE-Sim stays in an environment of its own: this file runs itself there (`--worker`), where it needs nothing but
the standard library and scalesim. What comes back are figures: cycles ("Total Cycles" of COMPUTE_REPORT), SRAM
words (DETAILED_ACCESS_REPORT), overall utilisation and mapping efficiency (COMPUTE_REPORT).

The cases: layers drawn at random (`--random`, from `--seed`) over many arrays and the three dataflows, corner
cases written out below, and the layers of SCALE-Sim's own topologies that fit a budget of SRAM words
(`--topologies`: the folder `topologies` of its repository). Rows of `--given` come first, as they stand; a given
row that is run again must come back the same.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLUMNS = [
    *("net", "dataflow", "array_rows", "array_cols", "layer", "kind"),
    *("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride", "M", "N", "K"),
    *("cycles", "sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes"),
    *("groups", "overall_util_percent", "mapping_efficiency_percent"),
]
HEADER = (
    '# SCALE-Sim 3.0.0 (MIT), InterfaceBandwidth CALC, 256 kB SRAMs; cycles = "Total Cycles" of COMPUTE_REPORT, '
    "SRAM counts = words of DETAILED_ACCESS_REPORT (stop cycle column not used). kind depthwise: a topology row "
    "named DP, which SCALE-Sim runs as one layer per channel; the figures are sums over them (groups). Made by "
    "benchmarks/oracle_scalesim.py; rows without groups and percentages are earlier runs of the same version."
)
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 256
FilterSramSzkB: 256
OfmapSramSzkB: 256
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
ARRAYS = [
    *[(8, 8), (16, 16), (32, 32), (64, 64), (8, 128), (128, 8), (16, 64), (64, 16), (1, 1), (1, 16), (16, 1), (1, 2)],
    *[(2, 1), (7, 13), (12, 14), (3, 5), (24, 9), (256, 4), (4, 256), (128, 128)],
]
# Layers: (name, kind, ifmap_h, ifmap_w, filter_h, filter_w, channels, filters, stride).
CORNERS: list[tuple[Any, ...]] = [
    ("one", "conv", 1, 1, 1, 1, 2, 1, 1),
    ("pointwise", "conv", 9, 7, 1, 1, 20, 33, 1),
    ("pointwise stride 2", "conv", 9, 7, 1, 1, 20, 33, 2),
    ("stride does not divide", "conv", 14, 11, 3, 3, 5, 9, 2),
    ("stride above kernel", "conv", 17, 16, 2, 2, 3, 10, 5),
    ("kernel is the image", "conv", 6, 5, 6, 5, 7, 19, 1),
    ("flat kernel", "conv", 12, 10, 1, 5, 3, 6, 1),
    ("tall kernel", "conv", 12, 10, 5, 1, 3, 6, 3),
    ("fully connected", "conv", 1, 1, 1, 1, 70, 45, 1),
    ("one filter", "conv", 10, 10, 3, 3, 16, 1, 1),
    ("DP depthwise", "depthwise", 11, 9, 3, 3, 6, 1, 1),
    ("DP depthwise stride 2", "depthwise", 12, 12, 3, 3, 4, 1, 2),
    ("DP multiplier 3", "depthwise", 8, 8, 5, 5, 3, 3, 1),
    ("vector", "gemm", 1, 40, 1, 40, 1, 50, 1),
    ("K is 1", "gemm", 33, 1, 1, 1, 1, 17, 1),
    ("K is 2", "gemm", 5, 2, 1, 2, 1, 3, 1),
    ("attention", "gemm", 49, 32, 1, 32, 1, 49, 1),
]
NETWORKS = [
    *("mobilenet", "Googlenet", "Resnet50", "yolo_tiny", "FasterRCNN"),
    *("vit_s", "transformer_partial", "NCF"),
]
WORDS_LIMIT = 400_000
NETWORK_WORDS_LIMIT = 2_500_000


def gemm_of(layer: tuple[Any, ...]) -> tuple[int, int, int, int]:
    """Return (groups, M, N, K) as SCALE-Sim forms them; written apart from the package's own lowering."""
    _, kind, height, width, kernel_h, kernel_w, channels, filters, stride = layer
    out_h, out_w = (math.ceil((i - k + stride) / stride) for i, k in ((height, kernel_h), (width, kernel_w)))
    groups = channels if kind == "depthwise" else 1
    return groups, out_h * out_w, filters, kernel_h * kernel_w * channels // groups


def words(layer: tuple[Any, ...], rows: int, cols: int) -> int:
    """Return about how many words SCALE-Sim would follow one by one, which is what its time goes into."""
    groups, m, n, k = gemm_of(layer)
    folds = math.ceil(max(m, k) / rows) * math.ceil(max(m, n) / cols)
    return groups * (m * k * math.ceil(n / cols) + n * k * math.ceil(m / rows) + folds * (rows + cols) * 8)


# --- in SCALE-Sim's environment -------------------------------------------------------------------------------


def worker(jobs_file: Path, out_file: Path) -> None:
    """Run each job (array, dataflow, layers of one kind) and write the figures and the processor's time."""
    import contextlib
    import os

    from scalesim.scale_sim import scalesim  # type: ignore[import-not-found]

    results = []
    for job in json.loads(jobs_file.read_text()):
        with tempfile.TemporaryDirectory() as name, Path(os.devnull).open("w") as null:
            folder = Path(name)
            (folder / "c.cfg").write_text(CONFIG.format(**job))
            (folder / "layout.csv").write_text("header\n")
            gemm = job["kind"] == "gemm"
            (folder / "t.csv").write_text("header\n" + "".join(topology_row(layer) for layer in job["layers"]))
            started = time.process_time()
            with contextlib.redirect_stdout(null):
                scalesim(
                    save_disk_space=True,
                    verbose=False,
                    config=str(folder / "c.cfg"),
                    topology=str(folder / "t.csv"),
                    layout=str(folder / "layout.csv"),
                    input_type_gemm=gemm,
                ).run_scale(top_path=str(folder))
            seconds = time.process_time() - started
            compute = report(folder / "run" / "COMPUTE_REPORT.csv")
            access = report(folder / "run" / "DETAILED_ACCESS_REPORT.csv")
        figures = [
            [int(c["Total Cycles"]), *(int(float(a[f"SRAM {what}"])) for what in SRAM), c["Overall Util %"],
             c["Mapping Efficiency %"]]
            for c, a in zip(compute, access, strict=True)
        ]  # fmt: skip
        results.append({"seconds": seconds, "figures": figures})
        out_file.write_text(json.dumps(results))


SRAM = ("IFMAP Reads", "Filter Reads", "OFMAP Writes")


def topology_row(layer: list[Any]) -> str:
    name, kind, height, _, _, kernel_w, _, filters, _ = layer
    # SCALE-Sim turns a matrix product into an M x K image under a 1 x K kernel: its GEMM files name M, N, K.
    fields = (name, height, filters, kernel_w) if kind == "gemm" else (name, *layer[2:])
    return ",".join(map(str, fields)) + ",\n"


def report(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k.strip(): (v or "").strip() for k, v in row.items() if k} for row in csv.DictReader(file)]


# --- beside ours ------------------------------------------------------------------------------------------------


def run_jobs(python: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run jobs in SCALE-Sim's environment and return their results in order."""
    with tempfile.TemporaryDirectory() as name:
        jobs_file, out_file = Path(name) / "jobs.json", Path(name) / "out.json"
        jobs_file.write_text(json.dumps(jobs))
        subprocess.run([python, __file__, "--worker", str(jobs_file), str(out_file)], check=True)
        results: list[dict[str, Any]] = json.loads(out_file.read_text())
        return results


def rows_of(job: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return golden rows: the per-channel layers of a depthwise one summed, others as they are."""
    rows, figures = [], iter(result["figures"])
    for layer in job["layers"]:
        groups, m, n, k = gemm_of(tuple(layer))
        parts = [next(figures) for _ in range(groups)]
        total = [sum(part[index] for part in parts) for index in range(4)]
        shape = [job["net"], job["dataflow"], job["rows"], job["cols"], *layer, m, n, k]
        rows.append(dict(zip(COLUMNS, [*shape, *total, groups, *parts[0][4:]], strict=True)))
    return rows


def random_layer(rng: random.Random, index: int) -> tuple[Any, ...]:
    """Draw a layer: sizes spread over decades, so that folds are partial, whole and single."""

    def size(most: int) -> int:
        return max(1, round(math.exp(rng.uniform(0, math.log(most)))))

    kind = rng.choice(["conv", "conv", "conv", "gemm", "depthwise"])
    if kind == "gemm":
        m, n, k = size(300), size(300), size(300)
        return (f"r{index}", kind, m, k, 1, k, 1, n, 1)
    height, width = size(40), size(40)
    kernel = (rng.randint(1, min(7, height)), rng.randint(1, min(7, width)))
    if kind == "depthwise":
        return (f"DP r{index}", kind, height, width, *kernel, size(12), rng.choice([1, 1, 1, 2, 4]), rng.randint(1, 4))
    return (f"r{index}", kind, height, width, *kernel, size(64), size(200), rng.randint(1, 4))


def random_jobs(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    jobs = []
    for index in range(count):
        (rows, cols), dataflow = rng.choice(ARRAYS), rng.choice(["os", "ws", "is"])
        layer = random_layer(rng, index)
        while words(layer, rows, cols) > WORDS_LIMIT:
            layer = random_layer(rng, index)
        jobs.append(job("random", layer[1], rows, cols, dataflow, [layer]))
    return jobs


def corner_jobs() -> list[dict[str, Any]]:
    jobs = []
    for (rows, cols), dataflow in itertools.product([(8, 128), (1, 16), (4, 4), (32, 32)], ["os", "ws", "is"]):
        for kind in ("conv", "depthwise", "gemm"):
            jobs.append(job("corner", kind, rows, cols, dataflow, [c for c in CORNERS if c[1] == kind]))
    return jobs


def network_jobs(topologies: Path) -> list[dict[str, Any]]:
    """Return the distinct layers of SCALE-Sim's own networks that fit the budget, each with one array and dataflow."""
    settings = itertools.cycle(itertools.product([(32, 32), (128, 128), (16, 64), (8, 128)], ["ws", "os", "is"]))
    jobs = []
    for file in NETWORKS:
        kind = "gemm" if (topologies / "GEMM_mnk" / f"{file}.csv").exists() else "conv"
        folder = topologies / ("GEMM_mnk" if kind == "gemm" else "conv_nets")
        seen = set()
        for line in (folder / f"{file}.csv").read_text().splitlines()[1:]:
            name, *numbers = [part.strip() for part in line.split(",")]
            numbers = [number for number in numbers if number]
            if not numbers or tuple(numbers) in seen:
                continue
            seen.add(tuple(numbers))
            sizes = [int(number) for number in numbers]
            layer = (name, kind, *sizes[:7]) if kind == "conv" else gemm_layer(name, *sizes[:3])
            (rows, cols), dataflow = next(settings)
            if words(layer, rows, cols) <= NETWORK_WORDS_LIMIT:
                jobs.append(job(file.lower(), kind, rows, cols, dataflow, [layer]))
    return jobs


def gemm_layer(name: str, m: int, n: int, k: int) -> tuple[Any, ...]:
    return (name, "gemm", m, k, 1, k, 1, n, 1)


def job(net: str, kind: str, rows: int, cols: int, dataflow: str, layers: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {"net": net, "kind": kind, "rows": rows, "cols": cols, "dataflow": dataflow, "layers": layers}


def read_golden(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def regenerate(python: str, given: list[dict[str, Any]], jobs: list[dict[str, Any]], out: Path) -> None:
    results = run_jobs(python, jobs)
    rows = [row for one, result in zip(jobs, results, strict=True) for row in rows_of(one, result)]
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*given, *rows])
    seconds = sum(result["seconds"] for result in results)
    print(f"{len(rows)} rows in {seconds:.0f} CPU s there, {len(given)} given rows kept, in {out}")


def compare_time(python: str, given: list[dict[str, Any]], dataflow: str) -> None:
    """Run ResNet-18 there and here, check that the figures are equal, and print the ratio of times."""
    import numpy as np

    from hardware_models.systolic.lowering import simulate_conv

    rows = [row for row in given if row["net"] == "resnet18" and row["dataflow"] == dataflow]
    shape = COLUMNS[COLUMNS.index("ifmap_h") : COLUMNS.index("M")]
    layers = [(row["layer"], "conv", *(int(row[key]) for key in shape)) for row in rows]
    one = job("resnet18", "conv", 32, 32, dataflow, layers)
    (result,) = run_jobs(python, [one])
    sizes = [np.array(column) for column in zip(*(layer[2:] for layer in layers), strict=True)]

    def ours() -> Any:
        return simulate_conv(*sizes, rows=32, cols=32, dataflow=dataflow)

    run = ours()
    ours_figures = np.stack([run.cycles, run.ifmap_reads, run.filter_reads, run.ofmap_writes], axis=1)
    equal = ours_figures.tolist() == [figures[:4] for figures in result["figures"]]
    times = []
    for _ in range(200):
        started = time.perf_counter()
        ours()
        times.append(time.perf_counter() - started)
    seconds = sorted(times)[len(times) // 2]
    print(f"ResNet-18, {len(layers)} layers, {dataflow}, 32x32: all figures equal: {equal}")
    print(f"SCALE-Sim {result['seconds']:.1f} CPU s; ours {seconds * 1e3:.3f} ms (median, warm)")
    print(f"ratio {result['seconds'] / seconds:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python with scalesim 3.0.0 installed")
    parser.add_argument("--given", type=Path, help="golden rows that are kept as they stand")
    parser.add_argument("--topologies", type=Path, help="the folder `topologies` of SCALE-Sim's repository")
    parser.add_argument("--random", type=int, default=400, help="random layers")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the CSV to write")
    parser.add_argument("--time", choices=["os", "ws", "is"], help="time ResNet-18 of the given rows, there and here")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(*args.worker)
        return
    given = read_golden(args.given) if args.given else []
    if args.time:
        compare_time(args.python, given, args.time)
    if args.out:
        jobs = random_jobs(args.random, args.seed) + corner_jobs()
        jobs += network_jobs(args.topologies) if args.topologies else []
        regenerate(args.python, given, jobs, args.out)


if __name__ == "__main__":
    sys.exit(main())
