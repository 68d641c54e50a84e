"""Whole packed networks beside torch's fp32 and the simulated ones, in one run: medians of interleaved rounds.

    python benchmarks/packed_network.py [--threads 2] [--rounds 31] [--model timm:resnet18] [--side 224]
    python benchmarks/packed_network.py --recipes w1a1 --nodes      # where the time goes

fp32 runs with channels first and with channels last; the faster one counts. Bytes are those of the file that
`quant.packed.save` writes; `body` leaves out the first and the last layer, which have 8 bits, and is compared with the
same tensors in fp32. `error` is that against the simulated network, in brackets that of the simulated one in float64:
where values lie within rounding of the middle between two codes, both take other codes. With one thread its processor
time is taken and not the clock's, so that other work on the machine matters less; with several, the least times of all
rounds, in brackets, matter less to it than the medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, fx, nn

import quant
from neuro.sources.companions import import_timm
from quant.packed import PackedNetwork, pack, save

RECIPES = ("w1a1", "w2a2", "w4a4", "w8a8", "spike-w1")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--model", default="timm:resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--trainable", action="store_true", help="BatchNorm stays until it is packed")
    parser.add_argument("--nodes", action="store_true", help="the slowest nodes of the packed graph")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = import_timm().create_model(options.model.removeprefix("timm:"), pretrained=False).eval()
    fill(model)
    example, x = torch.randn(2, 2, 3, options.side, options.side).unbind(0)
    print(f"{options.model} at {options.side}, batch 1, {options.threads} threads, {options.rounds} interleaved rounds")
    for recipe in options.recipes:
        network = quant.quantize(model, recipe, example, timesteps=options.timesteps, trainable=options.trainable)
        packed = pack(network)
        with torch.inference_mode():
            row(recipe, model, network, packed, x[:1], options.rounds)
            if options.nodes:
                nodes(packed, x[:1])


def fill(model: nn.Module) -> None:
    """Give BatchNorm statistics that are not those of the beginning."""
    for one in model.modules():
        if isinstance(one, nn.BatchNorm2d) and one.running_mean is not None and one.running_var is not None:
            nn.init.uniform_(one.running_mean, -0.1, 0.1)
            nn.init.uniform_(one.running_var, 0.5, 2)
            nn.init.uniform_(one.bias, -0.2, 0.2)


def row(recipe: str, model: nn.Module, network: nn.Module, packed: PackedNetwork, x: Tensor, rounds: int) -> None:
    """Print times, sizes and what is not packed."""
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_last = x.to(memory_format=torch.channels_last)
    first, lasts, found = times([lambda: model(x), lambda: last(x_last), lambda: packed(x)], rounds)
    (simulated,) = times([lambda: network(x)], 5)
    fp32 = min(first, lasts)
    wanted = network(x)
    exact = copy.deepcopy(network).double()(x.double())
    error, rounding = (float((y - wanted).norm() / wanted.norm()) for y in (packed(x), exact))
    file, body, floats = sizes(packed, model)
    left = Counter(
        f"{one.operator} ({one.words})" for one in packed.operators if is_layer(one.operator) and not one.packed
    )
    words = ", ".join(f"{count} {name}" for name, count in left.items())
    print(
        f"{recipe:10} fp32 {fp32[0]:.2f} ({fp32[1]:.2f}) ms, packed {found[0]:.2f} ({found[1]:.2f}): "
        f"{fp32[0] / found[0]:.2f}x ({fp32[1] / found[1]:.2f}x); simulated {simulated[0]:.1f}; "
        f"file {file / 1e6:.2f} MB, body 1/{floats / body:.1f}; error {error:.1e} ({rounding:.1e}); "
        f"{sum(one.packed for one in packed.operators)} layers packed, not packed: {words or 'none'}"
    )


def is_layer(operator: str) -> bool:
    """Whether an operator has products."""
    return operator.startswith(("conv", "linear", "matmul", "bmm"))


def clock() -> float:
    """Seconds, of this thread's processor time if there is one."""
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def times(functions: list[Callable[[], Any]], rounds: int) -> list[tuple[float, float]]:
    """Return median and least milliseconds of each function, in interleaved rounds."""
    found: list[list[float]] = [[] for _ in functions]
    for number in range(rounds + 2):
        for one, kept in zip(functions, found, strict=True):
            begin = clock()
            one()
            if number > 1:
                kept.append(clock() - begin)
    return [(1e3 * statistics.median(kept), 1e3 * min(kept)) for kept in found]


def sizes(packed: PackedNetwork, model: nn.Module) -> tuple[int, int, int]:
    """Return the bytes of the file, those of its body, and those of the same tensors in fp32."""
    layers = [one for one in packed.operators if one.packed]
    ends = tuple(f"{one.path}." for one in (layers[0], layers[-1]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        file = save(packed, path)
        tensors = safetensors.torch.load_file(path)
    body = sum(
        one.nbytes for name, one in tensors.items() if not name.removeprefix("weight_quantizers.").startswith(ends)
    )
    floats = sum(one.nbytes for name, one in model.state_dict().items() if not name.startswith(ends))
    return file, body, floats


def nodes(packed: PackedNetwork, x: Tensor, rounds: int = 9, most: int = 20) -> None:
    """Print the slowest nodes."""
    taken: dict[str, list[float]] = defaultdict(list)

    class Timed(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            begin = clock()
            value = super().run_node(n)
            taken[n.name].append(clock() - begin)
            return value

    inputs = torch.cat([x] * (1 if packed.repeats else packed.timesteps))
    for _ in range(rounds):
        Timed(packed.layers).run(inputs)
    milliseconds = {name: 1e3 * statistics.median(found) for name, found in taken.items()}
    print(f"  {sum(milliseconds.values()):7.3f} ms in all nodes")
    for name in sorted(milliseconds, key=lambda name: -milliseconds[name])[:most]:
        print(f"  {milliseconds[name]:7.3f} ms {name}")


if __name__ == "__main__":
    main()
