"""JSON of a checkpoint: a key that is there twice is named at once, however large the file."""

from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.core.strict_json import _unique, read_object


class Counted(str):
    """A key that counts how often any of them was compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def test_a_key_that_appears_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"vocab": {"a": 0, "b": 1, "c": 2, "c": 3, "b": 4}}}')
    with pytest.raises(UsageError, match="the key 'b' appears twice in one object"):
        read_object(path)


def test_the_keys_of_a_large_object_are_not_compared_with_each_other() -> None:
    """A vocabulary has some 100 000 pieces, and only its last one may be there twice."""
    pairs = [(Counted(number), number) for number in range(1000)]
    Counted.compared = 0
    with pytest.raises(ValueError, match="the key '999' appears twice"):
        _unique([*pairs, (Counted(999), 0)])
    assert Counted.compared < len(pairs)
