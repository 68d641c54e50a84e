"""`estimate`: figures worked by hand, bands, refusals, and the forms it is printed in."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from workload_builders import linear, operand, other, spikes, workload

from hardware_models.chip import Chip, chip
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.variants import estimate_variants

NETWORK = workload(
    linear(
        "fc", 16, 16, 16, operand("input", "integer", 8, elements=256), operand("weight", "integer", 8, elements=256)
    ),
    other("sum", "add"),
)
"""One product [16, 16] x [16, 16] of 8-bit integers that fills a 16 x 16 array once."""


def changed(name: str, figures: dict[str, Any] | None = None, drop: str = "", **changes: Any) -> Chip:
    """A shipped chip with some of its entries changed."""
    shipped = chip(name)
    kept = {key: figure for key, figure in shipped.figures.items() if key != drop}
    for key, (value, low, high) in (figures or {}).items():
        kept[key] = kept[key].model_copy(update={"value": value, "low": low, "high": high})
    return shipped.model_copy(update={"figures": kept, **changes})


def test_one_product_on_a_16_by_16_array() -> None:
    found = estimate(NETWORK, chip("generic_45nm"))
    # Output-stationary: one fold of K + rows + cols - 2 = 16 + 16 + 16 - 2 cycles at 500 MHz.
    assert found.cycles is not None
    assert found.cycles[0] == 46
    assert found.total_latency_s is not None
    assert found.total_latency_s[0] == pytest.approx(92e-9)
    # 16^3 multiply-accumulates of 0.3 pJ (0.23 to 0.6).
    assert found.energy_j["compute"][:, 0] == pytest.approx(np.array([0.3, 0.23, 0.6]) * 1e-12 * 4096)
    # 256 inputs and 256 weights of 8 bits come from DRAM at 30.5 pJ a bit; 256 results of 8 bits go there.
    assert found.energy_j["dram"][0, 0] == pytest.approx(3 * 256 * 8 * 30.5e-12)
    assert found.traffic_bytes["dram"][0] == 3 * 256
    # 46 cycles of 256 elements for 4096 multiply-accumulates.
    assert found.utilization is not None
    assert found.utilization[0] == pytest.approx(4096 / (46 * 256))


def test_the_total_is_the_sum_of_its_parts() -> None:
    found = estimate(NETWORK, chip("generic_45nm"))
    assert found.total_energy_j == pytest.approx(sum(values.sum(axis=1) for values in found.energy_j.values()))


def test_the_band_holds_the_value_and_follows_the_figures() -> None:
    found = estimate(NETWORK, changed("generic_45nm", {"dram.energy": (30.0, 30.0, 60.0)}))
    assert found.energy_j["dram"][:, 0] == pytest.approx(3 * 256 * 8 * np.array([30, 30, 60]) * 1e-12)
    assert found.total_energy_j is not None
    value, low, high = found.total_energy_j
    assert low <= value <= high


def test_a_monte_carlo_band_is_narrower_than_the_corners() -> None:
    corners = estimate(NETWORK, chip("generic_45nm")).total_energy_j
    drawn = estimate(NETWORK, chip("generic_45nm"), samples=400, seed=3).total_energy_j
    again = estimate(NETWORK, chip("generic_45nm"), samples=400, seed=3).total_energy_j
    assert corners is not None
    assert drawn is not None
    assert (drawn == again).all()
    assert corners[1] < drawn[1] < drawn[2] < corners[2]
    assert drawn[0] == corners[0]


def test_what_is_left_out_is_named_with_its_reason() -> None:
    found = estimate(NETWORK, chip("generic_45nm"))
    assert list(found.left_out) == ["sum"]
    assert "vector unit" in found.left_out["sum"]
    assert found.covered == 1.0


def test_a_missing_figure_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"chip 'generic_45nm' has no figure 'dram\.energy', which is needed for DRAM"):
        estimate(NETWORK, changed("generic_45nm", drop="dram.energy"))


def test_a_question_that_a_chip_refuses_needs_no_figures() -> None:
    silent = changed("generic_45nm", drop="dram.energy", refuses={"energy": "its DRAM was never measured"})
    found = estimate(NETWORK, silent)
    assert found.total_energy_j is None
    assert found.energy_j == {}
    assert found.total_latency_s is not None
    assert found.to_document()["total"]["energy_j"] is None
    assert found.to_document()["refused"] == {"energy": "its DRAM was never measured"}


def test_a_network_without_products_is_refused() -> None:
    with pytest.raises(InputError, match="has no convolution, linear layer or matrix product"):
        estimate(workload(other("sum", "add")), chip("generic_45nm"))


def test_step_by_step_fetches_the_weights_in_every_timestep() -> None:
    layer = linear("fc", 1, 16, 16, spikes(0.5, 0.5, 0.5, 0.5), operand("weight", "integer", 8, elements=256))
    spiking = workload(layer.model_copy(update={"timesteps": 4, "driven_by": "input", "acs": 3200}), timesteps=4)
    batched, steps = (estimate(spiking, chip("generic_45nm"), Run(mode)) for mode in ("time-batched", "step-by-step"))
    assert steps.traffic_bytes["dram"][0] - batched.traffic_bytes["dram"][0] == 3 * 256


def test_the_weakest_evidence_is_named() -> None:
    assert estimate(NETWORK, chip("generic_45nm")).grade == "assumed"


def test_json_and_csv_hold_the_same_figures() -> None:
    found = estimate(NETWORK, chip("generic_45nm"))
    document = json.loads(found.to_json())
    lines = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [line["layer"] for line in lines] == ["fc", "sum", "total"]
    total = document["total"]["energy_j"]
    assert float(lines[-1]["energy_j"]) == total["value"]
    assert float(lines[-1]["energy_low_j"]) == total["low"]
    assert float(lines[-1]["latency_s"]) == document["total"]["latency_s"]["value"]
    assert document["layers"][0]["traffic_bytes"]["dram"] == float(lines[0]["dram_bytes"])
    assert document["figures"]["mac.energy"]["source"]


def totals(found: Estimate) -> tuple[list[float], list[float]]:
    assert found.total_energy_j is not None
    assert found.total_latency_s is not None
    return found.total_energy_j.tolist(), found.total_latency_s.tolist()


def test_variants_equal_one_chip_after_the_other() -> None:
    rows, energies = [8, 16, 32], [0.1e-12, 0.3e-12, 0.6e-12]
    many = estimate_variants(NETWORK, chip("generic_45nm"), {"array.rows": rows, "mac.energy": energies})
    for index, (row, energy) in enumerate(zip(rows, energies, strict=True)):
        picojoules = energy * 1e12
        one = changed(
            "generic_45nm",
            {"array.rows": (row, None, None), "mac.energy": (picojoules, picojoules * 0.23 / 0.3, picojoules * 2)},
        )
        expected = totals(estimate(NETWORK, one))
        assert many.total_energy_j is not None
        assert many.total_latency_s is not None
        assert many.total_energy_j[:, index] == pytest.approx(expected[0])
        assert many.total_latency_s[:, index] == pytest.approx(expected[1])


def test_blocks_of_variants_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"mac.energy": np.linspace(1e-13, 1e-12, 50)}
    whole = estimate_variants(NETWORK, chip("generic_45nm"), variants)
    monkeypatch.setattr("hardware_models.variants.BLOCK_ELEMENTS", 40)
    blocks = estimate_variants(NETWORK, chip("generic_45nm"), variants)
    assert whole.total_energy_j is not None
    assert blocks.total_energy_j is not None
    assert (whole.total_energy_j == blocks.total_energy_j).all()
    assert whole.total_energy_j.shape == (3, 50)


def test_an_unknown_execution_is_refused() -> None:
    with pytest.raises(InputError, match="unknown execution 'batched'; did you mean 'time-batched'"):
        estimate(NETWORK, chip("generic_45nm"), Run("batched"))  # type: ignore[arg-type]


def test_a_monte_carlo_band_holds_the_value() -> None:
    # Figures at the low end of their bands: every draw lies above the value.
    one = changed("generic_45nm", {"mac.energy": (1, 1, 5), "dram.energy": (1, 1, 5)})
    found = estimate(NETWORK, one, samples=50)
    for total in (found.total_energy_j, found.total_latency_s):
        assert total is not None
        assert total[1] <= total[0] <= total[2]
