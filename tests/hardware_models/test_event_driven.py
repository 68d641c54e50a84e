import numpy as np
import pytest
from event_networks import chain, linear, neurons, toy_chip, two_layers, weight, workload
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.chip import chip
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.validation import neuromorphic, sanafe
from hardware_models.variants import estimate_variants
from hardware_models.workload import Bounds, Layer, Operand, Workload


@pytest.mark.parametrize("scenario", list(sanafe.scenarios()))
class TestSanafe:
    """Counts that SANA-FE made core by core, through our equations and the figures of our chip file."""

    def test_energy(self, scenario):
        # The total of synapses and neurons to five digits, the network within a percent, were asked for.
        golden = sanafe.scenarios()[scenario]["energy_j"]
        synapse, soma, network = sanafe.energies(scenario)
        assert synapse == pytest.approx(golden["synapse"], rel=1e-6)
        assert soma == pytest.approx(golden["soma"], rel=1e-6)
        assert network == pytest.approx(golden["network"], rel=1e-6)

    def test_every_timestep_equals_the_simple_timing(self, scenario):
        ours = sanafe.timesteps(scenario, blocking=False)
        assert ours == pytest.approx(sanafe.steps()[f"{scenario}.simple_s"], rel=2e-5)

    def test_latency_against_the_detailed_timing(self, scenario):
        """Packets that wait for each other, without a figure of their own; `late` was run after it was all done."""
        golden = sanafe.scenarios()[scenario]
        ours, detailed = sanafe.timesteps(scenario).sum(), sanafe.steps()[f"{scenario}.detailed_s"].sum()
        assert ours == pytest.approx(detailed, rel=0.08)
        assert golden["latency_simple_s"] < golden["latency_detailed_s"]


@pytest.mark.parametrize("fan", sanafe.fans(), ids=lambda fan: "-".join(str(fan[name]) for name in sanafe.FAN))
def test_dense_layers_from_few_to_many_cores(fan):
    """Every spike to every core: SANA-FE's detailed timing takes up to 3.8 times as long as its simple one."""
    assert sanafe.fan_seconds(fan, blocking=False) == pytest.approx(fan["simple_s"], rel=1e-4)
    assert sanafe.fan_seconds(fan) == pytest.approx(fan["detailed_s"], rel=0.25)


def test_the_whole_engine_against_sanafe():
    """The engine's own allocation, placement, packets and busiest cores, against a simulation of every message."""
    golden, found = sanafe.scenarios()["packed"], sanafe.whole_engine()
    assert found.cores[found.cores > 0].tolist() == golden["cores_of_layer"]
    energy = {name: values[0].sum() for name, values in found.energy_j.items()}
    assert energy["compute"] == pytest.approx(golden["energy_j"]["synapse"], rel=1e-6)
    # Every neuron counts as updated here; SANA-FE leaves out those without input, potential or bias.
    idle = sum(golden["neurons_of_core"]) * golden["timesteps"] - golden["updates"]
    soma = energy["neurons"] - idle * chip("loihi1_nahuku").figures["neuron.update_energy"].si
    assert soma == pytest.approx(golden["energy_j"]["soma"], rel=1e-6)
    assert energy["network"] == pytest.approx(golden["energy_j"]["network"], rel=0.01)
    assert found.total_latency_s[0] == pytest.approx(golden["latency_detailed_s"], rel=0.03)
    simple = sanafe.whole_engine(blocking=False).total_latency_s[0]
    assert simple == pytest.approx(golden["latency_simple_s"], rel=0.01)


def test_every_goal_against_sanafe_is_met():
    assert [(row.target, row.quantity) for row in sanafe.rows() if row.met is False] == []


