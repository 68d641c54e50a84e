"""`python -m neuro`."""

from neuro.cli import entry_point

entry_point()
