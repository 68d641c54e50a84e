"""The learning rate over the steps of a training."""

from __future__ import annotations

import math


def warmup_cosine(step: int, total_steps: int, warmup_steps: int, peak: float, end: float) -> float:
    """Return the learning rate of `step` (from 0): linear to `peak`, then half a cosine down to `end`.

    step < w:   peak (step + 1) / w
    otherwise:  end + (peak - end) (1 + cos(pi (step - w) / (total - w))) / 2
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
