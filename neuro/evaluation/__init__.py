"""How good a trained network is: over time, with early exit, on corrupted images, by class, and at what cost."""

from neuro.evaluation.anytime import accuracy_at, anytime_accuracy
from neuro.evaluation.confusion import Confusion, confusion
from neuro.evaluation.corrupted import corrupted
from neuro.evaluation.corruptions import CORRUPTIONS, corrupt
from neuro.evaluation.cost import Cost, cost_of, costs
from neuro.evaluation.early_exit import ExitPoint, early_exit, exit_sweep, with_energy
from neuro.evaluation.logits import Answers, TimeFirst, step_logits
from neuro.evaluation.record import EvaluationRecord, TimestepRow, standard_error, timestep_rows
from neuro.evaluation.robustness import Robustness, robustness

__all__ = [
    "CORRUPTIONS",
    "Answers",
    "Confusion",
    "Cost",
    "EvaluationRecord",
    "ExitPoint",
    "Robustness",
    "TimeFirst",
    "TimestepRow",
    "accuracy_at",
    "anytime_accuracy",
    "confusion",
    "corrupt",
    "corrupted",
    "cost_of",
    "costs",
    "early_exit",
    "exit_sweep",
    "robustness",
    "standard_error",
    "step_logits",
    "timestep_rows",
    "with_energy",
]
