"""The scorecard: how far the hardware models are from silicon and from other simulators.

One file for each target. Golden figures stand in `data/` with their provenance in the first lines; what was
fitted, and on what, is said in each row. A row that is bad stays in the table.
"""
