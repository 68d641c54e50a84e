"""Beta(alpha, alpha) from even random numbers alone, so that a seed means the same everywhere.

torch's own Beta distribution takes no generator.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

import torch


def symmetric_beta(alpha: float, generator: torch.Generator) -> float:
    """Return one number of Beta(alpha, alpha), alpha > 0.

    Sources: M. D. Jöhnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", Metrika 8, 1964, up to
    alpha = 1; R. C. H. Cheng, "Generating beta variates with nonintegral shape parameters", CACM 21(4), 1978
    (algorithm BB) above.
    """
    while True:
        drawn = torch.rand(2, generator=generator, dtype=torch.float64, device=generator.device)
        first, second = (1 - drawn).tolist()  # in (0, 1]: their logarithms are finite
        found = _johnk(alpha, first, second) if alpha <= 1 else _cheng(alpha, first, second)
        if found is not None:
            return found


def _johnk(alpha: float, first: float, second: float) -> float | None:
    """Return `x / (x + y)` of `x = u^(1/alpha)`, `y = v^(1/alpha)`, or None where `x + y > 1`."""
    log_x, log_y = log(first) / alpha, log(second) / alpha
    larger = max(log_x, log_y)  # for a small alpha both x and y would underflow
    log_sum = larger + log(exp(log_x - larger) + exp(log_y - larger))
    return None if log_sum > 0 else exp(log_x - log_sum)


def _cheng(alpha: float, first: float, second: float) -> float | None:
    """Return `w / (alpha + w)` of the odds `w`, or None where it is rejected."""
    if first == 1:
        return None
    beta = sqrt((2 * alpha - 2) / (2 * alpha * alpha - 2 * alpha))
    gamma = alpha + 1 / beta
    odds = beta * log(first / (1 - first))
    w = alpha * exp(odds) if odds < 700 else inf
    if w == inf:
        return None
    bound = gamma * odds - log(4) + 2 * alpha * log(2 * alpha / (alpha + w))
    return w / (alpha + w) if bound >= log(first * first * second) else None
