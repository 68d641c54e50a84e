"""The tables of `neuro bench`: what is compared with what, and the ratio asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from neuro.bench import memory, models, neurons, products
from neuro.bench.case import Case, Result, run
from neuro.bench.setting import Setting

Table = Callable[[Setting], Iterator[Result]]


def measure(names: list[str], setting: Setting) -> Iterator[Result]:
    """Yield the results of the named tables, each as soon as it is there."""
    for name in names:
        yield from TABLES[name](setting)


def _timed(cases: Callable[[Setting], Iterator[Case]]) -> Table:
    def table(setting: Setting) -> Iterator[Result]:
        for case in cases(setting):
            yield from run(case, setting.rounds)

    return table


TABLES: Mapping[str, Table] = {
    "lif": _timed(neurons.lif_cases),
    "norm_lif": _timed(neurons.norm_lif_cases),
    "gemm": _timed(products.gemm_cases),
    "sdsa": _timed(products.sdsa_cases),
    "model": _timed(models.cases),
    "memory": memory.results,
}
"""The tables by name."""
