"""GPUs, NPUs and microcontrollers, whose layers are limited by arithmetic or by memory."""

from hardware_models.roofline.engine import FIGURES, Settings, evaluate
from hardware_models.roofline.waterline import EfficiencyGap, Waterline, attainable_time, efficiency_gap, waterline

__all__ = [
    "FIGURES",
    "EfficiencyGap",
    "Settings",
    "Waterline",
    "attainable_time",
    "efficiency_gap",
    "evaluate",
    "waterline",
]
