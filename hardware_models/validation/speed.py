"""How fast the models answer on this machine, measured when the scorecard is made.

The first answer of each kind is not timed where it is said to be warm; a figure is the median of several runs.
"""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hardware_models.chip import chip
from hardware_models.estimate import estimate
from hardware_models.systolic import simulate_conv, simulate_gemm
from hardware_models.validation.row import data_text
from hardware_models.variants import estimate_variants
from hardware_models.workload import Bounds, Layer, Operand, Workload

SCALESIM_SECONDS: Final = 142.0
"""CPU seconds that SCALE-Sim 3.0.0 takes for ResNet-18 (137 to 149 over several machines and runs)."""

CHIPS: Final = {"generic_45nm": ("mac.energy", "array.rows"), "loihi1_nahuku": ("synapse.energy", "core.neurons")}
"""One chip of each world, for the largest workloads, with a cost and a size of it that vary."""


@dataclass(frozen=True)
class SpeedRow:
    """One measured speed.

    Attributes:
        quantity: what was done.
        value: seconds, or evaluations per second, by `unit`.
        goal: most seconds, or fewest evaluations per second.
    """

    quantity: str
    value: float
    unit: str
    goal: float
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return bool(self.value <= self.goal if self.unit == "s" else self.value >= self.goal)

    def to_document(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {**asdict(self), "met": self.met}


def speeds() -> Iterator[SpeedRow]:
    """Measure and yield the rows."""
    yield _resnet18()
    yield _evaluations()
    network = chain(50)
    for name, (cost, size) in CHIPS.items():
        variants = {cost: np.linspace(1e-13, 1e-10, 10_000), size: np.arange(10_000) % 512 + 512}
        seconds = _median(lambda n=name, v=variants: estimate_variants(network, chip(n), v), 3)  # type: ignore[misc]
        yield SpeedRow(f"10,000 variants of {name} ({cost}, {size}), a network of 100 layers", seconds, "s", 2.0)
    long = chain(50_000)
    for name in CHIPS:
        seconds = _median(lambda n=name: estimate(long, chip(n)), 1)  # type: ignore[misc]
        yield SpeedRow(f"100,000 layers on {name}", seconds, "s", 2.0)


def _resnet18() -> SpeedRow:
    cases = [case for case in csv.DictReader(io.StringIO(data_text("scalesim.csv"))) if case["net"] == "resnet18"]
    layers = [case for case in cases if case["dataflow"] == "os" and case["array_rows"] == "32"]
    names = ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride")
    sizes = [np.array([int(case[name]) for case in layers]) for name in names]
    h, w, r, s, c, m, stride = sizes
    seconds = _median(lambda: simulate_conv(h, w, r, s, c, m, stride, rows=32, cols=32), 20)
    note = (
        f"{SCALESIM_SECONDS / seconds:,.0f} times as fast as SCALE-Sim 3.0.0, which takes {SCALESIM_SECONDS:.0f} CPU s"
    )
    return SpeedRow(f"ResNet-18, {len(layers)} layers as SCALE-Sim counts them, warm", seconds, "s", 5e-3, note)


def _evaluations() -> SpeedRow:
    random = np.random.default_rng(0)
    m, n, k = (random.integers(1, 4096, 1000)[:, None] for _ in range(3))
    rows = random.integers(1, 256, 1000)
    seconds = _median(lambda: simulate_gemm(m, n, k, rows, rows, "ws"), 5)
    return SpeedRow("layer x hardware evaluations, 1000 products on 1000 arrays", 1e6 / seconds, "1/s", 1e6)


def _median(work: Callable[[], object], runs: int) -> float:
    """Return the median seconds of `runs` runs, after one that is not timed where there are several."""
    if runs > 1:
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def chain(pairs: int, width: int = 64, timesteps: int = 4) -> Workload:
    """Return a network of `pairs` of a neuron layer and a linear layer, a fifth of whose neurons fire."""
    fired = width // 5

    def spikes(name: str) -> Operand:
        counts = (fired,) * timesteps
        share = (fired / width,) * timesteps
        return Operand(
            name=name,
            bits=1,
            signed=False,
            form="binary",
            elements=width,
            nonzero=counts,
            magnitude=counts,
            density=share,
        )

    weight = Operand(
        name="weight",
        role="weight",
        bits=8,
        signed=True,
        form="float",
        elements=width * width,
        nonzero=(width * width,),
        density=(1.0,),
    )
    neuron = Layer(
        name="n", operator="neuron", op="lif", timesteps=timesteps, out_elements=width, output=spikes("output")
    )
    linear = Layer(
        name="l",
        operator="linear",
        op="addmm",
        timesteps=timesteps,
        bounds=Bounds(in_channels=width, out_channels=width, in_size=(1,), out_size=(1,)),
        operands=(spikes("input"), weight),
        out_elements=width,
        acs=fired * width * timesteps,
        driven_by="input",
    )
    layers = []
    for index in range(pairs):
        layers.append(neuron.model_copy(update={"name": f"n{index}", "consumers": (f"l{index}",)}))
        layers.append(linear.model_copy(update={"name": f"l{index}", "consumers": (f"n{index + 1}",)}))
    # Every layer was checked above; checking 100,000 copies again would take longer than the estimate.
    return Workload.model_construct(name="chain", timesteps=timesteps, batch=1, layers=tuple(layers), notes=())
