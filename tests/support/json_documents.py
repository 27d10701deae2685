"""Reads what commands print with `--json`, strictly, and holds it against the schema."""

import json
from typing import Any, NoReturn

from jsonschema import Draft202012Validator

from bench.cli.schemas import read_schema


def document(text: str, name: str) -> dict[str, Any]:
    """The one document in `text`, which is valid by the schema of `name`."""
    (found,) = documents(text, name)
    return found


def documents(text: str, *names: str) -> list[dict[str, Any]]:
    """The documents in `text`, a line each; valid by the schemas of `names`, the last of which holds for the last."""
    lines = text.splitlines()
    assert lines
    assert text.endswith("\n")
    kinds = [*names[:1] * (len(lines) - 1), names[-1]]
    return [_valid(line, name) for line, name in zip(lines, kinds, strict=True)]


def _valid(line: str, name: str) -> dict[str, Any]:
    found = json.loads(line, parse_constant=_refuse)
    schema = read_schema(name)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    assert isinstance(found, dict)
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