class TestSilicon:
    """Power and energy that were measured on chips. TrueNorth's published line runs through both of its points."""

    @pytest.mark.parametrize(("rate_hz", "power_w"), neuromorphic.TRUENORTH)
    def test_truenorth(self, rate_hz, power_w):
        # 64.4 mW + 2.297 pJ x 2^20 x 128 x 11.58 Hz = 64.4 + 3.57 mW; at 95.93 Hz 64.4 + 29.58 mW.
        assert neuromorphic.truenorth_watts(rate_hz) == pytest.approx(power_w, rel=0.02)

    @pytest.mark.parametrize(("rate_hz", "power_w"), neuromorphic.TRUENORTH)
    def test_a_full_truenorth(self, rate_hz, power_w):
        """The same network through the whole engine: 2^20 neurons of 128 synapses, for one second."""
        size, fired = 2**20, (round(2**20 * rate_hz / 1000),) * 1000
        groups = size // 128
        layer = linear("recurrent", size, size, fired, ("n",))
        bounds = Bounds(groups=groups, in_channels=size, out_channels=size, in_size=(1,), out_size=(1,))
        layer = layer.model_copy(update={"bounds": bounds, "acs": sum(fired) * 128})
        found = estimate(workload(layer, neurons("n", size, fired, ("recurrent",))), chip("truenorth"))
        assert found.cores.sum() == 4096
        assert found.total_latency_s[0] == pytest.approx(1)
        assert found.total_energy_j[0] == pytest.approx(power_w, rel=0.02)

    def test_odin(self):
        # 27.3 + 1.78 x 75 + 8.43e-6 x 37.5e6 = 27.3 + 133.5 + 316.1 uW.
        assert neuromorphic.odin_watts(37.5e6) == pytest.approx(477e-6, rel=0.01)

    def test_odin_through_the_whole_engine(self):
        network = workload(linear("all", 256, 256, (200,) * 10, ("n",)), neurons("n", 256, (9,) * 10))
        found = estimate(network, chip("odin"))
        assert 200 * 256 * 10 / found.total_latency_s[0] == pytest.approx(37.5e6, rel=1e-4)
        assert found.total_energy_j[0] / found.total_latency_s[0] == pytest.approx(477e-6, rel=0.01)

    @pytest.mark.parametrize(("operations", "above"), [(5.12e7, 0.09), (5.76e7, 0.20)])
    def test_loihi_pohoiki_springs(self, operations, above):
        """1.33 mJ a query, measured; the published count of operations gives 9 to 20 % more."""
        value, low, high = neuromorphic.loihi_joules(operations, 4.608e6)
        assert value / 1.33e-3 - 1 == pytest.approx(above, abs=0.01)
        assert low < 1.33e-3 < high


class TestByHand:
    """Two layers on the toy chip; the cores of b are 1 and 2, at (1, 0) and (0, 1), that of a is 0 at (0, 0)."""

    def test_energy(self):
        found = estimate(two_layers(), toy_chip())
        picojoules = {name: values[0] * 1e12 for name, values in found.energy_j.items()}
        # (3 + 1) spikes x 4 synapses, (2 + 1) x 8; 2 pJ each.
        assert picojoules["compute"] == pytest.approx([32, 0, 48, 0])
        # a: 4 neurons x 2 steps x (1 + 3) + 3 spikes x 5. b: 8 x 2 x 4 + 4 x 5.
        assert picojoules["neurons"] == pytest.approx([0, 47, 0, 84])
        # first: 4 packets x 7, from outside. second: 3 spikes to 2 cores, 7 each; one hop along x, one along y.
        assert picojoules["network"] == pytest.approx([28, 0, 6 * 7 + 3 * 11 + 3 * 13, 0])
        # 1 mW for 316 ns over one core of a and two of b.
        assert picojoules["static"] == pytest.approx([0, 316 / 3, 0, 632 / 3])
        assert found.cores.tolist() == [0, 1, 0, 2]

    def test_latency(self):
        found = estimate(two_layers(), toy_chip())
        # Step 0. a: 4 x (1 + 2) + 2 x 3 + 4 packets x 4 = 34; b: 4 x 3 + 3 spikes of its first core x 3 = 21;
        #   first: 3 x 5 + 12 x 6 = 87; second: 2 x 5 + 8 x 6 = 58. Slowest 87, barrier of 3 tiles as of 1: 100.
        # Step 1. a: 12 + 3 + 8 = 23; b: 12; first: 5 + 4 x 6 = 29; second: 5 + 4 x 6 = 29. 29 + 100.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(187 + 129)
        assert found.latency_s[0] * 1e9 == pytest.approx([87 + 29, 34 + 23, 58 + 29, 21 + 12])
        assert found.utilization == pytest.approx([116 / 316, 57 / 316, 87 / 316, 33 / 316])

    def test_the_busiest_core_counts_not_the_mean(self):
        even = two_layers()
        even.arrays["b/output"] = np.array([[1, 1, 0, 0, 1, 1, 0, 0], [0] * 8])
        # Spikes cost 100 ns each now: 12 + 3 x 100 on the busiest core, against 12 + 2 x 100 where all are alike.
        slow = toy_chip({"neuron.spike_time": (100, "ns")})
        assert estimate(two_layers(), slow).latency_s[0, 3] * 1e9 == pytest.approx(12 + 300 + 12)
        assert estimate(even, slow).latency_s[0, 3] * 1e9 == pytest.approx(12 + 200 + 12)

    def test_a_full_link_holds_the_timestep_up(self):
        found = estimate(two_layers(), toy_chip({"network.hop_y_time": (1, "us")}))
        # 2 packets go along y in step 0 and 1 in step 1.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(2000 + 1000 + 2 * 100)

    def test_barrier_in_proportion(self):
        found = estimate(two_layers(), toy_chip(barrier="linear"))
        # 3 tiles: two thirds of the way from 100 ns for 1 to 200 ns for 4.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(87 + 29 + 2 * (100 + 200 / 3))

    def test_tick(self):
        real_time = toy_chip({"tick.time": (1, "us")})
        assert estimate(two_layers(), real_time).total_latency_s[0] == pytest.approx(2e-6)
        fast = toy_chip({"tick.time": (150, "ns")})
        # Step 0 takes 187 ns, longer than the tick; step 1 waits for it.
        assert estimate(two_layers(), fast).total_latency_s[0] * 1e9 == pytest.approx(187 + 150)

    def test_nothing_but_a_tick(self):
        only = toy_chip({"tick.time": (1, "ms")}, drop=("synapse.time",))
        found = estimate(two_layers(), only)
        assert found.total_latency_s[0] == pytest.approx(2e-3)
        assert found.utilization is None

    def test_clock_and_core_power(self):
        powered = toy_chip(
            {"power.core": (2, "mW"), "clock.energy": (10, "pJ"), "clock.frequency": (100, "MHz")},
        )
        # 1 mW of the chip, 3 cores of 2 mW, 10 pJ x 100 MHz = 1 mW.
        static = estimate(two_layers(), powered).energy_j["static"][0].sum()
        assert static == pytest.approx(8e-3 * 316e-9)

    def test_traffic(self):
        known = toy_chip({"neuron.state_bits": (16, "bit"), "network.packet_bits": (32, "bit")})
        found = estimate(two_layers(), known).traffic_bytes
        assert found["synapse memory"].tolist() == [16, 0, 24, 0]  # 8-bit weights
        assert found["neuron state"].tolist() == [0, 4 * 2 * 2 * 2, 0, 8 * 2 * 2 * 2]  # whatever the rate
        assert found["network"].tolist() == [16, 0, 24, 0]  # 4 and 6 packets of 4 bytes


