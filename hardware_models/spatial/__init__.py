"""Arrays of multipliers under any hierarchy of memories: general loop nests with a mapping search."""

from hardware_models.spatial.engine import FIGURES, evaluate
from hardware_models.spatial.mapping import LevelSettings, Settings

__all__ = ["FIGURES", "LevelSettings", "Settings", "evaluate"]
