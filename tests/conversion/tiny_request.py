"""What the tests of a conversion ask for: everything real, and as small as it gets."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "model": {"overrides": {"widths": [8, 8, 8, 8]}, "timesteps": 2},
    "data": {"train_limit": 40, "test_limit": 20},
    "training": {"epochs": 1, "batch_size": 20},
    "profile_samples": 4,
}
"""Settings of a run that takes two seconds."""