def test_several_chips_by_hand():
    # Chips of one tile: a on chip 0, b on chips 1 and 2.
    joined = toy_chip(
        {
            "mesh.columns": (1, "1"),
            "mesh.rows": (1, "1"),
            "chip.count": (3, "1"),
            "network.border_energy": (100, "pJ"),
            "network.border_time": (50, "ns"),
            "barrier_chips.time": (1, "us"),
        },
        multi_chip=True,
    )
    found = estimate(two_layers(), joined)
    # Each of 3 spikes goes one border far to core 1 and two to core 2; between chips a hop along x each.
    assert found.energy_j["network"][0, 2] * 1e12 == pytest.approx(6 * 7 + 9 * 11 + 9 * 100)
    # Border 0-1 carries both packets of a spike: 4 in step 0, 2 in step 1.
    assert found.total_latency_s[0] * 1e9 == pytest.approx(4 * 50 + 2 * 50 + 2 * 1000)
    assert found.energy_j["static"][0].sum() == pytest.approx(3 * 1e-3 * found.total_latency_s[0])
    assert any("3 chips" in sentence for sentence in found.assumptions)


class TestFit:
    def test_too_large_a_network_is_refused_with_the_limit_it_broke(self):
        with pytest.raises(InputError, match=r"needs 6 cores \(layer 'n0' alone 2, for its neurons\).* has 4 "):
            estimate(chain(3), toy_chip())

    def test_chips_run_out(self):
        several = toy_chip({"chip.count": (2, "1")}, multi_chip=True)
        with pytest.raises(InputError, match=r"has 8 \(up to 2 chips of 4\)"):
            estimate(chain(5), several)

    @pytest.mark.parametrize(
        ("figure", "words"),
        [
            ({"core.synapse_memory": (8, "B")}, "bytes of synapse memory"),  # 64 weights of 8 bits: 8 cores
            ({"core.synapses": (8, "1")}, "synapses"),
            ({"core.axons_in": (1, "1")}, "axons in"),
            ({"core.axons_out": (2, "1")}, "axons out"),  # 8 neurons to the 2 cores behind: 16 / 2
        ],
    )
    def test_every_limit_is_named(self, figure, words):
        with pytest.raises(InputError, match=f"alone 8, for its {words}"):
            estimate(chain(2), toy_chip(figure))

    def test_layers_that_may_not_be_split(self):
        with pytest.raises(InputError, match="gives each layer one core, but layer 'n0' of 'small' needs 2"):
            estimate(chain(1), toy_chip(split_layers=False))

    def test_weight_sharing_stores_a_kernel_once(self):
        # 1x1 kernel on 16 positions, 4 x 4 channels: 16 weights, 256 connections; 32 bytes a core.
        fired = (8,)
        conv = Layer(
            name="conv",
            operator="conv",
            op="convolution",
            timesteps=1,
            bounds=Bounds(in_channels=4, out_channels=4, in_size=(4, 4), out_size=(4, 4), kernel=(1, 1)),
            operands=(linear("x", 64, 1, fired).operands[0], weight(16)),
            out_elements=64,
            acs=32,
            driven_by="input",
            consumers=("n",),
        )
        network = workload(conv, neurons("n", 64, (1,)))
        room = {"core.neurons": (64, "1"), "core.synapse_memory": (32, "B"), "mesh.rows": (8, "1")}
        assert estimate(network, toy_chip(room, weight_sharing=True)).cores.sum() == 1
        assert estimate(network, toy_chip(room)).cores.sum() == 8

    def test_more_weights_than_can_be_counted(self):
        huge = linear("huge", 2**31, 2**31, (1,), ("n",))
        with pytest.raises(InputError, match=r"layer 'huge' has weight_elements 4\.61169e\+18"):
            estimate(workload(huge, neurons("n", 2**31, (1,))), toy_chip())

    def test_wide_weights_are_taken_as_quantized_and_that_is_said(self):
        narrow = toy_chip({"core.weight_bits": (2, "bit"), "core.synapse_memory": (16, "B")})
        found = estimate(chain(1), narrow)
        assert found.cores.sum() == 2  # 64 weights of 2 bits are 16 bytes; 8 neurons take 2 cores
        assert any("taken as quantized" in sentence for sentence in found.assumptions)

    @pytest.mark.parametrize(
        ("inputs", "outputs", "cores"),
        [
            (1024, 1024, 8),  # 1 MiB of 8-bit weights, 128 KiB a core
            (128, 1024, 1),  # 128 KiB: just full
            (129, 1024, 2),
            (64, 1025, 2),  # 1024 neurons a core
            (4096, 32, 1),  # 4096 axons in
        ],
    )
    def test_limits_of_loihi_with_8_bit_weights(self, inputs, outputs, cores):
        network = workload(linear("fc", inputs, outputs, (1,), ("n",)), neurons("n", outputs, (0,)))
        found = estimate(network, chip("loihi1"))
        assert found.cores.tolist() == [0, cores]
        assert not any("than a core has axons for" in sentence for sentence in found.assumptions)

    def test_neurons_with_more_inputs_than_axons_are_said(self):
        network = workload(linear("fc", 8192, 10, (1,), ("n",)), neurons("n", 10, (0,)))
        found = estimate(network, chip("loihi1"))
        assert found.cores.tolist() == [0, 2]
        assert any(
            "1 layer has cores that read more inputs than a core has axons" in each for each in found.assumptions
        )

    def test_power_of_cores_that_stand_idle_is_said(self):
        found = estimate(two_layers(), chip("loihi1"))
        assert any("the whole chip, of which the network occupies 2 cores" in each for each in found.assumptions)


