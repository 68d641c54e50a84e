"""From an architecture to a trained, measured and costed variant, and its run directory."""
