"""Sobol's indices: the share of a result's variance that each of its inputs explains, alone and in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardware_models.errors import InputError
from hardware_models.totals import Floats
from hardware_models.whole_numbers import whole_numbers


@dataclass(frozen=True, eq=False)
class SobolIndices:
    """Indices of F inputs of one or more results; `...` are the results' own axes.

    Attributes:
        first: share that input f explains alone, `[..., F]`.
        total: share that vanishes only if f and all its interactions do, `[..., F]`.
        first_error, total_error: standard errors of the estimates, `[..., F]`.
        mean, variance: of the results, `[...]`.
        evaluations: how often the function was evaluated.
    """

    first: Floats
    total: Floats
    first_error: Floats
    total_error: Floats
    mean: Floats
    variance: Floats
    evaluations: int


def sobol_indices(function: Callable[[Floats], Floats], inputs: int, samples: int, seed: int = 0) -> SobolIndices:
    """Estimate the indices of `function` by Saltelli's sampling of N (F + 2) points.

    A and B are two samples `[N, F]` of the unit cube, A_B^f is A with column f of B, V the variance:

        first_f = mean(f(B) (f(A_B^f) - f(A))) / V             (Saltelli et al. 2010, table 2, b)
        total_f = mean((f(A) - f(A_B^f))^2) / (2 V)            (Jansen 1999; table 2, f)

    A and B are the halves of one Latin hypercube of 2 F columns. The mean is taken off the results first, which leaves
    the expectations and lessens the scatter.

    Args:
        function: of points `[M, F]` in the unit cube, inputs independent and uniform; returns `[..., M]`.
        inputs: F.
        samples: N, at least 2.
        seed: of the points.

    Raises:
        InputError: a result that is not finite, or that does not vary.

    Source: A. Saltelli et al., Variance based sensitivity analysis of model output, Computer Physics Communications
    181, 2010.
    """
    inputs = int(whole_numbers("inputs", inputs))
    samples = int(whole_numbers("samples", samples, least=2))
    both = latin_hypercube(samples, 2 * inputs, int(whole_numbers("seed", seed, least=0)))
    first_half, second_half = both[:, :inputs], both[:, inputs:]
    mixed = np.repeat(first_half[None], inputs, axis=0)
    for column in range(inputs):
        mixed[column, :, column] = second_half[:, column]
    points = np.concatenate([first_half, second_half, *mixed])
    results = np.asarray(function(points), dtype=np.float64)
    if not np.isfinite(results).all():
        raise InputError("the result is not finite everywhere, so that it has no variance; leave out what cannot be.")
    results = results.reshape(*results.shape[:-1], inputs + 2, samples)
    plain = results[..., :2, :].reshape(*results.shape[:-2], 2 * samples)
    mean, variance = plain.mean(axis=-1), plain.var(axis=-1)
    if (variance <= (1e-12 * np.abs(mean)) ** 2).any():
        raise InputError("the result does not vary, so that there is nothing to explain; leave it out.")
    centred = results - mean[..., None, None]
    at_first, at_second, at_mixed = centred[..., :1, :], centred[..., 1:2, :], centred[..., 2:, :]
    alone = at_second * (at_mixed - at_first) / variance[..., None, None]
    whole = (at_first - at_mixed) ** 2 / (2 * variance[..., None, None])
    return SobolIndices(
        first=alone.mean(axis=-1),
        total=whole.mean(axis=-1),
        first_error=alone.std(axis=-1) / np.sqrt(samples),
        total_error=whole.std(axis=-1) / np.sqrt(samples),
        mean=mean,
        variance=variance,
        evaluations=len(points),
    )


def latin_hypercube(samples: int, dimensions: int, seed: int) -> Floats:
    """Return points of the unit cube, `[samples, dimensions]`, of each dimension one in every 1/samples."""
    random = np.random.default_rng(seed)
    rows = np.tile(np.arange(samples)[:, None], dimensions)
    points: Floats = (random.permuted(rows, axis=0) + random.random((samples, dimensions))) / samples
    return points
