import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_models.errors import InputError
from hardware_models.quantity import Quantity
from hardware_models.scaling import NODES, scale_area, scale_delay, scale_energy, scale_power, scaling_factor

NOMINAL = {180: 1.8, 130: 1.3, 90: 1.2, 65: 1.1, 45: 1.0, 32: 0.9, 20: 0.9, 16: 0.85, 14: 0.8, 10: 0.75, 7: 0.7}
"""Supply voltages of the predictive technology models."""


def energy(value: float = 1.0, unit: str = "pJ", **extra: object) -> Quantity:
    return Quantity(value=value, unit=unit, source="a chip", **({"grade": "silicon"} | extra))


def test_the_papers_own_example() -> None:
    # Corrigendum to section 4.2.1: 1 pJ at 65 nm and 1.3 V becomes 0.1755 pJ at 32 nm and 0.9 V:
    # 0.8367 * 0.81 - 0.4341 * 0.9 + 0.1701 = 0.4571; 3.755 * 1.69 - 4.398 * 1.3 + 1.975 = 2.604.
    assert scaling_factor("energy", 32, 0.9) == pytest.approx(0.4571, abs=5e-5)
    assert scaling_factor("energy", 65, 1.3) == pytest.approx(2.604, abs=5e-4)
    assert scale_energy(energy(), 65, 32, 1.3, 0.9).value == pytest.approx(0.1755, abs=1e-4)


def test_transistors_of_low_power_by_hand() -> None:
    # 45 nm, 1 V: 1.103 - 0.362 + 0.2767 = 1.0177; high performance: 1.018 - 0.3107 + 0.1539 = 0.8612.
    assert scaling_factor("energy", 45, 1.0, "low-power") == pytest.approx(1.0177)
    assert scaling_factor("energy", 45, 1.0) == pytest.approx(0.8612)
    # Delay at 130 nm, 1 V: -76.65 + 334.9 - 493.4 + 275.8.
    assert scaling_factor("delay", 130, 1.0) == pytest.approx(40.65)


def test_the_result_says_where_it_comes_from() -> None:
    scaled = scale_energy(energy(conditions="16-bit MAC"), 65, 45, 1.0, 0.9)
    assert scaled.grade == "derived"
    assert scaled.conditions.startswith("16-bit MAC; scaled from 65 nm at 1 V to 45 nm at 0.9 V")
    assert scaled.source == "a chip; scaled by Stillmaker and Baas 2017"
    assert scale_energy(energy(grade="assumed"), 65, 45, 1.0, 0.9).grade == "assumed"


@pytest.mark.parametrize("node", NODES)
def test_no_step_changes_nothing(node: int) -> None:
    figure = energy(low=0.5, high=2)
    assert scale_energy(figure, node, node, NOMINAL[node], NOMINAL[node]) == figure


@given(st.sampled_from(NODES), st.sampled_from(NODES), st.floats(0.01, 100))
def test_there_and_back(first: int, second: int, value: float) -> None:
    there = scale_energy(energy(value), first, second, NOMINAL[first], NOMINAL[second])
    back = scale_energy(there, second, first, NOMINAL[second], NOMINAL[first])
    assert back.value == pytest.approx(value, rel=1e-9)
    low, high = back.band
    assert low <= value * (1 + 1e-9)
    assert high >= value * (1 - 1e-9)


@given(st.sampled_from(NODES), st.sampled_from(NODES))
def test_areas_there_and_back_within_the_tables_two_digits(first: int, second: int) -> None:
    there = scale_area(energy(1, "mm2"), first, second)
    assert scale_area(there, second, first).value == pytest.approx(1, rel=0.06)


def test_energy_and_area_fall_with_the_node_and_energy_rises_with_the_voltage() -> None:
    energies = [scaling_factor("energy", node, NOMINAL[node]) for node in NODES]
    assert energies == sorted(energies, reverse=True)
    areas = [scale_area(energy(1, "mm2"), 180, node).value for node in NODES]
    assert areas == sorted(areas, reverse=True)
    for node in NODES:
        # From 0.8 V, where every node's fit of energy rises; 180 nm has no sense below that.
        rising = [scaling_factor("energy", node, volts) for volts in (0.8, 0.9, 1.0, 1.1, 1.2)]
        assert rising == sorted(rising)


def test_the_band_holds_both_kinds_of_transistor_where_the_kind_is_unknown() -> None:
    # 130 -> 7 nm: high performance 0.0478 / 6.30, low power 0.0425 / 6.30; widened by 22.4 % each way.
    unknown = scale_energy(energy(100), 130, 7, 1.3, 0.7)
    known = scale_energy(energy(100), 130, 7, 1.3, 0.7, "high-performance")
    low_power = scale_energy(energy(100), 130, 7, 1.3, 0.7, "low-power")
    assert unknown.value == known.value
    assert unknown.band == pytest.approx((low_power.band[0], known.band[1]))
    assert known.band[1] / known.value == pytest.approx(1.2236, abs=1e-4)
    assert known.band[0] / known.value == pytest.approx(0.7764, abs=1e-4)


def test_the_quantitys_own_band_is_kept() -> None:
    scaled = scale_energy(energy(2, low=1, high=4), 65, 45, 1.0, 1.0, "high-performance")
    assert scaled.band[0] == pytest.approx(0.5 * scaled.value * 0.7764, rel=1e-3)
    assert scaled.band[1] == pytest.approx(2 * scaled.value * 1.2236, rel=1e-3)


def test_delay_power_and_energy_per_bit() -> None:
    # 130 nm at 1 V to 90 nm at 1 V: -60.34 + 262.5 - 384.2 + 210.9 = 28.86, over 40.65.
    assert scale_delay(energy(1, "ns"), 130, 90, 1.0, 1.0).value == pytest.approx(28.86 / 40.65)
    # (17320 - 11230 + 4328) / (27020 - 15450 + 5630)
    assert scale_power(energy(1, "mW"), 130, 90, 1.0, 1.0).value == pytest.approx(10418 / 17200)
    assert scale_energy(energy(1, "pJ/bit"), 130, 90, 1.0, 1.0).unit == "pJ/bit"
    assert scale_area(energy(1, "mm2"), 65, 45).value == 0.66


@pytest.mark.parametrize(("node", "nearest"), [(28, "32 and 20"), (5, "7"), (250, "180"), (22, "32 and 20")])
def test_a_node_outside_the_table_is_refused_with_the_nearest(node: int, nearest: str) -> None:
    for call in (
        lambda: scale_energy(energy(), 65, node, 1.0, 0.9),
        lambda: scale_energy(energy(), node, 65, 0.9, 1.0),
        lambda: scale_area(energy(1, "mm2"), 65, node),
    ):
        with pytest.raises(InputError, match=f"{node} nm is no node .* nearest are {nearest} nm"):
            call()


@pytest.mark.parametrize(("node", "volts"), [(65, 0.5), (180, 0.7), (7, 0.2), (45, 5.0), (45, float("nan"))])
def test_a_voltage_outside_the_fits_is_refused(node: int, volts: float) -> None:
    with pytest.raises(InputError, match=f"V lies outside .* energy of {node} nm"):
        scale_energy(energy(), 90, node, 1.2, volts)


def test_another_kind_of_quantity_is_refused() -> None:
    with pytest.raises(InputError, match="a quantity in ns is no energy; give one in J"):
        scale_energy(energy(1, "ns"), 65, 45, 1.0, 1.0)
    with pytest.raises(InputError, match="a quantity in pJ is no area"):
        scale_area(energy(), 65, 45)