class TestLoihiByHand:
    """The two layers on Loihi 1: one core each, on the same tile, so that there are no hops."""

    def test_davies(self):
        found = estimate(two_layers(), chip("loihi1"))
        picojoules = {name: values[0] * 1e12 for name, values in found.energy_j.items()}
        assert picojoules["compute"] == pytest.approx([16 * 23.6, 0, 24 * 23.6, 0])
        assert picojoules["neurons"] == pytest.approx([0, 4 * 2 * 81, 0, 8 * 2 * 81])
        assert picojoules["network"] == pytest.approx([4 * 1.7, 0, 3 * 1.7, 0])
        # b: 8 neurons x 8.4 ns in both steps, more than 16 operations x 3.5 ns; 113 ns for the barrier of one tile.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(2 * (8 * 8.4 + 113))
        # No neuron active: step 0 is bound by 16 x 3.5 ns, step 1 by 8 x 5.3 ns.
        assert found.total_latency_s[1] * 1e9 == pytest.approx(16 * 3.5 + 8 * 5.3 + 2 * 113)
        assert picojoules["static"].sum() == pytest.approx(0.104 * found.total_latency_s[0] * 1e12)

    def test_nahuku(self):
        found = estimate(two_layers(), chip("loihi1_nahuku"))
        picojoules = {name: values[0] * 1e12 for name, values in found.energy_j.items()}
        assert picojoules["compute"] == pytest.approx([16 * 35.5, 0, 24 * 35.5, 0])
        assert picojoules["neurons"] == pytest.approx([0, 8 * 72.8 + 3 * 69.3, 0, 16 * 72.8 + 4 * 69.3])
        assert picojoules["network"] == pytest.approx([4 * 111, 0, 3 * 111, 0])
        # b in step 0: 8 x (6.0 + 3.7) + 4 x 30 ns; in step 1: 8 x 9.7; 600 ns for the barrier of one tile.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(8 * 9.7 + 120 + 8 * 9.7 + 2 * 600)


