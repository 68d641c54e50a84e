"""Run any torch module on a batch, observe every operator, and build a Workload."""

from neuro.profiling.profile import profile

__all__ = ["profile"]
