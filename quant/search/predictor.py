"""From a configuration to the error of its network: a regression on the configurations that were measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from quant.search.nsga2 import Configuration
from quant.search.pareto import Floats

FEWEST: Final = 4
"""Configurations that a predictor needs to learn from."""
_FOLDS: Final = 5
_FLOOR: Final = 1e-3
"""Errors below this share of the largest are as good as none."""


class Predictor:
    """Predicts errors; ridge regression or gradient boosting, whichever predicts left-out configurations better.

    Both learn log(error + floor): errors of single layers multiply rather than add over the decades between a network
    that is as good as its float form and one that guesses. Ridge takes every value of every variable as a feature of
    its own (one-hot), so that no order or distance of widths is presumed; boosting takes their indices.

    Attributes:
        kind: `ridge` or `boosting`; empty before `fit`.

    Args:
        sizes: how many values each variable has.
        seed: of folds and trees.
    """

    def __init__(self, sizes: Sequence[int], seed: int = 0) -> None:
        self.sizes, self.seed, self.kind = tuple(sizes), seed, ""
        self._model: Any = None
        self._floor = 0.0

    def fit(self, configurations: Sequence[Configuration], errors: Sequence[float]) -> Predictor:
        """Learn from measured configurations; return itself.

        Raises:
            InputError: fewer than four of them, or errors that are negative or not finite.
        """
        values = np.asarray(errors, dtype=np.float64)
        if len(values) < FEWEST:
            raise InputError(f"a predictor was given {len(values)} configurations; give at least {FEWEST}.")
        if not bool((np.isfinite(values) & (values >= 0)).all()):
            raise InputError("an error is negative or not finite; give errors of at least 0.")
        self._floor = _FLOOR * float(values.max()) or 1.0
        target = np.log(values + self._floor)
        indices = np.array(configurations, dtype=np.int64)
        models = self._models()
        losses = {kind: self._left_out(make, indices, target, kind) for kind, make in models.items()}
        self.kind = min(losses, key=lambda kind: losses[kind])
        self._model = models[self.kind]().fit(self._encoded(indices, self.kind), target)
        return self

    def __call__(self, configurations: Sequence[Configuration]) -> Floats:
        """Return the errors `[N]` expected of N configurations."""
        if self._model is None:
            raise InputError("the predictor has learned nothing yet; call fit first.")
        encoded = self._encoded(np.array(configurations, dtype=np.int64), self.kind)
        expected: Floats = np.exp(self._model.predict(encoded)) - self._floor
        return np.maximum(expected, 0.0)

    def _models(self) -> dict[str, Callable[[], Any]]:
        from sklearn.ensemble import GradientBoostingRegressor
        from sklearn.linear_model import RidgeCV

        return {
            "ridge": lambda: RidgeCV(alphas=np.logspace(-2, 2, 9)),
            "boosting": lambda: GradientBoostingRegressor(
                n_estimators=120, max_depth=3, subsample=0.8, random_state=self.seed
            ),
        }

    def _left_out(self, make: Callable[[], Any], indices: npt.NDArray[np.int64], target: Floats, kind: str) -> float:
        """Mean squared error on configurations that were left out, a fold at a time."""
        order = np.random.default_rng(self.seed).permutation(len(target))
        encoded = self._encoded(indices, kind)
        total = 0.0
        for fold in np.array_split(order, min(_FOLDS, len(target))):
            rest = np.setdiff1d(order, fold)
            predicted = make().fit(encoded[rest], target[rest]).predict(encoded[fold])
            total += float(((predicted - target[fold]) ** 2).sum())
        return total / len(target)

    def _encoded(self, indices: npt.NDArray[np.int64], kind: str) -> Floats:
        if kind == "boosting":
            return indices.astype(np.float64)
        columns = [np.eye(size)[indices[:, i]] for i, size in enumerate(self.sizes)]
        return np.concatenate(columns, axis=1)


def rank_correlation(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Return Kendall's tau-b of two rankings: 1 the same order, 0 none; NaN where one is constant."""
    a, b = (np.sign(np.subtract.outer(x, x)) for x in (np.asarray(predicted), np.asarray(measured)))
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread else float("nan")
