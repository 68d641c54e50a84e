"""The software side of co-design studies: networks that are profiled, calibrated or trained for each point."""
