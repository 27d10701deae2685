"""Records what `transformers` makes of the table's folders, for `test_settings.py`.

    python -m venv /tmp/t && /tmp/t/bin/pip install transformers==4.57.1
    /tmp/t/bin/python -m tests.bert.tokens.record

The first setting's ids are kept whole, of the others only the texts that come out otherwise.
"""

import hashlib
import importlib
import json
import platform
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.bert.tokens.table import SETTINGS, TEXTS, VOCABULARY, Setting

RECORD: Final = Path(__file__).with_name("transformers.json")


def fingerprint() -> str:
    """SHA-256 of the texts and the vocabulary that a record is about."""
    return hashlib.sha256(json.dumps([TEXTS, VOCABULARY]).encode()).hexdigest()


def read_record() -> dict[str, list[list[int]]]:
    """The ids of each text, by setting."""
    kept = json.loads(RECORD.read_text())
    assert kept["fingerprint"] == fingerprint(), "the table was changed: record it again"
    base = kept["ids"][SETTINGS[0].name]
    return {name: [_ids(given.get(key, base[key])) for key in base] for name, given in kept["ids"].items()}


def _ids(text: str) -> list[int]:
    return [int(part) for part in text.split()]


def _encode(setting: Setting, auto: Any) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        setting.write(Path(folder))
        tokenizer = auto.from_pretrained(folder)
        assert tokenizer.is_fast
        found = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    return {str(number): " ".join(map(str, ids)) for number, ids in enumerate(found)}


def _record() -> None:
    auto = importlib.import_module("transformers").AutoTokenizer
    found = {setting.name: _encode(setting, auto) for setting in SETTINGS}
    base = found[SETTINGS[0].name]
    changed = {name: {key: ids for key, ids in given.items() if ids != base[key]} for name, given in found.items()}
    made = {
        "made with": {
            "python": platform.python_version(),
            **{name: importlib.import_module(name).__version__ for name in ("transformers", "tokenizers")},
        },
        "fingerprint": fingerprint(),
        "ids": changed | {SETTINGS[0].name: base},
    }
    RECORD.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    _record()
