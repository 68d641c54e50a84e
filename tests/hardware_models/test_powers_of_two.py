"""Power-of-two spikes on everything that costs them: one shifted accumulate each, or the integers that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_chips import round_chip
from workload_builders import linear, operand, other, workload

from hardware_models.chip import chip
from hardware_models.conventions import CONVENTIONS, convention
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.inputs import read_workload
from hardware_models.layer_table import layer_table
from hardware_models.workload import Operand, Workload

INPUTS, OUTPUTS, DENSITY = 100, 8, 0.25
SPIKES = round(INPUTS * DENSITY)


def powers(name: str = "input", bits: int = 5, levels: int = 8, steps: int = 2, **extra: Any) -> Operand:
    """Spikes +-2^-k, k < 8: 17 states in 5 bits; as integers 8 bits and a sign."""
    fields = {"levels": levels, "magnitude": (SPIKES,) * steps, "signed": True}
    return operand(name, "power-of-two", bits, (DENSITY,) * steps, **(fields | extra))


def network(driver: Operand, weight_bits: int = 8) -> Workload:
    """100 inputs to 8 neurons over two timesteps."""
    weights = operand("weight", "integer", weight_bits, elements=INPUTS * OUTPUTS)
    counts = {"acs": 2 * SPIKES * OUTPUTS, "driven_by": "input"}
    layer = linear("fc", 1, INPUTS, OUTPUTS, driver, weights, timesteps=2, consumers=("lif",), **counts)
    fired = driver.model_copy(update={"name": "output"})
    return workload(layer, other("lif", "neuron", timesteps=2, out_elements=OUTPUTS, output=fired), timesteps=2)


def ternary() -> Operand:
    return operand("input", "ternary", 2, (DENSITY, DENSITY), magnitude=(SPIKES, SPIKES))


@pytest.mark.parametrize(
    ("bits", "levels", "signed", "width"),
    [(5, 8, True, 9), (5, 0, True, 16), (4, 8, False, 8), (4, 0, False, 15), (6, 0, True, 17), (128, 0, True, 17)],
)
def test_the_integer_that_holds_every_power(bits, levels, signed, width):
    assert powers(bits=bits, levels=levels, signed=signed).number_bits == width
    assert operand("input", "ternary", 2).number_bits == 2


def test_columns():
    table = layer_table(network(powers()))
    assert table.shifted.tolist() == [True, False]
    assert table.spike_driven.tolist() == [True, False]
    assert table.input_spikes.tolist() == [2 * SPIKES, 0]
    assert (table.input_bits[0], table.output_bits[0]) == (9, 9)
    assert not layer_table(network(ternary())).shifted.any()


class TestConventions:
    def test_one_addition_for_each_spike_at_the_width_of_the_weight(self):
        ours, theirs = (convention("horowitz45").estimate(network(driver)) for driver in (powers(), ternary()))
        assert ours.layers[0].energy_j == pytest.approx(2 * SPIKES * OUTPUTS * 0.03e-12)  # int8 additions of 0.03 pJ
        assert ours.energy_j == theirs.energy_j

    @pytest.mark.parametrize("name", [name for name in CONVENTIONS if name != "spikingformer"])
    def test_the_shift_without_a_figure_is_said(self, name):
        (said,) = [s for s in convention(name).estimate(network(powers())).assumptions if "shift" in s]
        assert "fc" in said
        assert not any("shift" in s for s in convention(name).estimate(network(ternary())).assumptions)

    def test_spikingformer_multiplies_what_it_does_not_know(self):
        found = convention("spikingformer").estimate(network(powers()))
        assert found.layers[0].macs == 2 * INPUTS * OUTPUTS
        assert any("power-of-two spikes count as MACs" in said for said in found.assumptions)

    def test_a_power_that_is_added_is_as_wide_as_its_integer(self):
        left, right = powers("left"), powers("right", levels=15)
        layer = network(powers()).layers[0].model_copy(update={"operands": (left, right), "driven_by": "left"})
        (found,) = convention("horowitz45").estimate(workload(layer, timesteps=2)).layers
        assert found.rule == "executed AC, int16"


class TestEventDriven:
    @pytest.mark.parametrize("name", ["loihi2", "spinnaker2", "seneca"])
    def test_graded_spikes_carry_sign_and_level(self, name):
        ours, theirs = (estimate(network(driver), chip(name)) for driver in (powers(), ternary()))
        np.testing.assert_array_equal(ours.total_energy_j, theirs.total_energy_j)
        assert any("a packet carries sign and level" in said for said in ours.assumptions)
        assert not any("sign and level" in said for said in theirs.assumptions)

    @pytest.mark.parametrize("name", ["truenorth", "odin", "loihi1"])
    def test_binary_spikes_do_not(self, name):
        assert estimate(network(ternary()), chip(name)).total_energy_j is not None
        with pytest.raises(InputError, match=r"powers of two.*let the neurons send binary or ternary"):
            estimate(network(powers()), chip(name))

    def test_layers_of_binary_spikes_beside_them_run(self):
        fc, lif = network(ternary()).layers
        shifted = network(powers()).layers[0].model_copy(update={"name": "next", "consumers": ()})
        both = workload(fc, lif.model_copy(update={"consumers": ("next",)}), shifted, timesteps=2)
        found = estimate(both, chip("loihi1"))
        assert list(found.left_out) == ["next"]
        assert found.covered == 0.5


class TestNumbers:
    def test_a_crossbar_drives_each_row_in_one_of_its_phases(self):
        figures = {
            **{"array.rows": (128.0, "1"), "array.cols": (8.0, "1"), "array.adcs": (8.0, "1")},
            **{"cell.bits": (8.0, "bit"), "dac.bits": (1.0, "bit"), "dac.energy": (1.0, "J")},
            **{"adc.energy": (10.0, "J"), "adc.time": (1.0, "s"), "array.energy": (0.0, "J")},
        }
        precision = {"input_bits": 16, "weight_bits": 8}
        gates = round_chip("crossbar", figures, precision=precision, rows={"policy": "gate"})
        found = estimate(network(powers()), gates)
        # Two timesteps of 25 spikes, each a pulse of 1 J; 9 phases of 8 columns converted in each timestep.
        assert found.energy_j["compute"][0, 0] == pytest.approx(2 * SPIKES * 1.0 + 2 * 9 * OUTPUTS * 10.0)
        assert any("integers that they are, of 9 bits" in said for said in found.assumptions)

    def test_a_machine_of_plain_arithmetic_multiplies_the_integer(self):
        figures = {
            **{"peak.int8": (1000.0, "1/s"), "peak.fp16": (10.0, "1/s"), "memory.bandwidth": (1e9, "B/s")},
            **{"memory.energy": (0.0, "J/bit"), "op.int8.energy": (1.0, "J"), "op.fp16.energy": (4.0, "J")},
        }
        machine = round_chip("roofline", figures)
        ours, theirs = (estimate(network(driver), machine) for driver in (powers(), ternary()))
        operations = 2 * 2 * INPUTS * OUTPUTS
        assert ours.energy_j["compute"][0, 0] == 4 * operations  # 9 bits: the 16-bit unit
        assert theirs.energy_j["compute"][0, 0] == operations
        narrow = round_chip("roofline", {name: f for name, f in figures.items() if "fp16" not in name})
        with pytest.raises(InputError, match="9 bits"):
            estimate(network(powers()), narrow)

    @pytest.mark.parametrize("name", ["tpu_like", "generic_45nm", "eyeriss", "jetson_nano", "sram_cim_jia2020"])
    def test_shipped_chips_say_that_they_read_integers(self, name):
        found = estimate(network(powers()), chip(name))
        assert sum("integers that they are" in said for said in found.assumptions) == 1

    def test_arrays_of_eight_bits_say_what_they_cut(self):
        assert estimate(network(powers()), chip("tpu_like")).narrowed["fc"].given == (9, 8)
        assert estimate(network(powers(levels=7)), chip("tpu_like")).narrowed == {}


class TestByHand:
    LINE = "fc,linear,10,4,power-of-two,{bits},0.2,integer,8"

    def read(self, tmp_path: Path, line: str) -> Workload:
        path = tmp_path / "net.csv"
        path.write_text(f"# timesteps = 2\nname,kind,in,filters,input,input_bits,density,weights,weight_bits\n{line}\n")
        return read_workload(path)

    def test_one_accumulate_for_each_spike(self, tmp_path):
        found = self.read(tmp_path, self.LINE.format(bits=5))
        (fc,) = found.layers
        assert (fc.acs_by_timestep, fc.macs, fc.driven_by) == ((2 * 4 * 10, 2 * 4 * 10), 0, "input")  # of 10 samples
        assert (fc.operand("input").form, fc.operand("input").bits) == ("power-of-two", 5)
        assert fc.operand("input").magnitude == fc.operand("input").nonzero == (20, 20)

    @pytest.mark.parametrize("bits", [2, 7])
    def test_bits_that_hold_no_levels(self, tmp_path, bits):
        with pytest.raises(InputError, match=f"input_bits is {bits}; power-of-two values have 3 to 6 bits"):
            self.read(tmp_path, self.LINE.format(bits=bits))

    def test_the_density_is_never_supposed(self, tmp_path):
        with pytest.raises(InputError, match="density is missing"):
            self.read(tmp_path, "fc,linear,10,4,power-of-two,5,,integer,8")

    def test_a_neuron_fires_them(self, tmp_path):
        path = tmp_path / "net.yaml"
        path.write_text(
            "schema: neuro.layers/1\ntimesteps: 2\ndefaults: {weights: integer, weight_bits: 8}\nlayers:\n"
            "  - {name: a, kind: linear, in: 10, filters: 4, input: binary, density: 0.5, neuron: lif,\n"
            "     output: power-of-two, output_bits: 5, rate: 0.25}\n"
            "  - {name: b, kind: linear, filters: 3}\n"
        )
        found = read_workload(path)
        *_, b = found.layers
        assert (b.operand("input").form, b.operand("input").number_bits) == ("power-of-two", 16)
        assert b.acs == 2 * 3 * found.batch
