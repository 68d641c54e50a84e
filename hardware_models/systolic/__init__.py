"""Systolic arrays: output-, weight- and input-stationary, with SRAMs in front of one DRAM.

`simulate_gemm` and `simulate_conv` count cycles and words, by default as SCALE-Sim 3.0.0 does; the engine turns
them into energy and time.
"""

from hardware_models.systolic.counts import SystolicRun, simulate_gemm
from hardware_models.systolic.dram_traffic import DramTraffic, dram_traffic
from hardware_models.systolic.engine import FIGURES, Settings, evaluate
from hardware_models.systolic.lowering import lower_conv, simulate_conv

__all__ = [
    "FIGURES",
    "DramTraffic",
    "Settings",
    "SystolicRun",
    "dram_traffic",
    "evaluate",
    "lower_conv",
    "simulate_conv",
    "simulate_gemm",
]
