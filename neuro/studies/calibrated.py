"""Networks that are quantized for each point and calibrated, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hardware_models.studies.software import Band
from hardware_models.workload import Workload
from neuro.conversion.low_bit_run import run_low_bit_conversion
from neuro.conversion.low_bit_spec import resolve_low_bit_spec
from neuro.conversion.spec import merge_settings
from neuro.studies.cached import CachedNetworks, Settings, exact, settings_of, share


class CalibratedSettings(Settings):
    """Which network is quantized, and what it is judged on.

    Attributes:
        network: source and weights, as `network` of a low-bit specification: `{source: timm:resnet18, weights: FILE}`.
        data: labelled data for accuracies; unlabelled ones compare with the float network alone.
        compared_samples: held-out samples to judge on; null takes all labelled ones.
        samples: that are profiled.
        settings: anything else of a low-bit specification, nested.
    """

    network: dict[str, Any]
    data: str = "photos"
    compared_samples: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 4
    settings: dict[str, Any] = Field(default_factory=dict)


class CalibratedNetworks(CachedNetworks):
    """Low-bit variants by post-training quantization.

    Axes: `recipe` (`w8a8`, `w4a4`, `spike-w4`, ...) and, of recipes that fire, `timesteps`. Figures: `agreement` with
    the float network and `accuracy` where there are labels, both with their standard error; `stored_bits`; `macs`.

    Args:
        document: `software` of a study.
        cache: the folder of networks.

    Raises:
        InputError: settings that do not fit.
    """

    kind = "calibrated"
    axes = ("recipe", "timesteps")

    def __init__(self, document: Mapping[str, Any], cache: Path) -> None:
        self._given = settings_of(CalibratedSettings, document)
        unlabelled = self._given.data.split(":")[0] == "photos"
        known = ("agreement", "stored_bits", "macs")
        self.figures = known if unlabelled else (*known, "accuracy")
        super().__init__(self._given.model_dump(mode="json"), cache)

    def make(self, point: Mapping[str, Any], folder: Path) -> tuple[Workload, dict[str, Band]]:
        """Quantize, calibrate, compare and profile."""
        given = self._given
        own = {
            "network": given.network,
            "data": {"name": given.data},
            "method": "ptq",
            "chips": ["none"],
            "compared_samples": given.compared_samples,
            "profile_samples": given.samples,
        }
        spec = resolve_low_bit_spec(merge_settings(merge_settings(own, given.settings), dict(point)), "software")
        found = run_low_bit_conversion(spec)
        low_bit = found.record.low_bit
        assert low_bit is not None
        workload = found.workloads["low-bit"]
        figures = {
            "agreement": share(low_bit.agreement, low_bit.compared_samples),
            "stored_bits": exact(low_bit.stored_bits),
            "macs": exact(workload.macs),
        }
        right = next(row.accuracy for row in found.record.rows if row.key == "low-bit")
        if "accuracy" in self.figures and right is not None:
            figures["accuracy"] = share(right, low_bit.compared_samples)
        return workload, figures
