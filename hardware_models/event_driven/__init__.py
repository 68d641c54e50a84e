"""Neuromorphic many-core chips: allocation to cores, placement on a mesh, and time and energy from the events."""

from hardware_models.event_driven.engine import FIGURES, Settings, evaluate

__all__ = ["FIGURES", "Settings", "evaluate"]
