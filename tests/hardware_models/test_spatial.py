"""The spatial engine: costs worked by hand, sparsity, time, variants, and what it refuses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_builders import conv3x3, linear, other, product, spikes, workload

from hardware_models.chip import Chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.quantity import Quantity
from hardware_models.variants import estimate_variants
from hardware_models.workload import Layer, Operand

PJ = 1e-12


def figures(**changed: float | None) -> dict[str, Quantity]:
    """The figures of a small chip; `memory__dram__read_energy=3.0` changes one, None removes it."""
    values: dict[str, tuple[float, str]] = {
        "axis.columns.size": (2, "1"),
        "axis.rows.size": (2, "1"),
        "array.clock": (1, "MHz"),
        "accumulator.bits": (16, "bit"),
        "mac.energy": (1, "pJ"),
        "memory.register.capacity": (2, "B"),
        "memory.buffer.capacity": (4096, "B"),
        "neuron.update_energy": (7, "pJ"),
        "neuron.membrane_bits": (16, "bit"),
        "sparsity.check_energy": (0.125, "pJ"),
    }
    for level, read, write in (("register", 0.25, 0.5), ("buffer", 2, 3), ("dram", 100, 200)):
        values[f"memory.{level}.word"] = (8, "bit")
        values[f"memory.{level}.read_energy"] = (read, "pJ")
        values[f"memory.{level}.write_energy"] = (write, "pJ")
    for name, value in changed.items():
        dotted = name.replace("__", ".")
        if value is None:
            del values[dotted]
        else:
            unit = values[dotted][1] if dotted in values else UNITS[dotted]
            values[dotted] = (value, unit)
    return {
        name: Quantity(value=value, unit=unit, source="by hand", grade="assumed")
        for name, (value, unit) in values.items()
    }


UNITS = {"memory.dram.bandwidth": "MB/s", "memory.buffer.bandwidth": "MB/s", "ac.energy": "pJ", "static.power": "uW"}


def chip(
    refuses: dict[str, str] | None = None, settings: dict[str, Any] | None = None, **changed: float | None
) -> Chip:
    """A 2 x 2 array with a register of outputs at each multiplier, a buffer of all operands, and a DRAM."""
    axes = ["columns", "rows"]
    levels = [
        {"name": "register", "keeps": ["O"]},
        {"name": "buffer", "keeps": ["W", "I", "O"], "serves": axes},
        {"name": "dram", "keeps": ["W", "I", "O"], "serves": axes},
    ]
    own = {
        "axes": axes,
        "levels": levels,
        "unroll": [{"columns": "K", "rows": "C"}],
        "precision": {"input_bits": 8, "weight_bits": 8},
    }
    return Chip(
        name="small",
        title="by hand",
        kind="accelerator",
        engine="spatial",
        node="none",
        sources=("by hand",),
        figures=figures(**changed),
        settings=own | (settings or {}),
        refuses=refuses or {},
    )


def bytes_(name: str, elements: int, density: float = 1.0) -> Operand:
    """An operand of 8-bit values."""
    return Operand(
        name=name,
        role="weight" if name == "weight" else "activation",
        bits=8,
        signed=True,
        form="float",
        elements=elements,
        nonzero=(round(elements * density),),
        density=(density,),
    )


def dense(rows: int = 1, inputs: int = 4, outputs: int = 2, density: float = 1.0, name: str = "fc") -> Layer:
    driver = bytes_("input", rows * inputs, density)
    return linear(name, rows, inputs, outputs, driver, bytes_("weight", inputs * outputs))


def total(found: Any) -> float:
    return float(found.total_energy_j[0])


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_linear_layer_by_hand() -> None:
    # 4 inputs, 2 outputs on 2 columns (K) x 2 rows (C): 2 cycles over the other 2 inputs.
    # DRAM: 8 weights and 4 inputs are read, 2 results of 8 bits written: 12 * 100 + 2 * 200 = 1600 pJ.
    # Buffer: they are written (12 * 3); 8 weights and 4 inputs (one for both columns) are read (12 * 2); 2 results
    # come in (2 * 3) and leave (2 * 2): 70 pJ.
    # Registers, 4 of them: a sum of 16 bits (2 words) is written in each of 2 cycles: 16 words, 8 pJ; read back for the
    # second cycle: 8 words, 2 pJ; read once more on the way out, where the two rows are summed: 8 words, 2 pJ.
    found = estimate(workload(dense()), chip(refuses={"latency": "no matter"}))
    joules = {name: values[0, 0] / PJ for name, values in found.energy_j.items()}
    assert joules == pytest.approx({"compute": 8, "register": 12, "buffer": 70, "dram": 1600})
    assert found.traffic_bytes["dram"].tolist() == [14]


def test_time_is_that_of_the_slowest_level() -> None:
    # 2 cycles at 1 MHz: 2 us. 14 bytes at 1 MB/s: 14 us.
    assert estimate(workload(dense()), chip()).total_latency_s[0] == pytest.approx(2e-6)
    slow = estimate(workload(dense()), chip(memory__dram__bandwidth=1))
    assert slow.total_latency_s[0] == pytest.approx(14e-6)
    assert slow.utilization[0] == pytest.approx(2 / 14)


def test_filling_a_single_buffer_takes_time_of_its_own() -> None:
    # The buffer moves 12 words in, 12 out, 2 in, 2 out at 28 MB/s: 1 us; waiting for 12 of them adds 12/28 us to 2 us.
    alone = chip(memory__buffer__bandwidth=28)
    assert estimate(workload(dense()), alone).total_latency_s[0] == pytest.approx(2e-6 + 12 / 28e6)
    levels = [dict(level) for level in alone.settings["levels"]]
    levels[1]["double_buffered"] = True
    double = chip(settings={"levels": levels}, memory__buffer__bandwidth=28)
    assert estimate(workload(dense()), double).total_latency_s[0] == pytest.approx(2e-6)


def test_each_objective_is_best_at_what_it_minimises() -> None:
    # Two rows at a time share each weight that is read; four channels at a time share nothing, and take half the time.
    unroll = [{"columns": "P"}, {"columns": "C", "rows": "C"}]
    found = {}
    for objective in ("energy", "latency", "edp"):
        one = estimate(workload(dense(64, 64, 2)), chip(settings={"objective": objective, "unroll": unroll}))
        found[objective] = total(one), float(one.total_latency_s[0])
    assert found["latency"][1] < found["energy"][1]
    assert found["energy"][0] < found["latency"][0]
    assert np.prod(found["edp"]) <= min(np.prod(found["energy"]), np.prod(found["latency"])) * (1 + 1e-12)


def test_static_energy_is_power_times_time() -> None:
    found = estimate(workload(dense()), chip(static__power=3))
    assert found.energy_j["static"][0, 0] == pytest.approx(3e-6 * 2e-6)


def test_groups_are_an_outer_loop() -> None:
    # Two heads are twice one head: nothing is shared between them.
    operands = bytes_("left", 32), bytes_("right", 32)
    one, two = (estimate(workload(product("qk", heads, 4, 8, 4, *operands)), chip()) for heads in (1, 2))
    assert total(two) == pytest.approx(2 * total(one))


def test_a_neuron_layer_by_hand() -> None:
    # 10 neurons, 3 timesteps: 30 updates of 7 pJ; membranes of 2 words are read (2 pJ a word) and written (3 pJ).
    layer = other("lif", "neuron", timesteps=3, output=spikes(0.5, 0.5, 0.5, name="output"))
    found = estimate(workload(dense(), layer, timesteps=3), chip())
    assert found.energy_j["neurons"][0].tolist() == [0, pytest.approx(30 * (7 + 2 * 5) * PJ)]
    assert found.traffic_bytes["buffer"][1] == 30 * 2 * 2


# --- time and sparsity ----------------------------------------------------------------------------------------------


def over_time(density: float = 0.5, steps: int = 4) -> Layer:
    driver = spikes(*[density] * steps)
    return linear("fc", 1, 64, 64, driver, bytes_("weight", 4096), timesteps=steps, driven_by="input")


def test_batched_timesteps_fetch_weights_once() -> None:
    batched, stepped = (
        estimate(workload(over_time(), timesteps=4), chip(memory__buffer__capacity=512), Run(execution=execution))
        for execution in ("time-batched", "step-by-step")
    )
    assert stepped.traffic_bytes["dram"][0] - batched.traffic_bytes["dram"][0] >= 3 * 4096 * 0.99


def test_adding_costs_less_than_multiplying() -> None:
    multiplying = estimate(workload(over_time(), timesteps=4), chip())
    adding = estimate(workload(over_time(), timesteps=4), chip(ac__energy=0.25))
    assert adding.energy_j["compute"][0, 0] == pytest.approx(multiplying.energy_j["compute"][0, 0] / 4)


@settings(max_examples=20, deadline=None)
@given(density=st.floats(0.05, 1.0))
def test_skip_is_at_most_gate_is_at_most_none(density: float) -> None:
    def run(policy: str) -> tuple[float, float]:
        rule = {"input": {"policy": policy}}
        levels = [dict(level) for level in chip().settings["levels"]]
        levels[1] |= rule
        own = {"levels": levels, "array": rule}
        found = estimate(workload(dense(8, 64, 64, density)), chip(settings=own, sparsity__check_energy=1e-9))
        return total(found), float(found.total_latency_s[0])

    none, gate, skip = (run(policy) for policy in ("none", "gate", "skip"))
    assert skip[0] <= gate[0] * (1 + 1e-6)
    assert gate[0] <= none[0] * (1 + 1e-12)
    assert skip[1] <= gate[1] == none[1]


@settings(max_examples=8, deadline=None, derandomize=True)  # beyond the limit of orders the search is no proof
@given(size=st.integers(1, 24), channels=st.integers(1, 48), more=st.integers(1, 3))
def test_energy_never_falls_when_work_grows(size: int, channels: int, more: int) -> None:
    def cost(wide: int, deep: int) -> float:
        operands = bytes_("input", wide * wide * deep), bytes_("weight", 9 * deep * 8)
        return total(estimate(workload(conv3x3("conv", wide, (deep, 8), *operands)), chip()))

    # Twice the rows and columns: sizes that only add a prime factor, so that the search cannot do better by luck.
    assert cost(size * 2**more, channels) >= cost(size, channels)
    assert cost(size, channels * 2**more) >= cost(size, channels)


def test_layers_add_up() -> None:
    both = estimate(workload(dense(name="a"), dense(8, 16, 16, name="b")), chip())
    alone = [estimate(workload(layer), chip()) for layer in (dense(name="a"), dense(8, 16, 16, name="b"))]
    # The width of the first result is that which the second layer reads.
    assert total(both) == pytest.approx(sum(map(total, alone)))


# --- many at once -----------------------------------------------------------------------------------------------------


def test_variants_are_those_chips() -> None:
    reads = np.array([50e-12, 100e-12, 400e-12])
    found = estimate_variants(workload(dense(8, 64, 64)), chip(), {"memory.dram.read_energy": reads})
    whole = [total(estimate(workload(dense(8, 64, 64)), chip(memory__dram__read_energy=e / PJ))) for e in reads]
    np.testing.assert_allclose(found.total_energy_j[0], whole)


def test_variants_of_a_size_get_mappings_of_their_own() -> None:
    room = np.array([128, 512, 4096])
    found = estimate_variants(workload(dense(8, 64, 64)), chip(), {"memory.buffer.capacity": room})
    assert (np.diff(found.total_energy_j[0]) <= 0).all()
    whole = [total(estimate(workload(dense(8, 64, 64)), chip(memory__buffer__capacity=int(one)))) for one in room]
    np.testing.assert_allclose(found.total_energy_j[0], whole)


def test_ten_thousand_variants_in_seconds() -> None:
    layers = [dense(8, 64 * (1 + i), 64, name=f"fc{i}") for i in range(5)]
    start = time.process_time()
    estimate_variants(workload(*layers), chip(), {"memory.dram.read_energy": np.linspace(1e-11, 1e-9, 10_000)})
    assert time.process_time() - start < 2


def test_it_says_how_thoroughly_it_searched() -> None:
    exhaustive = estimate(workload(dense()), chip())
    assert any("tried every order and tiling" in said for said in exhaustive.assumptions)
    operands = bytes_("input", 56 * 56 * 64), bytes_("weight", 9 * 64 * 64)
    coarse = estimate(workload(conv3x3("conv", 56, (64, 64), *operands)), chip())
    assert any("exhaustive for 0 of 1 distinct layers" in said for said in coarse.assumptions)


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("mac.energy", "mac.energy.*multiply-accumulates"),
        ("memory.buffer.read_energy", "memory.buffer.read_energy"),
        ("memory.dram.word", "memory.dram.word"),
        ("axis.rows.size", "axis.rows.size"),
        ("accumulator.bits", "accumulator.bits"),
        ("array.clock", "array.clock"),
    ],
)
def test_a_missing_figure_is_named(missing: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate(workload(dense()), chip(**{missing.replace(".", "__"): None}))


def test_a_chip_without_a_clock_may_refuse_latency() -> None:
    found = estimate(workload(dense()), chip(refuses={"latency": "no clock"}, array__clock=None))
    assert found.total_latency_s is None
    assert found.total_energy_j is not None


def test_layers_of_other_kinds_are_left_out_by_name() -> None:
    found = estimate(workload(dense(), other("pool", "pool")), chip())
    assert set(found.left_out) == {"pool"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"levels": [{"name": "dram", "keeps": ["W", "I"], "serves": ["columns", "rows"]}]}, "must keep W, I and O"),
        ({"unroll": [{"depth": "K"}]}, "for the axes"),
        ({"unroll": [{"rows": "X"}]}, "letters of GBKCPQRS"),
        ({"membrane": "sram"}, "'sram' is no level"),
        ({"levels": [{"name": "static", "keeps": ["W", "I", "O"], "serves": ["columns", "rows"]}]}, "names of other"),
        (
            {
                "levels": [
                    {"name": "buffer", "keeps": ["W"], "serves": ["columns", "rows"]},
                    {"name": "register", "keeps": ["W"]},
                    {"name": "dram", "keeps": ["W", "I", "O"], "serves": ["columns", "rows"]},
                ]
            },
            "'register' serves fewer axes",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(workload(dense()), chip(settings=changed))


def test_variants_of_the_partial_sums_are_those_chips() -> None:
    network, widths = workload(dense(8, 64, 64)), np.array([8, 12, 16])
    found = estimate_variants(network, chip(), {"accumulator.bits": widths})
    whole = [total(estimate(network, chip(accumulator__bits=int(one)))) for one in widths]
    np.testing.assert_allclose(found.total_energy_j[0], whole)
    assert len(set(whole)) > 1


def test_a_variant_does_not_depend_on_the_ones_beside_it() -> None:
    network, reads = workload(dense(8, 64, 64), dense(30, 100, 50, name="b")), np.geomspace(1e-14, 1e-8, 7)
    forth, back = (
        estimate_variants(network, chip(), {"memory.dram.read_energy": order}).total_energy_j
        for order in (reads, reads[::-1])
    )
    np.testing.assert_allclose(forth, back[:, ::-1])


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ("memory__bufer__capacity", "unknown memory .* 'bufer'; did you mean 'buffer'"),
        ("axis__column__size", "unknown axis .* 'column'; did you mean 'columns'"),
    ],
)
def test_a_figure_of_no_memory_or_axis_is_refused(figure: str, sentence: str) -> None:
    one = chip()
    added = one.figures["memory.buffer.capacity"].model_copy(update={"unit": "B" if "memory" in figure else "1"})
    slip = one.model_copy(update={"figures": {**one.figures, figure.replace("__", "."): added}})
    with pytest.raises(InputError, match=sentence):
        estimate(workload(dense(8, 64, 64)), slip)