class TestOneCore:
    """A chip whose one core holds all populations; work of all of them adds up."""

    CHIP = toy_chip(
        {"chip.cores": (1, "1"), "core.neurons": (12, "1")},
        drop=(
            "mesh.columns",
            "mesh.rows",
            "tile.cores",
            *(f"network.hop_{a}_{w}" for a in "xy" for w in ("energy", "time")),
        ),
        one_core=True,
        without={f"network.hop_{a}_{w}": "one core." for a in "xy" for w in ("energy", "time")},
    )

    def test_by_hand(self):
        found = estimate(two_layers(), self.CHIP)
        # Step 0. Generation: a 12 + 6 + 2 x 4 = 26, b 24 + 4 x 3 = 36; 62. Receipt: 87 + 2 x 5 + 16 x 6 = 193.
        # Step 1. Generation: a 12 + 3 + 4, b 24; 43. Receipt: 29 + 5 + 8 x 6 = 82. Barrier 100 each.
        assert found.total_latency_s[0] * 1e9 == pytest.approx(193 + 82 + 200)
        assert found.energy_j["static"][0].sum() == pytest.approx(1e-3 * 475e-9)

    def test_all_populations_together_must_fit(self):
        with pytest.raises(InputError, match="needs 16 neurons but the one core of chip 'toy' has 12"):
            estimate(chain(2), self.CHIP)


class TestRefusals:
    @pytest.mark.parametrize(
        "missing",
        [
            *("synapse.energy", "neuron.access_energy", "neuron.update_energy", "neuron.spike_energy", "power.chip"),
            *("network.message_energy", "network.hop_x_energy", "network.hop_y_energy", "synapse.time"),
            *("neuron.access_time", "neuron.update_time", "neuron.spike_time", "network.message_time"),
            *("network.receive_time", "network.hop_x_time", "network.hop_y_time", "tile.cores", "mesh.rows"),
        ],
    )
    def test_a_missing_figure_is_refused_by_name(self, missing):
        with pytest.raises(InputError, match=f"no figure '{missing}'"):
            estimate(two_layers(), toy_chip(drop=(missing,)))

    def test_barrier(self):
        with pytest.raises(InputError, match=r"no figure 'barrier\.\*'"):
            estimate(two_layers(), toy_chip(drop=("barrier.1", "barrier.4")))
        with pytest.raises(InputError, match="name each after a number of tiles"):
            estimate(two_layers(), toy_chip({"barrier.all": (1, "ns")}))

    def test_neither_cores_nor_mesh(self):
        with pytest.raises(InputError, match=r"no figure 'chip\.cores'"):
            estimate(two_layers(), toy_chip(drop=("mesh.columns", "mesh.rows", "tile.cores")))

    def test_hops_without_a_mesh(self):
        no_mesh = toy_chip({"chip.cores": (4, "1")}, drop=("mesh.columns", "mesh.rows", "tile.cores"))
        with pytest.raises(InputError, match="but no mesh"):
            estimate(two_layers(), no_mesh)

    def test_going_without_a_figure_is_said(self):
        free = toy_chip(drop=("neuron.spike_energy",), without={"neuron.spike_energy": "in the update."})
        found = estimate(two_layers(), free)
        assert found.energy_j["neurons"][0] * 1e12 == pytest.approx([0, 32, 0, 64])
        assert "neuron.spike_energy is not counted: in the update." in found.assumptions

    def test_an_unknown_figure_to_go_without(self):
        with pytest.raises(ValueError, match=r"did you mean 'synapse\.energy'"):
            estimate(two_layers(), toy_chip(without={"synapse.energie": "no"}))

    def test_a_figure_that_the_chip_goes_without_and_gives(self):
        with pytest.raises(InputError, match=r"gives figure 'synapse\.energy', and its settings go without it"):
            estimate(two_layers(), toy_chip(without={"synapse.energy": "no."}))

    def test_static_power_needs_the_time(self):
        with pytest.raises(InputError, match="refuses latency, so that its energy is not known"):
            estimate(two_layers(), toy_chip(refuses={"latency": "unknown"}))

    def test_questions_that_are_refused_ask_for_no_figures(self):
        times = [name for name in toy_chip().figures if name.endswith("time") or name.startswith("barrier")]
        timeless = toy_chip(
            drop=(*times, "power.chip"), refuses={"latency": "unknown"}, without={"power.chip": "none."}
        )
        found = estimate(two_layers(), timeless)
        assert found.total_latency_s is None
        assert found.total_energy_j[0] * 1e12 == pytest.approx(80 + 131 + 142)


