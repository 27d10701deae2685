"""TF: one door to every checkpoint: a folder, a preset's name, or `demo`."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bert.checkpoint.google import read_google_folder
from bench.bert.checkpoint.huggingface import read_hugging_face_folder
from bench.bert.checkpoint.presets import open_preset
from bench.bert.checkpoint.types import Checkpoint
from bench.bert.config import GOOGLE_FILE, HUGGING_FACE_FILE, PRESETS
from bench.bert.tokenizer import Tokenizer
from bench.errors import UsageError

DEMO: Final = "demo"
DEMO_FOLDER: Final = Path(__file__).parents[1] / "demo" / "checkpoint"


def open_checkpoint(name_or_path: str | Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        name_or_path: `demo`, one of `bench.bert.config.PRESETS`, or a folder. A folder that has such a name is
            written `./tiny`.
        init_head: make a fresh masked-LM head if the checkpoint has none.
        do_lower_case: overrides what a folder says of its case.

    Raises:
        UsageError: no such checkpoint, or one that cannot be used; the message names what is wrong with it.
    """
    name = str(name_or_path)
    if do_lower_case is not None and name in (DEMO, *PRESETS):
        raise UsageError(f"{name} is uncased; --cased and --uncased are for checkpoint folders")
    if name == DEMO:
        return replace(read_google_folder(DEMO_FOLDER), source=DEMO)
    if name in PRESETS:
        return open_preset(name, Tokenizer.from_folder(DEMO_FOLDER))
    folder = Path(name_or_path)
    if not folder.is_dir():
        known = ", ".join((DEMO, *PRESETS))
        raise UsageError(f"no checkpoint folder {name}; give a folder or one of {known}")
    if (folder / GOOGLE_FILE).is_file():
        return read_google_folder(folder, init_head, do_lower_case)
    if (folder / HUGGING_FACE_FILE).is_file():
        return read_hugging_face_folder(folder, init_head, do_lower_case)
    raise UsageError(f"{folder} has neither {GOOGLE_FILE} nor {HUGGING_FACE_FILE}; give a BERT checkpoint folder")
