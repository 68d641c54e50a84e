import numpy as np
import pytest
from event_networks import linear, neurons, workload
from workload_builders import other

from hardware_models.errors import InputError
from hardware_models.event_driven.populations import look_through, populations
from hardware_models.layer_table import layer_table


def grouped(*layers):
    table = layer_table(workload(*layers))
    return table, populations(table, table.synaptic)


def test_norm_and_pool_are_looked_through():
    table, found = grouped(
        linear("fc", 4, 4, (1,), ("norm",)),
        other("norm", "norm", consumers=("n",)),
        neurons("n", 4, (1,), ("pool",)),
        other("pool", "pool", consumers=("head",)),
        linear("head", 4, 2, (1,)),
    )
    assert [table.names[row] for row in found.rows] == ["n", "head"]
    assert found.fires.tolist() == [True, False]
    assert found.neurons.tolist() == [4, 2]
    assert found.host.tolist() == [0, 1]
    # The neurons feed the head, the second of the two synaptic layers.
    assert found.wires.tolist() == [[0, 1]]


def test_a_sum_that_several_neuron_layers_read_lives_with_the_first():
    _, found = grouped(
        linear("fc", 4, 4, (1,), ("n1", "n2")),
        neurons("n1", 4, (1,), ("fc2",)),
        linear("fc2", 4, 4, (1,), ("n2",)),
        neurons("n2", 4, (1,)),
    )
    assert found.host.tolist() == [0, 1]


def test_recurrence_wires_a_population_to_itself():
    _, found = grouped(
        linear("fc", 4, 4, (1,), ("n",)),
        neurons("n", 4, (1,), ("back",)),
        linear("back", 4, 4, (1,), ("n",)),
    )
    assert found.host.tolist() == [0, 0]
    assert found.wires.tolist() == [[0, 1]]


def test_a_product_behind_a_product_is_a_population_between():
    table, found = grouped(
        neurons("q", 4, (1,), ("first",)),
        linear("first", 4, 4, (1,), ("second",)),
        linear("second", 4, 4, (1,), ("n",)),
        neurons("n", 4, (1,)),
    )
    assert [table.names[row] for row in found.rows] == ["q", "first", "n"]
    assert found.wires.tolist() == [[0, 0], [1, 1]]


def test_long_chains_and_branches_are_looked_through():
    # 0 -> 1 -> 2 -> ... -> 99 -> 100, with a short cut from 0 to 50; only the ends stay.
    edges = np.array([*((index, index + 1) for index in range(100)), (0, 50)])
    ends = np.zeros(101, dtype=bool)
    ends[[0, 100]] = True
    assert look_through(edges, ends).tolist() == [[0, 100]]


def test_a_circle_is_refused():
    edges, ends = np.array([[0, 1], [1, 2], [2, 1]]), np.array([True, False, False])
    with pytest.raises(InputError, match="in a circle"):
        look_through(edges, ends)
