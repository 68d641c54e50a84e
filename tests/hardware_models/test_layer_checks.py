"""Workloads that contradict themselves are refused with layer and entry, before any engine reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from workload_builders import conv3x3, linear, operand, spikes, workload

from hardware_models.errors import InputError
from hardware_models.layer_table import layer_table
from hardware_models.workload import Layer


def fc(**changes: Any) -> Layer:
    read, weights = spikes(0.25, 0.5), operand("weight", bits=8)
    return linear("fc", 1, 100, 10, read, weights, timesteps=2, driven_by="input").model_copy(update=changes)


def read_as(**changes: Any) -> Layer:
    return fc(operands=(spikes(0.25, 0.5).model_copy(update=changes), operand("weight", bits=8)))


def conv(**changes: Any) -> Layer:
    layer = conv3x3("conv", 8, (4, 4), operand("input"), operand("weight"))
    assert layer.bounds is not None
    return layer.model_copy(update={"bounds": layer.bounds.model_copy(update=changes)})


def volume(**changes: Any) -> Layer:
    ones = dict.fromkeys(("in_size", "out_size", "kernel"), (1, 1, 1))
    return conv(**(ones | {"stride": (1,), "padding": (0,), "dilation": (1,)} | changes))


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (read_as(density=()), "layer 'fc' runs 2 timesteps and has 0 densities of its input"),
        (read_as(density=(0.1, 0.1, 0.1)), "runs 2 timesteps and has 3 densities"),
        (read_as(nonzero=(25, 50, 25)), "not as many counts"),
        (read_as(nonzero=()), "not as many counts"),
        (read_as(magnitude=(25,)), "not as many counts"),
        (read_as(bits=10**9), "has input_bits 1e\\+09; expected at most 128"),
        (fc(driven_by="left"), "is driven by 'left', which is none of its operands"),
        (fc(out_elements=10**19), "has output_elements 1e\\+19; expected at most"),
        (fc(acs=10**400), "beyond what a floating-point number holds"),
        (conv(stride=(2,)), "layer 'conv' has bounds of uneven dimensions"),
        (conv(kernel=()), "uneven dimensions"),
        (conv(in_size=()), "uneven dimensions"),
        (conv(out_size=(10**12, 10**12)), "has m 1e\\+24; expected at most"),
        (volume(in_size=(1, 10**12, 10**12)), "has in_w 1e\\+24; expected at most"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(layer: Layer, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        layer_table(workload(layer, timesteps=2))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_defaults_of_one_value_say_nothing_of_the_axes() -> None:
    table = layer_table(workload(conv(stride=(1,), padding=(0,), dilation=(1,))))
    assert (table.stride_h[0], table.stride_w[0], table.pad_w[0]) == (1, 1, 0)


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two layers called 'fc'"):
        layer_table(workload(fc(), fc(), timesteps=2))


def test_sizes_that_overflow_over_all_timesteps_are_refused() -> None:
    many = fc(timesteps=2**20, operands=(operand("input"), operand("weight")), driven_by=None, out_elements=2**45)
    with pytest.raises(InputError, match=r"output_elements 3\.51844e\+13 over all timesteps"):
        layer_table(workload(many))


def test_counts_by_channel_have_a_row_for_each_timestep() -> None:
    counted = workload(read_as(channels="fc/input"), timesteps=2)
    counted.arrays["fc/input"] = np.ones((3, 4), dtype=np.int64)
    with pytest.raises(InputError, match=r"counts by channel of shape \(3, 4\); expected a row for each of 2"):
        layer_table(counted)


def test_dilation_is_known() -> None:
    assert layer_table(workload(conv(dilation=(2, 1)), conv().model_copy(update={"name": "b"}))).dilated.tolist() == [
        True,
        False,
    ]
