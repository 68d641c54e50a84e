"""A Workload in columns, against what its layers say themselves and against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from workload_builders import conv3x3, linear, operand, other, product, spikes, workload

from hardware_models.errors import InputError
from hardware_models.layer_table import LayerTable, layer_table


def spiking_pair(batch: int = 1) -> LayerTable:
    """A neuron layer of 100 that feeds a linear layer of 100 inputs and 10 outputs, T = 2."""
    fired = spikes(0.25, 0.5, name="output")
    neuron = other("lif", "neuron", timesteps=2, out_elements=100, output=fired, consumers=("fc",))
    read = spikes(0.25, 0.5).model_copy(update={"channels": "fc/input"})
    fc = linear("fc", 1, 100, 10, read, operand("weight", bits=8), timesteps=2, acs=750, driven_by="input")
    spiking = workload(neuron, fc, batch=batch, timesteps=2)
    spiking.arrays["fc/input"] = np.array([[20, 5], [10, 40]])
    return layer_table(spiking)


def test_counts_and_densities() -> None:
    table = spiking_pair()
    assert table.names == ("lif", "fc")
    assert table.neuron.tolist() == [True, False]
    assert table.synaptic.tolist() == [False, True]
    assert table.neurons.tolist() == [100, 0]
    assert table.neuron_updates.tolist() == [200, 0]
    assert table.neuron_spikes.tolist() == [75, 0]  # 25 + 50
    assert table.input_spikes[1] == 75
    assert table.input_density[1] == pytest.approx(0.375)
    assert table.acs[1] == 750
    assert table.macs_dense[1] == 2 * 100 * 10
    assert table.step_spikes.tolist() == [[25, 50], [25, 50]]
    assert table.edges.tolist() == [[0, 1]]
    assert table.spike_driven.tolist() == [False, True]


def test_counts_are_those_of_one_sample() -> None:
    table = spiking_pair(batch=5)
    assert table.acs[1] == 150
    assert table.step_spikes[1].tolist() == [5, 10]
    assert table.channel_spikes.tolist() == [[4, 2], [1, 8]]


def test_spikes_by_channel() -> None:
    table = spiking_pair()
    assert table.channel_offset.tolist() == [0, 0, 2]
    # channel 0 fired 20 times in the first step and 10 times in the second
    assert table.channel_spikes.tolist() == [[20, 10], [5, 40]]


def test_geometry_of_a_convolution_and_a_grouped_product() -> None:
    conv = conv3x3("conv", 8, (3, 16), operand("input"), operand("weight"))
    attention = product("qk", 4, 6, 5, 7, operand("left"), operand("right"))
    table = layer_table(workload(conv, attention))
    assert [column[0] for column in (table.groups, table.m, table.n, table.k)] == [1, 64, 16, 27]
    assert [column[0] for column in (table.kernel_h, table.kernel_w, table.pad_h, table.out_w)] == [3, 3, 1, 8]
    assert [column[1] for column in (table.groups, table.m, table.n, table.k)] == [4, 6, 7, 5]
    assert [column[1] for column in (table.in_h, table.in_w, table.kernel_h, table.stride_w)] == [6, 1, 1, 1]
    assert table.weight_is_activation.tolist() == [False, True]


def test_the_spikes_of_the_right_operand_can_drive() -> None:
    right = spikes(0.5, name="right")
    table = layer_table(workload(product("av", 1, 2, 2, 2, operand("left", bits=8), right, acs=4, driven_by="right")))
    assert (table.input_bits[0], table.weight_bits[0]) == (1, 8)


def test_a_result_is_as_wide_as_what_its_consumers_read() -> None:
    fired = spikes(0.5, name="output")
    first = linear("first", 1, 10, 100, consumers=("lif",))
    neuron = other("lif", "neuron", out_elements=100, output=fired, consumers=("second",))
    second = linear("second", 1, 100, 10, spikes(0.5), operand("weight"), consumers=("third",))
    third = linear("third", 1, 10, 10, operand("input", "integer", 8), operand("weight"))
    table = layer_table(workload(first, neuron, second, third))
    assert table.output_bits.tolist() == [1, 1, 8, 32]


def test_selection_keeps_rows_edges_and_channels_together() -> None:
    table = spiking_pair().select(np.array([False, True]))
    assert table.names == ("fc",)
    assert table.edges.tolist() == []
    assert table.channel_offset.tolist() == [0, 2]
    assert table.acs.tolist() == [750]


def test_another_width_leaves_the_operations() -> None:
    table = spiking_pair().with_bits(3)
    assert (table.input_bits.tolist(), table.weight_bits.tolist()) == ([3, 3], [3, 3])
    assert table.acs[1] == 750


def test_a_synaptic_layer_without_operands_is_refused() -> None:
    bare = linear("fc", 1, 10, 10).model_copy(update={"operands": ()})
    with pytest.raises(InputError, match="'fc' has 0 operands; a linear needs two"):
        layer_table(workload(bare))
