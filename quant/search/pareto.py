"""Points that no other beats, and the space that they dominate. All objectives are minimised."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def on_front(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which of `points` `[N, D]` no other dominates, `[N]`; of equal ones the first.

    One dominates another where it is no worse in any objective and better in one.
    """
    values = np.asarray(points, dtype=np.float64)
    kept = np.ones(len(values), dtype=bool)
    for index, point in enumerate(values):
        no_worse = (values <= point).all(axis=1)
        better = (values < point).any(axis=1)
        same_before = no_worse & ~better & (np.arange(len(values)) < index)
        kept[index] = not bool((no_worse & better).any() or same_before.any())
    return kept


def ranks(points: npt.ArrayLike, enough: int) -> list[int]:
    """Return indices of `points` `[N, D]`, one front after the other, until there are `enough`."""
    values = np.asarray(points, dtype=np.float64)
    left = np.arange(len(values))
    found: list[int] = []
    while len(left) and len(found) < enough:
        front = on_front(values[left])
        found += left[front].tolist()
        left = left[~front]
    return found


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the volume that is dominated by `points` `[N, D]` and bounded by `reference` `[D]`.

    Points beyond the reference count nothing. Exact: slices along the last objective, O(N^(D-1) log N) (Zitzler's
    hypervolume by slicing objectives, While et al., IEEE TEVC 10(1), 2006).
    """
    corner = np.asarray(reference, dtype=np.float64)
    values = np.asarray(points, dtype=np.float64).reshape(-1, len(corner))
    inside = values[(values < corner).all(axis=1)]
    return _volume(inside[on_front(inside)], corner)


def _volume(points: Floats, corner: Floats) -> float:
    if not len(points):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    if len(corner) == 2:
        return _area(points, corner)
    points = points[np.argsort(points[:, -1], kind="stable")]
    edges = np.append(points[:, -1], corner[-1])
    return float(
        sum(
            (edges[i + 1] - edges[i]) * _volume(points[: i + 1, :-1], corner[:-1])
            for i in range(len(points))
            if edges[i + 1] > edges[i]
        )
    )


def _area(points: Floats, corner: Floats) -> float:
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    lowest = np.minimum.accumulate(ordered[:, 1])
    widths = np.diff(np.append(ordered[:, 0], corner[0]))
    return float((widths * (corner[1] - lowest)).sum())


def gain(point: npt.ArrayLike, front: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return how much `point` `[D]` adds to the hypervolume of `front` `[M, D]`.

    The box from the point to the reference, less what of it the front dominates.
    """
    corner, one = np.asarray(reference, dtype=np.float64), np.asarray(point, dtype=np.float64)
    if not bool((one < corner).all()):
        return 0.0
    others = np.maximum(np.asarray(front, dtype=np.float64).reshape(-1, len(corner)), one)
    return float(np.prod(corner - one)) - hypervolume(others, corner)


def most_gain(front: npt.ArrayLike, candidates: npt.ArrayLike, reference: Floats, count: int) -> list[int]:
    """Return up to `count` indices of `candidates` `[N, D]` that enlarge the hypervolume of `front` `[M, D]` most.

    Greedy, one after the other: gains only fall as points are taken, so an old gain bounds a new one.
    """
    taken = np.asarray(front, dtype=np.float64).reshape(-1, len(reference))
    offered = np.asarray(candidates, dtype=np.float64).reshape(-1, len(reference))
    gains = [gain(one, taken, reference) for one in offered]
    chosen: list[int] = []
    while len(chosen) < min(count, len(offered)):
        fresh: set[int] = set()
        while True:
            best = max((i for i in range(len(offered)) if i not in chosen), key=lambda i: gains[i])
            if best in fresh:
                break
            gains[best] = gain(offered[best], taken, reference)
            fresh.add(best)
        chosen.append(best)
        taken = np.concatenate([taken, offered[best][None]])
    return chosen
