"""The volume that a front dominates, exactly.

Two objectives: a sweep. Three: slices along the third, the area of each kept up to date by a sorted staircase, in the
manner of Beume, Fonseca, Lopez-Ibanez, Paquete, Vahrenhold, IEEE TEVC 13(5), 2009. More: WFG, the sum of what each
point adds to those after it (While, Bradstreet, Barone, IEEE TEVC 16(1), 2012); its time grows exponentially with
the number of objectives, so keep that at six or less, or the front small.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.studies.dominance import dominated
from hardware_models.studies.pareto import Floats, Sense, minimised


def hypervolume(front: npt.ArrayLike, reference: npt.ArrayLike, senses: Sequence[Sense] | None = None) -> float:
    """Return the volume of the union of the boxes between each point of `front` `[N, M]` and `reference` `[M]`.

    A point that is not better than the reference in every objective spans no box. Dominated points change nothing.

    Args:
        front: the points, finite.
        reference: the worst corner, finite.
        senses: `minimise` or `maximise` for each objective.

    Raises:
        InputError: NaN or infinite numbers, or shapes that do not fit.
    """
    corner = minimised(np.atleast_1d(np.asarray(reference))[None], senses)[0]
    given = np.asarray(front, dtype=np.float64)
    points = minimised(given.reshape(0, len(corner)) if not given.size else given, senses)
    if points.shape[1] != len(corner):
        raise InputError(f"points have {points.shape[1]} objectives and the reference {len(corner)}; give as many.")
    if not (np.isfinite(points).all() and np.isfinite(corner).all()):
        raise InputError("an infinite objective spans no finite volume; leave that point out, or mend the reference.")
    # Distances from the reference, larger is better: a box is their product.
    spans = corner - points[(points < corner).all(axis=1)]
    return _volume(_front(spans))


def _front(spans: Floats) -> Floats:
    """Return the distinct rows of `spans` `[N, M]` that no other dominates, the largest first objective first."""
    distinct = np.unique(spans, axis=0)[::-1]
    return distinct[~dominated(-distinct, -distinct)]


def _volume(spans: Floats) -> float:
    """Return the volume of the boxes of `spans`, a front as `_front` returns it."""
    if len(spans) < 2:
        return float(spans.prod(axis=1).sum())
    if spans.shape[1] == 1:
        return float(spans.max())
    if spans.shape[1] == 2:
        return _area(spans)
    if spans.shape[1] == 3:
        return _sweep(spans)
    # The last objective is the same for a point and what others share with it, once points come by it.
    ordered = spans[np.argsort(spans[:, -1], kind="stable")]
    return sum(_alone(point, ordered[index + 1 :]) for index, point in enumerate(ordered))


def _alone(point: Floats, others: Floats) -> float:
    """Return the part of the box of `point` that no box of `others`, all at least as long in the last, covers."""
    shared = np.minimum(others[:, :-1], point[:-1])
    inside = _volume(_front(shared)) if len(shared) else 0.0
    return float(point[-1]) * (float(point[:-1].prod()) - inside)


def _area(spans: Floats) -> float:
    """Return the area of boxes that come by a falling first side, and so by a rising second."""
    second = spans[:, 1]
    return float((spans[:, 0] * np.diff(second, prepend=0.0)).sum())


def _sweep(spans: Floats) -> float:
    """Return the volume of three-dimensional boxes, from the longest third side down."""
    firsts: list[float] = []  # of the staircase, rising
    seconds: list[float] = []  # falling
    volume, area, height = 0.0, 0.0, 0.0
    ordered = spans[np.argsort(-spans[:, 2], kind="stable")].tolist()
    for first, second, third in ordered:
        volume += area * (height - third)
        height = third
        area += _step(firsts, seconds, first, second)
    return volume + area * height


def _step(firsts: list[float], seconds: list[float], first: float, second: float) -> float:
    """Put a box on the staircase; return the area that it adds."""
    right = bisect.bisect_left(firsts, first)
    if right < len(firsts) and seconds[right] >= second:
        return 0.0
    floor = seconds[right] if right < len(firsts) else 0.0
    stop = right + (right < len(firsts) and firsts[right] == first)
    start, edge, added = right, first, 0.0
    while start and seconds[start - 1] <= second:
        # Between this step's edge and the next one's, what was covered is lower than the new box.
        added += (edge - firsts[start - 1]) * (second - floor)
        start -= 1
        edge, floor = firsts[start], seconds[start]
    added += (edge - (firsts[start - 1] if start else 0.0)) * (second - floor)
    firsts[start:stop], seconds[start:stop] = [first], [second]
    return added
