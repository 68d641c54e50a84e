"""Where each axis is active: where its condition holds and every axis that the condition reads is active."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hardware_models.errors import InputError
from hardware_models.studies.axis import Axis
from hardware_models.studies.columns import Array, Bools
from hardware_models.studies.expressions import Expression, Term
from hardware_models.studies.rule_reader import read_rule


class Conditions:
    """The conditions of `axes`, read with the `terms` that they may name.

    Attributes:
        rules: by name of the axis that waits.
        read: names of the axes that conditions read, in the order of `axes`.

    Raises:
        InputError: a condition that cannot be read, or that waits for itself, perhaps through others.
    """

    def __init__(self, axes: Mapping[str, Axis], terms: Mapping[str, Term]) -> None:
        self._axes = list(axes)
        self.rules = {name: read_rule(axis.when, terms) for name, axis in axes.items() if axis.when is not None}
        read = {name for rule in self.rules.values() for name in rule.names}
        self.read = [name for name in axes if name in read]
        self._order = self._sorted()

    def active(self, values: Mapping[str, Array]) -> dict[str, Bools]:
        """Return where each axis is active, `[N]`, given columns `[N]` that hold at least the axes in `read`."""
        everywhere = np.ones(len(next(iter(values.values()))), dtype=bool)
        active = dict.fromkeys(self._axes, everywhere)
        for name in self._order:
            active[name] = holds(self.rules[name], values, active, otherwise=False)
        return active

    def _sorted(self) -> list[str]:
        """Return the axes that wait, each after those that its condition reads."""
        order: list[str] = []
        while len(order) < len(self.rules):
            waiting = [name for name in self.rules if name not in order]
            ready = [name for name in waiting if not set(self.rules[name].names) & set(waiting)]
            if not ready:
                raise InputError(f"conditions of axes {', '.join(waiting)} wait for each other; break the circle.")
            order += ready
        return order


def holds(rule: Expression, values: Mapping[str, Array], active: Mapping[str, Bools], otherwise: bool) -> Bools:
    """Return where `rule` holds, `[N]`; `otherwise` where an axis that it reads is inactive."""
    speaks = np.logical_and.reduce([active[name] for name in rule.names])
    if speaks.all():
        return rule(values)
    held = np.full(len(speaks), otherwise)
    held[speaks] = rule({name: values[name][speaks] for name in rule.names})
    return held
