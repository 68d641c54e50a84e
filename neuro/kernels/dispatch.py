"""Which implementation of an operator runs: chosen by device, dtype and layout from a table, and never in silence.

Every operator lists its implementations, fastest first, and ends with `reference`, which takes everything. An
implementation says why it cannot serve a request, or that it can; the first that can is taken, and the reason is
logged once for each operator, device and dtype (logger `neuro.kernels`).

    NEURO_KERNELS=native                all operators by that implementation (`auto` is the default)
    NEURO_KERNELS=lif=reference,auto    one operator by that implementation
    NEURO_KERNELS_STRICT=1              an implementation that is passed over is an error, not a log line

`with using(lif="reference", strict=True):` does the same for a block.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from hardware_models.errors import InputError, RunError, unknown_name

LOGGER: Final = logging.getLogger("neuro.kernels")


@dataclass(frozen=True)
class Request:
    """What an operator is asked to do, as far as the choice depends on it.

    Attributes:
        device: type of the device, `cpu` or `cuda`.
        dtype: of the main input.
        details: what else matters to an operator, such as its surrogate.
    """

    device: str
    dtype: torch.dtype
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Implementation:
    """One way to run an operator.

    Attributes:
        name: `triton`, `native`, `fused` or `reference`.
        refuses: why it cannot serve a request; empty where it can.
        run: the function.
    """

    name: str
    refuses: Callable[[Request], str]
    run: Callable[..., Any]


@dataclass(frozen=True)
class Choice:
    """The implementation taken for a request, and why those before it were not."""

    implementation: Implementation
    passed_over: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wish:
    """What was asked for: an implementation by operator, one for the others, and whether to insist."""

    by_operator: Mapping[str, str] = field(default_factory=dict)
    others: str = "auto"
    strict: bool = False

    def of(self, operator: str) -> str:
        """The implementation wished for an operator; `auto` for the fastest."""
        return self.by_operator.get(operator, self.others)


ROOMS: Final = ("bitpack", "encode", "lif", "norm_lif", "sdsa", "spike_linear")
"""The folders with operators, which a process loads as it needs them."""

OPERATORS: dict[str, Operator] = {}
"""Every operator by name, for `neuro bench --explain`."""

_wish: ContextVar[Wish | None] = ContextVar("wish", default=None)
_logged: set[tuple[str, str, torch.dtype, str]] = set()


class Operator:
    """An operator with its implementations, fastest first.

    Args:
        name: of the operator, for example `lif`.
        implementations: fastest first; the last one, `reference`, refuses nothing.
    """

    def __init__(self, name: str, implementations: Sequence[Implementation]) -> None:
        self.name = name
        self.implementations = tuple(implementations)
        OPERATORS[name] = self

    def choose(self, request: Request) -> Choice:
        """Return the implementation that serves `request`.

        Raises:
            InputError: the wished one does not exist.
            RunError: strict, and the wished or fastest one refuses.
        """
        wish = current_wish()
        wanted = wish.of(self.name)
        names = [one.name for one in self.implementations]
        if wanted != "auto" and wanted not in names:
            raise unknown_name(f"implementation of kernel {self.name}", wanted, [*names, "auto"])
        start = 0 if wanted == "auto" else names.index(wanted)
        passed_over: list[tuple[str, str]] = []
        for implementation in self.implementations[start:]:
            reason = implementation.refuses(request)
            if not reason:
                choice = Choice(implementation, tuple(passed_over))
                self._tell(request, choice)
                return choice
            if wish.strict and self._could_serve(implementation, request):
                raise RunError(
                    f"kernel {self.name}: {implementation.name} cannot run here ({reason}), and NEURO_KERNELS_STRICT "
                    "forbids another one; mend the cause, or unset it."
                )
            passed_over.append((implementation.name, reason))
        raise RunError(f"kernel {self.name}: no implementation serves {request}; {passed_over}.")

    def __call__(self, request: Request, *arguments: Any, **settings: Any) -> Any:
        """Run the implementation that serves `request`."""
        return self.choose(request).implementation.run(*arguments, **settings)

    @staticmethod
    def _could_serve(implementation: Implementation, request: Request) -> bool:
        """Whether an implementation is meant for the device at all: triton is never a loss on a CPU."""
        return (implementation.name == "triton") == (request.device == "cuda")

    def _tell(self, request: Request, choice: Choice) -> None:
        key = (self.name, request.device, request.dtype, choice.implementation.name)
        if key in _logged:
            return
        _logged.add(key)
        lost = [f"{name}: {why}" for name, why in choice.passed_over]
        level = logging.WARNING if any(self._is_loss(name, request) for name, _ in choice.passed_over) else logging.INFO
        because = f" ({'; '.join(lost)})" if lost else ""
        LOGGER.log(
            level, "%s on %s, %s: %s%s", self.name, request.device, request.dtype, choice.implementation.name, because
        )

    def _is_loss(self, name: str, request: Request) -> bool:
        implementation = next(one for one in self.implementations if one.name == name)
        return self._could_serve(implementation, request)


def current_wish() -> Wish:
    """Return what is asked for now: of the enclosing `using`, else of the environment."""
    return _wish.get() or _from_environment(
        os.environ.get("NEURO_KERNELS", "auto"), os.environ.get("NEURO_KERNELS_STRICT", "")
    )


@contextlib.contextmanager
def using(others: str = "auto", *, strict: bool = False, **by_operator: str) -> Iterator[None]:
    """Ask for implementations within a block: `using("reference")`, `using(lif="native", strict=True)`."""
    token = _wish.set(Wish(by_operator, others, strict))
    try:
        yield
    finally:
        _wish.reset(token)


@functools.cache
def _from_environment(text: str, strict: str) -> Wish:
    by_operator: dict[str, str] = {}
    others = "auto"
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if equals and not (name and value):
            raise InputError(f"NEURO_KERNELS has {part!r}; write operator=implementation, for example lif=reference.")
        if equals:
            by_operator[name] = value
        else:
            others = part
    return Wish(by_operator, others, strict not in ("", "0"))


def explain() -> Iterator[tuple[str, str, str, str]]:
    """Yield (operator, implementation, device, why not or empty) for fp32 on each device that is here."""
    for folder in ROOMS:
        importlib.import_module(f"neuro.kernels.{folder}")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for operator in OPERATORS.values():
        for implementation in operator.implementations:
            for device in devices:
                yield operator.name, implementation.name, device, implementation.refuses(Request(device, torch.float32))
