"""Row-stationary arrays in the manner of Eyeriss."""

from hardware_models.row_stationary.counts import RowStationaryCounts, row_stationary
from hardware_models.row_stationary.engine import FIGURES, Settings, evaluate, latency_with_link

__all__ = ["FIGURES", "RowStationaryCounts", "Settings", "evaluate", "latency_with_link", "row_stationary"]
