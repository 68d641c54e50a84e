"""Read the project's YAML data files: one schema each, no key twice, errors that name file, key and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hardware_models.errors import InputError

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
        key = ".".join(map(str, first["loc"])) or "the top level"
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {key}: {reason}; mend that entry.") from error


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