def float_first():
    """A layer driven by values that are no spikes, then one driven by spikes."""
    values = Operand(name="input", bits=8, signed=False, form="float", elements=3, nonzero=(3, 3), density=(1.0, 1.0))
    first = linear("first", 3, 4, (0, 0), ("a",)).model_copy(
        update={"operands": (values, weight(12)), "macs": 24, "acs": 0, "driven_by": None}
    )
    return workload(first, *two_layers().layers[1:])


class TestFirstLayer:
    def test_values_are_encoded_off_chip(self):
        found = estimate(float_first(), toy_chip())
        assert found.left_out == {"first": "its inputs are no spikes: encoded off chip, 24 multiply-accumulates"}
        assert found.energy_j["compute"][0] * 1e12 == pytest.approx([0, 0, 48, 0])
        assert found.energy_j["neurons"][0, 1] > 0

    def test_values_are_graded_spikes(self):
        found = estimate(float_first(), toy_chip(graded_spikes=True))
        assert not found.left_out
        assert found.energy_j["compute"][0] * 1e12 == pytest.approx([48, 0, 48, 0])
        # 3 values in each of 2 steps.
        assert found.energy_j["network"][0, 0] * 1e12 == pytest.approx(6 * 7)

    def test_a_network_without_spikes_is_refused(self):
        only = workload(*float_first().layers[:2])
        with pytest.raises(InputError, match="can run no layer"):
            estimate(only, toy_chip())

    def test_a_multiple_spike_is_one_graded_event(self):
        double = linear("fc", 4, 4, (2,), ("n",))
        driver = double.operands[0].model_copy(update={"form": "integer", "magnitude": (6,)})
        double = double.model_copy(update={"operands": (driver, double.operands[1]), "acs": 24})
        network = workload(double, neurons("n", 4, (1,)))
        single, graded = (estimate(network, toy_chip(graded_spikes=value)) for value in (False, True))
        assert single.energy_j["compute"][0].sum() * 1e12 == pytest.approx(24 * 2)
        assert graded.energy_j["compute"][0].sum() * 1e12 == pytest.approx(8 * 2)
        assert single.energy_j["network"][0].sum() * 1e12 == pytest.approx(6 * 7)
        assert graded.energy_j["network"][0].sum() * 1e12 == pytest.approx(2 * 7)


def test_attention_runs_as_synaptic_operations_and_that_is_said():
    left, right = (linear("x", 16, 1, (4,)).operands[0].model_copy(update={"name": name}) for name in ("left", "right"))
    product = Layer(
        name="qk",
        operator="matmul",
        op="bmm",
        timesteps=1,
        bounds=Bounds(in_channels=4, out_channels=4, in_size=(4,), out_size=(4,)),
        operands=(left, right),
        out_elements=16,
        acs=4,
        driven_by="left",
        consumers=("n",),
    )
    network = workload(
        neurons("q", 16, (4,), ("qk",)), neurons("k", 16, (4,), ("qk",)), product, neurons("n", 16, (0,))
    )
    found = estimate(network, toy_chip({"core.neurons": (16, "1")}))
    # Both operands' spikes travel: 8 packets.
    assert found.energy_j["compute"][0].sum() * 1e12 == pytest.approx(8)
    assert any("attention, 1 of them" in sentence for sentence in found.assumptions)


