"""What a timestep of a converted network costs, in forward passes of its float network.

    python benchmarks/conversion_cost.py [--models deit_tiny_patch16_224 ...] [--batches 1 8] [--timesteps 16]
        [--pieces 4 8 0] [--threads 2] [--repeats 5]

Networks are timm's with random weights, spikes powers of two, coding differential; weights and units do
not change what is computed. The two networks take turns, so that a busy machine is as busy for both; medians are
printed, the ratio for each timestep, and the same ratio of processor time, which other processes disturb less. A piece
is how many timesteps are computed at once; 0 leaves that to the network.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuro.coding.rewrite import Scheme, to_spiking
from neuro.sources.companions import import_timm
from quant.capture import capture

MODELS = (
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "poolformer_s12",
    "convnext_tiny",
    "resnet18",
)


def timm_model(name: str) -> nn.Module:
    """A timm network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    model: nn.Module = import_timm().create_model(name)
    return model.eval()


def times(function: Callable[[], object], count: int) -> tuple[float, float]:
    """Wall time and processor time of one call, the mean of `count`, in seconds."""
    start, used = time.perf_counter(), time.process_time()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count, (time.process_time() - used) / count


@torch.no_grad()
def compare(name: str, model: nn.Module, x: Tensor, timesteps: int, pieces: list[int], repeats: int) -> None:
    """Print the cost of a timestep for each size of pieces."""
    ways: dict[str, Callable[[], object]] = {"float": lambda: model(x)}
    captured = capture(model, x[:1])
    for piece in pieces:
        network = to_spiking(captured, Scheme(), timesteps, piece=piece or None)
        ways[f"piece {piece}" if piece else "chosen"] = lambda network=network: network(x)  # type: ignore[misc]
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for way, function in ways.items():
            found[way].append(times(function, timesteps // 4 if way == "float" else 1))
    wall, used = ({way: statistics.median(one[i] for one in found[way]) for way in ways} for i in (0, 1))
    print(f"{name}, batch {x.shape[0]}: float {wall['float'] * 1e3:.1f} ms")
    for way in list(ways)[1:]:
        step, work = wall[way] / timesteps, used[way] / timesteps
        print(
            f"  {way:10s}{step * 1e3:9.1f} ms a timestep {step / wall['float']:6.2f} x"
            f"   processor {work / used['float']:6.2f} x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--timesteps", type=int, default=16)
    parser.add_argument("--pieces", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(given.threads)
    for name in given.models:
        model = timm_model(name)
        for batch in given.batches:
            compare(name, model, torch.randn(batch, 3, 224, 224), given.timesteps, given.pieces, given.repeats)


if __name__ == "__main__":
    main()
