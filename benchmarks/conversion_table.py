"""What converting a network gives: error against T, accumulate-only share, energy beside its rivals, on three chips.

    python benchmarks/conversion_table.py --out table.jsonl [NAMES ...]
    python benchmarks/conversion_table.py --out table.jsonl --markdown

Each network has random weights and is calibrated on 32 and compared on 4 crops of scikit-learn's two photographs; one
of them is measured. Networks that the file holds already are left out, so an interrupted run is continued by the same
command. `--markdown` prints the table of what the file holds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import neuro
from hardware_models.errors import InputError

TIMESTEPS = [1, 2, 4, 8, 16]
CHIPS = ["loihi2", "tpu_like", "generic_45nm"]
SPIKING, RIVAL = "Spiking, 8 bits", "Parent, 8 bits"

NAMES = """
timm:deit_tiny_patch16_224 timm:resnet18 timm:pvt_v2_b0 timm:poolformer_s12 timm:shvit_s1 timm:mobilenetv3_small_050
timm:swin_tiny_patch4_window7_224 timm:convnext_tiny timm:convit_tiny timm:crossvit_9_240 timm:caformer_s18
timm:convformer_s18 timm:inception_next_tiny timm:nextvit_small timm:coatnet_0_rw_224 timm:tnt_s_patch16_224
timm:inception_v4 timm:tf_efficientnet_lite0 timm:efficientnet_b0 timm:mobilenetv2_050 timm:vgg11_bn timm:densenet121
timm:mixer_s32_224 timm:resmlp_12_224 timm:edgenext_xx_small timm:mobilevit_xxs timm:levit_128s timm:ghostnet_100
timm:repvgg_a0 timm:regnetx_002 timm:regnety_002 timm:res2net50_14w_8s timm:cait_xxs24_224 timm:xcit_nano_12_p16_224
timm:convmixer_768_32 timm:efficientformer_l1 timm:fastvit_t8 timm:starnet_s1 timm:eva02_tiny_patch14_224
timm:hardcorenas_a timm:lcnet_050 timm:dla34 timm:rexnet_100 timm:tinynet_e hf:vit hf:swin hf:cvt hf:poolformer
hf:convnext
""".split()  # noqa: SIM905


def measure(name: str) -> dict[str, Any]:
    """Convert one network and return its row; what is refused becomes `refused`."""
    started = time.perf_counter()
    try:
        found = neuro.convert_network(
            name, timesteps=TIMESTEPS[-2], sweep=TIMESTEPS, chips=CHIPS, compared_samples=4, profile_samples=1
        )
    except InputError as error:
        return {"name": name, "refused": str(error)}
    network, rows = found.record.network, {row.key: row for row in found.record.rows}
    assert network is not None
    layers = list(found.workloads["converted"].synaptic_layers())
    share = sum(one.dense_macs for one in layers if one.accumulate_only) / sum(one.dense_macs for one in layers)
    kinds = [one.kind for one in network.operators]
    chips: dict[str, dict[str, list[float]]] = {}
    for answer in found.chips:
        if answer.estimate is not None and answer.estimate.total_energy_j is not None:
            figures = [float(answer.estimate.total_energy_j[0]), answer.estimate.covered]
            chips.setdefault(answer.chip.name, {})[answer.form] = figures
    return {
        "name": name,
        "parameters": rows["float"].parameters,
        "driven": kinds.count("synapse") + kinds.count("product"),
        "exact": kinds.count("nonlinear"),
        "share": share,
        "errors": {point.timesteps: point.output_error for point in network.sweep},
        "spikes_per_neuron": rows["converted"].firing_rate * rows["converted"].timesteps,
        "energy_j": {key: row.energy_j for key, row in rows.items()},
        "bits": rows["quantized"].bits,
        "chips": chips,
        "seconds": time.perf_counter() - started,
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table; on chips, energy of the spiking network over that of its rival at 8 bits."""
    heads = ["network", "M", "driven / exact", "AC-only, %", *(f"T = {t}" for t in TIMESTEPS), "spikes / neuron"]
    heads += ["float, mJ", "spiking, mJ", "8 bits, mJ", *CHIPS]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | refused: {row['refused']} |" + " |" * (len(heads) - 2))
            continue
        cells = [row["name"], f"{row['parameters'] / 1e6:.2f}", f"{row['driven']} / {row['exact']}"]
        cells += [f"{100 * row['share']:.1f}", *(f"{row['errors'][str(t)]:.1e}" for t in TIMESTEPS)]
        cells += [f"{row['spikes_per_neuron']:.1f}"]
        cells += [f"{1e3 * row['energy_j'][key]:.3g}" for key in ("float", "converted", "quantized")]
        cells += [_ratio(row["chips"].get(chip, {})) for chip in CHIPS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(energies: dict[str, list[float]]) -> str:
    """Spiking over its rival; a star where the chip runs less of one of them than of the other."""
    if SPIKING not in energies or RIVAL not in energies:
        return "-"
    (ours, covers), (rival, rival_covers) = energies[SPIKING], energies[RIVAL]
    return f"{ours / rival:.2f}" + ("" if abs(covers - rival_covers) < 0.01 else "*")


def main() -> None:
    """Measure what is missing, or print what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if args.markdown:
        print(markdown(rows))
        return
    done = {row["name"] for row in rows}
    for name in (one for one in args.names if one not in done):
        row = measure(name)
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(name, "refused" if "refused" in row else f"{row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
