"""Which networks become low-bit variants that train, compile, copy, pickle and save: one row for each.

    python benchmarks/quant_coverage.py [--recipes w4a4,w1a1] [timm:resnet18 ...]

A check that fails is named in its row. Compiled means fullgraph, forward and backward, without generating code
(`aot_eager`), in training and in evaluation mode.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import quant
from neuro.sources import load_source
from quant.export import export_safetensors, load_quantized

HOSTS = (
    "resnet18 deit_tiny_patch16_224 convnext_tiny convit_tiny crossvit_9_240 tnt_s_patch16_224 inception_v4 "
    "swin_tiny_patch4_window7_224 poolformer_s12 caformer_s18 convformer_s18 nextvit_small shvit_s1 pvt_v2_b0 "
    "inception_next_tiny coatnet_0_rw_224 tf_efficientnet_lite0"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[f"timm:{name}" for name in HOSTS.split()])
    parser.add_argument("--recipes", default="w4a4,w1a1")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| network | recipe | layers / products / sums / functions | seconds | checks |\n|---|---|---|---:|---|")
    for name in args.networks:
        for recipe in args.recipes.split(","):
            print(row(name, recipe), flush=True)


def row(name: str, recipe: str) -> str:
    source = load_source(name)
    for parameter in source.model.parameters():
        if not parameter.any():  # a branch that starts muted would hide what happens in it
            nn.init.normal_(parameter, std=0.02)
    x = torch.randn(2, *source.example[0].shape[1:])
    started = time.perf_counter()
    try:
        network = quant.quantize(source.model, recipe, x)
    except Exception as error:
        return f"| {name} | {recipe} | | | {type(error).__name__}: {str(error)[:150]} |"
    seconds = time.perf_counter() - started
    kinds = ("synapse", "product", "add", "nonlinear")
    counts = " / ".join(str(sum(one.kind == kind and bool(one.inputs) for one in network.operators)) for kind in kinds)
    failed = [check.__name__ for check in CHECKS if not passes(check, network, x, source.model, recipe)]
    return f"| {name} | {recipe} | {counts} | {seconds:.1f} | {'all' if not failed else ', '.join(failed)} |"


def passes(check: Callable[..., bool], *given: object) -> bool:
    try:
        return check(*given)
    except Exception as error:
        print(f"<!-- {check.__name__}: {type(error).__name__}: {str(error)[:300]} -->")
        return False
    finally:
        torch._dynamo.reset()


def trains(network: nn.Module, x: Tensor, *_: object) -> bool:
    network.train()
    network.zero_grad()
    network(x).square().mean().backward()
    network.eval()
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def compiles(network: nn.Module, x: Tensor, *_: object) -> bool:
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    network.train()
    compiled(x).square().mean().backward()
    network.eval()
    # With random weights a deep network of few bits turns an error of 1e-6 into one of 0.3; double precision tips none.
    wide = copy.deepcopy(network).double()
    with torch.no_grad():
        return torch.allclose(torch.compile(wide, fullgraph=True, backend="aot_eager")(x.double()), wide(x.double()))


def copies(network: nn.Module, x: Tensor, *_: object) -> bool:
    return same(copy.deepcopy(network), network, x)


def pickles(network: nn.Module, x: Tensor, *_: object) -> bool:
    return same(pickle.loads(pickle.dumps(network)), network, x)


def runs_in_inference_mode(network: nn.Module, x: Tensor, *_: object) -> bool:
    with torch.inference_mode():
        return bool(network(x).isfinite().all())


def saves(network: nn.Module, x: Tensor, model: nn.Module, recipe: str) -> bool:
    again = quant.quantize(model, recipe, x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in (*again.parameters(), *other.parameters()):
            parameter.mul_(0.5)
    again.load_state_dict(network.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        export_safetensors(network, path, x)
        return same(again, network, x) and same(load_quantized(path, other.eval()), network, x)


def same(one: nn.Module, other: nn.Module, x: Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(one(x), other(x))


CHECKS = [trains, compiles, copies, pickles, runs_in_inference_mode, saves]

if __name__ == "__main__":
    main()
