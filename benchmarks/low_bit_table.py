"""One network, every recipe: accuracy, size on disk, latency on this machine, and energy on four chips.

    python benchmarks/low_bit_table.py cnn --out low-bit-cnn.jsonl [--recipes w8a8,w4a4] [--float-epochs 10]
    python benchmarks/low_bit_table.py vit --out low-bit-vit.jsonl
    python benchmarks/low_bit_table.py cnn --out low-bit-cnn.jsonl --show

The network is trained once in floating point on Fashion-MNIST; each recipe then starts from it: calibrated (ptq) or
trained (qat) with the float network as teacher. Rows that the file holds already are left out, so that an interrupted
run goes on. Accuracy is on all 10,000 held-out images, one seed. Latency is that of one image in packed form, median of
31 runs, beside the float network's. Energy is `neuro energy`'s middle figure, of one inference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuro.conversion.low_bit_run import LowBitConversion, run_low_bit_conversion
from neuro.conversion.low_bit_spec import resolve_low_bit_spec
from neuro.weights import save_weights
from quant.packed import pack, save
from quant.recipes import recipe_names

CHIPS = ["loihi2", "eyeriss", "tpu_like", "jetson_orin_nano"]
CALIBRATED = ("w8a8", "w4a8")
EPOCHS = {"reactnet": 8, "w1a1": 8, "bireal": 8, "spike-w1": 5}
FACTORIES = {"cnn": "benchmarks.low_bit_networks:small_cnn", "vit": "benchmarks.low_bit_networks:tiny_vit"}


def main() -> None:
    """Make the missing rows, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=FACTORIES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", default=",".join(recipe_names()))
    parser.add_argument("--float-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="of each recipe (its own)")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if args.show:
        print(table(rows))
        return
    weights = args.out.with_suffix(".safetensors")
    for recipe in args.recipes.split(","):
        if any(row["recipe"] == recipe for row in rows):
            continue
        if not weights.exists():
            train_float(args.network, args.float_epochs, weights)
        row = made(args.network, recipe, weights, args.epochs)
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def settings(network: str, recipe: str, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "network": {"source": FACTORIES[network]},
        "recipe": recipe,
        "data": {"name": "fashion-mnist"},
        "chips": CHIPS,
        "profile_samples": 16,
    }
    return document | more


def train_float(network: str, epochs: int, weights: Path) -> None:
    rate = 4e-3 if network == "cnn" else 2e-3
    training = {"epochs": epochs, "batch_size": 256, "learning_rate": rate, "evaluate_every": 100, "compile": True}
    spec = resolve_low_bit_spec(settings(network, "w8a8", float_training=training))
    started = time.perf_counter()
    found = run_low_bit_conversion(spec, say=print)
    print(f"float: {found.record.rows[0].accuracy}, {time.perf_counter() - started:.0f} s", flush=True)
    save_weights(weights, found.model, {})


def made(network: str, recipe: str, weights: Path, epochs: int | None) -> dict[str, Any]:
    trained = recipe not in CALIBRATED
    training = {
        "epochs": epochs or EPOCHS.get(recipe, 3),
        "batch_size": 256,
        "learning_rate": 3e-3 if "1" in recipe.split("a8")[0] or recipe in EPOCHS else 1e-3,
        "compile": True,
        "evaluate_every": 100,
    }
    given = settings(network, recipe, method="qat" if trained else "ptq", training=training)
    given["network"]["weights"] = str(weights)
    started = time.perf_counter()
    found = run_low_bit_conversion(resolve_low_bit_spec(given), say=print)
    seconds = time.perf_counter() - started
    low, parent = (next(row for row in found.record.rows if row.key == key) for key in ("low-bit", "float"))
    energy = {f"{one.chip.name} {one.form}": energy_of(one) for one in found.chips}
    return {
        "recipe": recipe,
        "method": "qat" if trained else "ptq",
        "epochs": training["epochs"] if trained else 0,
        "accuracy": low.accuracy,
        "float_accuracy": parent.accuracy,
        "firing_rate": low.firing_rate,
        "operations_j": low.energy_j,
        "float_operations_j": parent.energy_j,
        "chips_j": energy,
        "seconds": seconds,
        **on_this_machine(found),
    }


def energy_of(answer: Any) -> float | None:
    """The middle figure in joules; None where the chip refuses."""
    total = None if answer.estimate is None else answer.estimate.total_energy_j
    return None if total is None else float(total[0])


def on_this_machine(found: LowBitConversion) -> dict[str, Any]:
    """Bytes of the packed file, and milliseconds for one image beside the float network, interleaved."""
    packed, model = pack(found.network.eval()), found.model.eval()
    with tempfile.TemporaryDirectory() as folder:
        size = save(packed, Path(folder) / "packed.safetensors")
        save_weights(Path(folder) / "float.safetensors", model, {})
        float_size = (Path(folder) / "float.safetensors").stat().st_size
    x = torch.randn(1, 1, 28, 28)
    times: dict[str, list[float]] = {"packed": [], "float": []}
    for _ in range(31):
        times["packed"].append(milliseconds(packed, x))
        times["float"].append(milliseconds(model, x))
    packed_layers = sum(one.packed for one in packed.operators)
    return {
        "bytes": size,
        "float_bytes": float_size,
        "packed_ms": statistics.median(times["packed"]),
        "float_ms": statistics.median(times["float"]),
        "packed_layers": packed_layers,
    }


@torch.no_grad()
def milliseconds(model: nn.Module, x: Tensor) -> float:
    started = time.perf_counter()
    model(x)
    return 1e3 * (time.perf_counter() - started)


def table(rows: list[dict[str, Any]]) -> str:
    head = ["recipe", "method", "accuracy", "KiB", "ms, packed", "operations, nJ", *(f"{chip}, µJ" for chip in CHIPS)]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    first = rows[0]
    lines.append(line("float", "", first["float_accuracy"], first["float_bytes"], first["float_ms"], first, "float"))
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        lines.append(line(row["recipe"], row["method"], row["accuracy"], row["bytes"], row["packed_ms"], row, ""))
    return "\n".join(lines)


def line(name: str, method: str, accuracy: float, size: int, ms: float, row: dict[str, Any], which: str) -> str:
    form = "Float parent" if which else "Low-bit"
    chips = [row["chips_j"].get(f"{chip} {form}") for chip in CHIPS]
    joules = row["float_operations_j"] if which else row["operations_j"]
    cells = [name, method, f"{100 * accuracy:.2f} %", f"{size / 1024:.1f}", f"{ms:.2f}", f"{1e9 * joules:.1f}"]
    cells += ["-" if value is None else f"{1e6 * value:.1f}" for value in chips]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
