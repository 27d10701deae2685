"""Writes the JSON Schemas of all documents, made of their types."""

import importlib
from typing import Any

import msgspec
import orjson

from bench.cli.schemas import DOCUMENTS, file_of


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of one of `DOCUMENTS`, made of its type."""
    module, _, kind = DOCUMENTS[name].partition(":")
    made = msgspec.json.schema(getattr(importlib.import_module(module), kind))
    for entry in made["$defs"].values():
        if "properties" in entry:
            _settle(entry)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"bertbench: {name}"} | made


def _settle(kind: dict[str, Any]) -> None:
    """Requires every field, as a document has those with defaults too; those of the head have one value."""
    kind["required"] = list(kind["properties"])
    for name, field in kind["properties"].items():
        default = field.pop("default", None)
        if name in ("format", "command", "event") and default is not None:
            field["const"] = default


def main() -> None:
    """Writes all files."""
    for name in DOCUMENTS:
        file_of(name).write_bytes(orjson.dumps(schema_of(name), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
