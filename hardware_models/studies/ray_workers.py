"""Evaluation by Ray: the processes of this machine, or of a cluster where this package is installed."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from hardware_models.errors import InputError
from hardware_models.studies.answers import Evaluate
from hardware_models.studies.chunks import results_or_reason
from hardware_models.studies.columns import Columns
from hardware_models.studies.results import Results

RETRIES: Final = 3
"""How often Ray evaluates a chunk again whose worker died."""

PATIENCE_S: Final = 10.0
"""How long a cluster may take to answer."""


class RayWorkers:
    """Evaluates chunks as Ray's tasks.

    Args:
        evaluate: is sent to the cluster once.
        address: of a cluster, `ray://HOST:PORT`; None for the one that RAY_ADDRESS names, or else this machine.

    Raises:
        InputError: Ray is not installed, or the cluster is not reached.
    """

    def __init__(self, evaluate: Evaluate, address: str | None = None) -> None:
        self._ray = _ray()
        if address is not None:
            _reach(address)
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray has many ways to say it
            raise InputError(
                f"Ray cannot be used ({' '.join(str(error).split())}); see that it runs, with the same version."
            ) from error
        self._task = self._ray.remote(max_retries=RETRIES)(results_or_reason)
        self._evaluate = self._ray.put(evaluate)

    def run(self, chunks: Sequence[Columns]) -> Iterator[tuple[int, Results | str]]:
        busy = {self._task.remote(self._evaluate, points): number for number, points in enumerate(chunks)}
        while busy:
            (done,), _ = self._ray.wait(list(busy), num_returns=1)
            yield busy.pop(done), self._result(done)

    def _result(self, done: Any) -> Results | str:
        errors = self._ray.exceptions
        try:
            found: Results | str = self._ray.get(done)
        except errors.RayTaskError:  # a fault of the evaluation, not of the cluster
            raise
        except errors.RayError as error:
            return f"Ray gave it up after {RETRIES} retries ({' '.join(str(error).split())[:200]})."
        return found if isinstance(found, str) else replace(found, worker=np.full(len(found), "ray", dtype=object))

    def close(self) -> None:
        """Leave the cluster; tasks of it that are under way end."""
        self._ray.shutdown()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError("workers by Ray need Ray, which is not installed; pip install 'ray[client]'.") from error


def _reach(address: str) -> None:
    """Refuse a cluster where nobody listens, for which Ray itself would wait for minutes."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise InputError(f"Ray's address was {address!r}; write ray://HOST:PORT, such as ray://10.0.0.1:10001.")
    try:
        socket.create_connection((host, port), timeout=PATIENCE_S).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at {address} ({error}); see that it runs, and its port.") from error