def test_split_by_rows():
    # A 3x3 convolution, 2 channels on 8 x 1 positions, 16 neurons on 4 cores: 2 rows each, which read 4 of 8 rows.
    layer = linear("conv", 16, 16, (8,), ("n",))
    bounds = Bounds(
        in_channels=2, out_channels=2, in_size=(8, 1), out_size=(8, 1), kernel=(3, 3), stride=(1, 1), padding=(1, 1)
    )
    layer = layer.model_copy(
        update={"operator": "conv", "bounds": bounds, "operands": (layer.operands[0], weight(36)), "acs": 96}
    )
    network = workload(layer, neurons("n", 16, (4,)))
    packets = {
        (split, memory): estimate(
            network, toy_chip({"core.synapse_memory": (memory, "B")}, split=split, weight_sharing=True)
        ).energy_j["network"][0, 0]
        * 1e12
        / 7
        for split, memory in (("rows", 36), ("channels", 36), ("rows", 35))
    }
    assert packets["rows", 36] == pytest.approx(8 * 4 * 4 / 8)
    # By channels a core holds 4 rows of one channel and reads 6 of 8.
    assert packets["channels", 36] == pytest.approx(8 * 4 * 6 / 8)
    # Kernels of 36 bytes do not fit 35: channels are split.
    assert packets["rows", 35] == pytest.approx(packets["channels", 36])


def test_layers_written_without_neurons_fire_what_the_next_one_receives():
    layers = [layer.model_copy(update={"consumers": ()}) for layer in two_layers().layers]
    bare = workload(layers[0].model_copy(update={"consumers": ("second",)}), layers[2])
    found = estimate(bare, toy_chip())
    # Four neurons in two steps, and the three spikes that `second` receives; then eight that are read out.
    assert found.energy_j["neurons"][0] * 1e12 == pytest.approx([4 * 2 * 4 + 3 * 5, 8 * 2 * 4])
    assert found.energy_j["network"][0, 1] * 1e12 == pytest.approx(6 * 7 + 3 * 11 + 3 * 13)


def depthwise(counts):
    """A depthwise layer of 4 channels on 8 positions, whose channels fire as `counts` say."""
    layer = linear("dw", 32, 32, (sum(counts),), ("n",))
    driver = layer.operands[0].model_copy(update={"channels": "dw/output"})
    bounds = Bounds(groups=4, in_channels=4, out_channels=4, in_size=(8, 1), out_size=(8, 1), kernel=(1, 1))
    layer = layer.model_copy(
        update={"operator": "conv", "bounds": bounds, "operands": (driver, weight(4)), "acs": sum(counts)}
    )
    return workload(layer, neurons("n", 32, (0,)), counts={"dw": [counts]})


def test_groups_of_channels_go_to_their_own_cores():
    room = toy_chip({"core.neurons": (16, "1")})
    # Two cores of two channels each: a spike reaches one of them. 8 packets and 8 operations.
    even, uneven = (estimate(depthwise(counts), room) for counts in ([2, 2, 2, 2], [6, 2, 0, 0]))
    for found in (even, uneven):
        assert found.energy_j["network"][0, 0] * 1e12 == pytest.approx(8 * 7)
    # The busiest core receives 4 of them, or all 8: (5 + 6) ns each.
    assert even.latency_s[0, 0] * 1e9 == pytest.approx(4 * 11)
    assert uneven.latency_s[0, 0] * 1e9 == pytest.approx(8 * 11)


@given(
    layers=st.integers(1, 4),
    size=st.integers(1, 40),
    steps=st.integers(1, 4),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=40, deadline=None)
def test_more_spikes_never_cost_less(layers, size, steps, rates):
    roomy = toy_chip({"mesh.columns": (32, "1"), "mesh.rows": (8, "1")})
    few, many = (estimate(chain(layers, size, steps, rate), roomy) for rate in sorted(rates))
    assert (few.total_latency_s <= many.total_latency_s * (1 + 1e-12)).all()
    for name in few.energy_j:
        assert (few.energy_j[name] <= many.energy_j[name] * (1 + 1e-12)).all()
    # What neurons cost besides their spikes never scales with the rate.
    state = few.traffic_bytes.keys() & {"neuron state"}
    assert all((few.traffic_bytes[name] == many.traffic_bytes[name]).all() for name in state)


