"""Networks whose values are sent as spikes: how they are coded, rewritten, calibrated and run."""
