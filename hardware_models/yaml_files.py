"""Read the project's YAML data files: one schema each, no key twice, errors that name file, key and reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hardware_models.errors import InputError, unknown_name

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, what: str, schema: str) -> dict[str, Any]:
    """Return the mapping that `path` holds.

    Args:
        path: the file.
        what: what it should be, for messages: `technology`.
        schema: the schema that its key `schema` must name.

    Raises:
        InputError: it is missing, no YAML, no mapping, gives a key twice, or is of another schema.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a {what} file.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not YAML ({reason}); mend it.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no mapping; expected a {what} of schema {schema!r}.")
    if data.get("schema") != schema:
        raise InputError(f"{path} has schema {data.get('schema')!r}; expected a {what} of schema {schema!r}.")
    return data


def validated(model: type[Model], data: Any, path: object) -> Model:
    """Return `data` as a `model`; what does not fit is an `InputError` that names file, key and reason."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InputError(f"{path}: {key}{': ' if key else ''}{_reason(model, first)}.") from error


def _reason(model: type[BaseModel], found: ErrorDetails) -> str:
    """Return what is wrong with an entry and what to do, without pydantic's words for Python's types."""
    kind, given = found["type"], found["input"]
    if kind == "extra_forbidden":
        known = _keys(model, found["loc"][:-1])
        return str(unknown_name("key", found["loc"][-1], known) if known else "unknown key; take it out").rstrip(".")
    if kind == "missing":
        return "it is missing; add it"
    for kinds, expected in _SHAPES.items():
        if kind in kinds:
            return f"expected {expected}, not {given!r}; mend that entry"
    if kind == "value_error":  # written here, and says what to do
        return found["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{found['msg'].replace('Input should be', 'expected')}, not {given!r}; mend that entry"


_SHAPES = {
    ("model_type", "model_attributes_type", "dict_type"): "a mapping of keys to values",
    ("tuple_type", "list_type"): "a list such as [a, b]",
    ("float_type", "float_parsing"): "a number",
    ("string_type",): "text, in quotes where YAML takes it for something else",
}


def _keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the keys that the model at `place` inside `model` has; empty where it holds no model."""
    kind: Any = model
    for part in place:
        if _is_model(kind):
            field = kind.model_fields.get(part)
            kind = field.annotation if field else None
        else:  # of a mapping the values, of a list the entries
            kind = next(reversed(get_args(kind)), None)
    return [field.alias or name for name, field in kind.model_fields.items()] if _is_model(kind) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, ten times faster, where PyYAML was built with it."""


class _UniqueKeys(_SafeLoader):
    """A safe loader that refuses a key given twice, which YAML would settle by the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
