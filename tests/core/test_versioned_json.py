"""JSON files with a format number: what is written is read, and what does not fit is refused in one line."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from bench.core import interrupts
from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.core.versioned_json import OtherFormatError, VersionedJson


class Kind(StrEnum):
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    kind: Kind = Kind.GOOD
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"share lies between 0 and 1, not {self.share}")
        if not self.name:
            raise ValueError("the name is empty")


@dataclass(frozen=True, slots=True)
class Whole:
    label: str
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part] = field(default_factory=dict)
    limit: float | None = None


def rename(raw: dict[str, Any]) -> dict[str, Any]:
    raw = dict(raw)
    return {"label": raw.pop("title"), **raw}


FILE = VersionedJson(Whole, 2, name="parts list", cure="make it again", updates={2: rename}, unnumbered="parts")
WHOLE = Whole("é", (Part("a"), Part("b", Kind.BAD, 1 / 3)), {"c": Part("c")}, 1e-9)


def test_what_is_written_is_read() -> None:
    data = FILE.encode(WHOLE)
    assert FILE.decode(data, "x.json") == WHOLE
    assert list(orjson.loads(data)) == ["format", "label", "parts", "by_name", "limit"]
    assert data.startswith(b'{\n  "format": 2,\n  "label"')
    assert data.endswith(b"}\n")


def test_an_older_file_is_brought_up_to_date_with_or_without_its_number() -> None:
    for number in ({"format": 1}, {}):
        data = orjson.dumps({**number, "title": "t", "parts": []})
        assert FILE.decode(data, "x.json") == Whole("t", ())


def test_arrays_are_float64_and_null_is_a_value_without_a_bound() -> None:
    @dataclass(frozen=True)
    class Arrays:
        values: Floats

    file = VersionedJson(Arrays, 1, name="array file", cure="make it again", option=orjson.OPT_SERIALIZE_NUMPY)
    written = file.encode(Arrays(np.array([[1.0, np.inf], [0.1, 3.0]])))
    assert written == b'{"format":1,"values":[[1.0,null],[0.1,3.0]]}'
    found = file.decode(written, "x.json").values
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0, np.inf], [0.1, 3.0]]
    with pytest.raises(
        UsageError, match=r"^x.json is not a valid array file \(values: could not convert .*'a'\); make"
    ):
        file.decode(b'{"format":1,"values":[1,"a"]}', "x.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON (Input is a zero-length, empty document: line 1 column 1 (char 0)); make it again"),
        (b"[]", "is not a parts list of bertbench; make it again"),
        (b'{"label": "x"}', "is not a parts list of bertbench; make it again"),
        (b'{"format": "2"}', "is not a parts list of bertbench; make it again"),
        (b'{"format": 0}', "is not a parts list of bertbench; make it again"),
        (
            b'{"format": 3}',
            "has parts list format 3, this version reads up to 2; update bertbench, or make it again",
        ),
        (b'{"format": 1, "parts": []}', "is not a valid parts list (title is missing); make it again"),
        (b'{"format": 1, "title": []}', "is not a valid parts list (label: expected str, got array); make it again"),
        (b'{"format": 2, "parts": []}', "is not a valid parts list (label is missing); make it again"),
        (
            b'{"format": 2, "label": "", "parts": [{}]}',
            "is not a valid parts list (parts[0]: name is missing); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [{"name": "a"}, {"name": 7}]}',
            "is not a valid parts list (parts[1].name: expected str, got int); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [{"name": ""}]}',
            "is not a valid parts list (parts[0]: the name is empty); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [{"name": "a", "share": 2}]}',
            "is not a valid parts list (share lies between 0 and 1, not 2.0); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [{"name": "a", "kind": "ugly"}]}',
            "is not a valid parts list (parts[0].kind: invalid enum value 'ugly'); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [{"name": "a", "nmae": "b"}]}',
            "is not a valid parts list (parts[0].nmae: unknown field); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [], "by_name": {"k": {"name": "a", "x": 1}}}',
            "is not a valid parts list (by_name.k.x: unknown field); make it again",
        ),
        (
            b'{"format": 2, "label": "", "parts": [], "more": 1}',
            "is not a valid parts list (more: unknown field); make it again",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        FILE.decode(data, "x.json")
    assert str(caught.value) == f"x.json {message}"


def test_fields_that_are_not_read_may_be_there() -> None:
    file = VersionedJson(Part, 1, name="part", cure="make it again", exact=False)
    assert file.decode(b'{"format": 1, "name": "a", "more": {}}', "x.json") == Part("a")


def test_an_old_format_without_a_step_is_refused() -> None:
    file = VersionedJson(Part, 2, name="part", cure="make it again")
    with pytest.raises(OtherFormatError, match=r"^x.json has part format 1, this version reads 2; make it again$"):
        file.decode(b'{"format": 1, "name": "a"}', "x.json")


def test_files_that_are_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FILE.read(tmp_path / "none")
    with pytest.raises(UsageError, match=r"cannot be read \(it is a folder\); make it again$"):
        FILE.read(tmp_path)


@dataclass(frozen=True, slots=True)
class Interrupting:
    label: str

    def __post_init__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_until_a_file_is_decoded() -> None:
    """Inside, it would come out of Python code that msgspec calls."""
    file = VersionedJson(Interrupting, 1, name="file", cure="restore it")
    with interrupts.watched(), pytest.raises(interrupts.Interrupted) as caught:
        file.decode(b'{"format": 1, "label": "x"}', "here")
    assert "interrupts.py" in str(caught.traceback[-1].path)
    assert caught.traceback[-2].name == "held"
