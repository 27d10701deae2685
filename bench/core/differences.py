"""Differences between two values of a frozen dataclass, by field."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def differences(a: Any, b: Any, *, leave_out: frozenset[str] = frozenset()) -> dict[str, tuple[Any, Any]]:
    """Names of the fields that differ, with both values; a field that is a mapping is compared key by key.

    Args:
        a: a dataclass instance.
        b: another of the same class.
        leave_out: fields that are not compared.

    Returns:
        By name (`seed`, `packages.numpy`); a key that one side lacks is None there.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in (entry.name for entry in fields(a)):
        left, right = getattr(a, name), getattr(b, name)
        if name in leave_out or left == right:
            continue
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            for key in sorted(set(left) | set(right)):
                if left.get(key) != right.get(key):
                    found[f"{name}.{key}"] = (left.get(key), right.get(key))
        else:
            found[name] = (left, right)
    return found