@given(steps=st.integers(1, 5), more=st.integers(1, 5), size=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_timesteps_add_up(steps, more, size):
    roomy = toy_chip({"mesh.columns": (32, "1")})
    parts = [estimate(chain(2, size, count), roomy) for count in (steps, more)]
    whole = estimate(chain(2, size, steps + more), roomy)
    assert whole.total_energy_j == pytest.approx(sum(part.total_energy_j for part in parts))
    assert whole.total_latency_s == pytest.approx(sum(part.total_latency_s for part in parts))


def test_variants_are_what_each_chip_gives_alone():
    values = {"core.neurons": [1, 2, 3, 4, 8, 16], "synapse.time": [1e-9, 6e-9, 2e-9, 6e-9, 6e-9, 1e-9]}
    base = toy_chip({"mesh.columns": (4, "1"), "mesh.rows": (4, "1")})
    found = estimate_variants(two_layers(), base, values)
    for index in range(6):
        alone = toy_chip(
            {
                "mesh.columns": (4, "1"),
                "mesh.rows": (4, "1"),
                "core.neurons": (values["core.neurons"][index], "1"),
                "synapse.time": (values["synapse.time"][index] * 1e9, "ns"),
            }
        )
        single = estimate(two_layers(), alone)
        assert found.total_energy_j[0, index] == pytest.approx(single.total_energy_j[0])
        assert found.total_latency_s[0, index] == pytest.approx(single.total_latency_s[0])


def test_variants_that_do_not_hold_the_network_are_no_number_and_that_is_said():
    found = estimate_variants(two_layers(), toy_chip(), {"core.neurons": [1, 4, 2]})
    assert np.isnan(found.total_energy_j[0]).tolist() == [True, False, True]
    assert np.isnan(found.total_latency_s[0]).tolist() == [True, False, True]
    assert any(sentence.startswith("2 of 3 hardware variants do not hold") for sentence in found.assumptions)


NEUROMORPHIC = (
    *("loihi1", "loihi1_nahuku", "loihi2", "truenorth", "odin", "spinnaker1", "spinnaker2"),
    *("speck", "tianjic", "brainscales2", "seneca", "akida"),
)


@pytest.mark.parametrize("name", NEUROMORPHIC)
def test_shipped_chips_answer_what_they_do_not_refuse(name):
    found = estimate(chain(2, 16, 4), chip(name))
    low, high = 1, 2
    if "energy" in found.refused:
        assert found.total_energy_j is None
    else:
        assert 0 < found.total_energy_j[low] <= found.total_energy_j[0] <= found.total_energy_j[high]
    if "latency" in found.refused:
        assert found.total_latency_s is None
    else:
        assert 0 < found.total_latency_s[low] <= found.total_latency_s[0] <= found.total_latency_s[high]
    assert not set(chip(name).figures) & set(chip(name).settings.get("without", {}))
    assert found.cores.sum() >= 1


def test_cores_that_share_inputs_out_get_each_event_once() -> None:
    # 16,384 neurons feed 10 on TrueNorth: 64 cores share the 16,384 inputs, 256 each, so that an event goes to one
    # of them and not to all; the 16,384 neurons need 64 cores, and not 64 times as many for axons out.
    inputs, fired = 16384, 1638
    spikes = {"bits": 1, "signed": False, "form": "binary", "elements": inputs, "density": (fired / inputs,)}
    read = Operand(name="input", nonzero=(fired,), magnitude=(fired,), **spikes)
    weight = Operand(
        name="weight",
        role="weight",
        bits=1,
        signed=True,
        form="binary",
        elements=inputs * 10,
        nonzero=(1,),
        density=(1.0,),
    )
    bounds = Bounds(in_channels=inputs, out_channels=10, in_size=(1,), out_size=(1,))
    layers = (
        Layer(
            name="wide",
            operator="neuron",
            op="lif",
            timesteps=1,
            out_elements=inputs,
            consumers=("fc",),
            output=read.model_copy(update={"name": "output"}),
        ),
        Layer(
            name="fc",
            operator="linear",
            op="addmm",
            timesteps=1,
            bounds=bounds,
            operands=(read, weight),
            out_elements=10,
            acs=fired * 10,
            driven_by="input",
            consumers=("out",),
        ),
        Layer(name="out", operator="neuron", op="lif", timesteps=1, out_elements=10),
    )
    found = estimate(Workload(name="funnel", timesteps=1, batch=1, layers=layers), chip("truenorth"))
    assert found.cores is not None
    assert found.cores[0] == 64
