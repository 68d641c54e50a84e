"""Training by surrogate gradient: loop, losses, schedule, checkpoints."""

from neuro.training.evaluate import accuracy
from neuro.training.loop import train
from neuro.training.settings import TrainingSettings

__all__ = ["TrainingSettings", "accuracy", "train"]
