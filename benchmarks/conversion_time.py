"""Seconds and memory of converting a network, from capture to thresholds chosen on 32 inputs.

    python benchmarks/conversion_time.py [timm:deit_tiny_patch16_224 timm:swin_tiny_patch4_window7_224]

Each network is converted in a process of its own. Memory is the most that the process held, beside what it held after
the float network alone had run on the 16 inputs of a batch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

NAMES = ["timm:deit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224"]
SAMPLES, BATCH = 32, 16


def most_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # kilobytes on Linux


def measure(name: str) -> None:
    import torch

    from neuro.coding.calibrate import calibrate
    from neuro.coding.rewrite import to_spiking
    from neuro.coding.scheme import Scheme
    from neuro.sources import load_source
    from quant.capture import capture

    source = load_source(name)
    inputs = torch.randn(SAMPLES, *source.example[0].shape[1:])
    with torch.no_grad():
        source.model(inputs[:BATCH])
    alone = most_megabytes()
    times = [time.perf_counter()]
    captured = capture(source.model, source.example)
    times.append(time.perf_counter())
    network = to_spiking(captured, Scheme(), timesteps=8)
    calibrate(network, [(part,) for part in inputs.split(BATCH)])
    times.append(time.perf_counter())
    seconds = f"{times[1] - times[0]:.1f} s capture, {times[2] - times[1]:.1f} s neurons and thresholds"
    print(f"{name}: {seconds}; {most_megabytes():.0f} MB, {most_megabytes() / alone:.2f} of {alone:.0f} MB", flush=True)


def main() -> None:
    """Measure one network after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    context = multiprocessing.get_context("spawn")
    for name in parser.parse_args().names:
        process = context.Process(target=measure, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
