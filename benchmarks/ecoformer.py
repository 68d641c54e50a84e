"""PVTv2 with softmax and with hashed attention, counted as EcoFormer counts, beside its figures.

    python benchmarks/ecoformer.py                                   # PVTv2-B0
    python benchmarks/ecoformer.py pvt_v2_b1 pvt_v2_b2 --softmax     # others, and their parents

The networks are timm's without spatial reduction; stages 1 to 3 are hashed, queries are the keys. Weights are random:
the counts follow from the shapes alone. Published: the counts of the authors' script for convolutions, linear
layers and attention.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from hardware_models.conventions.ecoformer import EcoFormer
from hardware_models.workload import Workload
from neuro.sources.companions import import_timm
from quant.capture import capture
from quant.hashing import hash_attention, hashing_workload

PUBLISHED_MJ = {"pvt_v2_b0": 2.465, "pvt_v2_b1": 9.34, "pvt_v2_b2": 17.74, "pvt_v2_b3": 30.14, "pvt_v2_b4": 44.10}
RULES = EcoFormer()


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = import_timm().create_model(name, sr_ratios=(1, 1, 1, 1))
    return model.eval()


def line(title: str, workload: Workload, published: float | None) -> str:
    multiplications, additions = RULES.operations(workload)
    energy = RULES.estimate(workload).energy_j * 1e3
    beside = "" if published is None else f"   published {published:g} mJ"
    return f"{title:24s} {multiplications / 1e9:8.3f} G mul {additions / 1e9:8.3f} G add {energy:8.3f} mJ{beside}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["pvt_v2_b0"], help="pvt_v2_b0 to pvt_v2_b4")
    parser.add_argument("--softmax", action="store_true", help="count the parent too")
    parser.add_argument("--iterations", type=int, default=0, help="steps of learning for each bit; counts need none")
    options = parser.parse_args()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name in options.models:
        if options.softmax:
            print(line(f"{name} softmax", hashing_workload(capture(network(name), x).graph, x), None), flush=True)
        for offset in ("own", "all"):
            started = time.perf_counter()
            hashed = hash_attention(network(name), x, keep=["stages.3.*"], offset=offset, iterations=options.iterations)
            published = PUBLISHED_MJ.get(name) if offset == "own" else None
            text = line(f"{name} hashed, {offset}", hashing_workload(hashed.network, x), published)
            print(f"{text}   ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
