"""Convert one network after the other and hold each to its float network; one line each, resumable.

    python benchmarks/conversion_coverage.py                                 # the networks below
    python benchmarks/conversion_coverage.py timm:resnet18@64 hf:vit@32      # these, at this size of input
    python benchmarks/conversion_coverage.py --timesteps 4,16,64 --out coverage.jsonl

Columns: operators by kind, BatchNorms folded, largest relative error of the output over three timesteps with ideal
encoders, and its error after T timesteps of power-of-two spikes calibrated on the same two inputs (noise). Weights are
random; those that a network starts at zero, and with them muted branches, are set to small random numbers, so that an
error anywhere is seen in the output. Names that stand in the output file already are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.coding.calibrate import calibrate
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import Scheme, to_spiking
from neuro.sources import load_source
from quant.capture import Captured, capture

Share = Callable[[SpikingNetwork, tuple[Tensor, ...]], float]
"""What share of a network's operations are additions alone; asked for after each conversion where one is given."""

LEVELS, PIECE, MUTED = 15, 4, 1e-2

NETWORKS = """
timm:deit_tiny_patch16_224 timm:swin_tiny_patch4_window7_224 timm:convnext_tiny timm:convit_tiny timm:crossvit_9_240
timm:tnt_s_patch16_224 timm:poolformer_s12 timm:caformer_s18 timm:convformer_s18 timm:nextvit_small timm:shvit_s1
timm:inception_next_tiny timm:inception_v4 timm:coatnet_0_rw_224 timm:pvt_v2_b0 timm:resnet18
timm:mobilenetv3_small_050 timm:efficientnet_b0 timm:tf_efficientnet_lite0 timm:regnetx_002 timm:densenet121
timm:vgg11_bn timm:mixer_s32_224 timm:resmlp_12_224 timm:gmlp_ti16_224 timm:edgenext_xx_small timm:mobilevit_xxs
timm:mobilevitv2_050 timm:levit_128s timm:efficientformer_l1 timm:maxvit_pico_rw_256 timm:davit_tiny
timm:focalnet_tiny_srf timm:hiera_tiny_224 timm:eva02_tiny_patch14_224 timm:sequencer2d_s timm:swinv2_tiny_window8_256
timm:repvit_m1 timm:nf_regnet_b0 timm:mambaout_femto timm:fastvit_t8 timm:xcit_nano_12_p8_224 hf:vit hf:swin hf:cvt
hf:poolformer hf:convnext hf:pvt_v2 hf:bert hf:distilbert hf:gpt2
"""


def enliven(model: nn.Module) -> None:
    """Give weights that start at zero, or nearly so, small random values."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and float(parameter.abs().max()) < MUTED:
                parameter.normal_(0, 0.1)


@torch.no_grad()
def errors(network: SpikingNetwork, captured: Captured) -> list[float]:
    """Relative error of the output at each timestep."""
    wanted = captured.graph(*captured.example)
    every = [output for piece in network.over_time(*captured.example) for output in piece]
    return [float((one - wanted).norm() / wanted.norm()) for one in every]


def measure(name: str, timesteps: list[int], share: Share | None = None) -> dict[str, Any]:
    """Convert a network and compare; `error` says why it could not be."""
    source, _, size = name.partition("@")
    started = time.perf_counter()
    found: dict[str, Any] = {"name": name}
    try:
        given = load_source(source, input_size=int(size) if size else None)
        if isinstance(given.model, nn.Module):
            torch.manual_seed(0)
            enliven(given.model)
        captured = capture(given.model, given.example)
        found |= {"parameters": given.parameters, "folded": len(captured.folded), "output": captured.output}
        network = to_spiking(captured, Scheme(spikes="ideal"), 3, piece=3)
        found["operators"] = {
            kind: dict(Counter(one.operator for one in network.operators if one.kind == kind))
            for kind in sorted({one.kind for one in network.operators})
        }
        found["ideal"] = max(errors(network, captured))
        if timesteps:
            network = to_spiking(captured, Scheme(levels=LEVELS), max(timesteps), piece=PIECE)
            calibrate(network, [captured.example])
            over_time = errors(network, captured)
            found["errors"] = {t: over_time[t - 1] for t in timesteps}
            found["accumulate_only"] = share(network, captured.example) if share else None
    except InputError as error:
        found["error"] = str(error)
    found["seconds"] = round(time.perf_counter() - started, 1)
    return found


def line(found: dict[str, Any]) -> str:
    """One row of the table."""
    if "error" in found:
        return f"{found['name']:<42} not converted: {found['error']}"
    kinds = " ".join(f"{kind} {sum(names.values())}" for kind, names in found["operators"].items())
    over_time = " ".join(f"T={t} {error:.1e}" for t, error in found.get("errors", {}).items())
    share = found.get("accumulate_only")
    additions = "" if share is None else f" | accumulate-only {100 * share:.1f} %"
    return f"{found['name']:<42} ideal {found['ideal']:.0e} | {over_time}{additions} | {kinds} | {found['seconds']} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS.split(), metavar="SOURCE[@SIZE]")
    parser.add_argument("--timesteps", default="4,16", help="T to compare at; empty for ideal encoders alone")
    parser.add_argument("--out", type=Path, help="JSON lines; names that stand there are left out")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no network after this time")
    given = parser.parse_args()
    timesteps = [int(one) for one in given.timesteps.split(",") if one]
    done = [json.loads(row) for row in given.out.read_text().splitlines()] if given.out and given.out.exists() else []
    known, started = {one["name"] for one in done}, time.perf_counter()
    for name in given.networks:
        if name in known or time.perf_counter() - started > given.seconds:
            continue
        found = measure(name, timesteps)
        print(line(found), flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
