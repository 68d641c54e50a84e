"""In-memory computing: weights stay in arrays of cells, and a read multiplies and adds."""

from hardware_models.crossbar.activity import Settings
from hardware_models.crossbar.engine import FIGURES, evaluate
from hardware_models.crossbar.tiling import Tiling, adc_energy, exact_adc_bits, phases, tile

__all__ = ["FIGURES", "Settings", "Tiling", "adc_energy", "evaluate", "exact_adc_bits", "phases", "tile"]
