"""Trainings as documents: what is trained on what, the run, and the way back to the trained network."""
