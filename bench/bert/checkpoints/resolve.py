"""TF: opens any checkpoint: a folder, a preset, or `demo`."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bert.checkpoints.google import read_google_folder
from bench.bert.checkpoints.huggingface import read_hugging_face_folder
from bench.bert.checkpoints.prefix import find_prefix, has_checkpoint, prefix_of
from bench.bert.checkpoints.presets import open_preset
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.weights import has_weights
from bench.bert.config import GOOGLE_FILE, PRESETS
from bench.bert.text.tokenizer import Tokenizer
from bench.core.errors import UsageError, did_you_mean

DEMO: Final = "demo"
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")
DEMO_FOLDER: Final = Path(__file__).parents[1] / "demo" / "checkpoint"


def open_checkpoint(name_or_path: str | Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        name_or_path: `demo`, one of `bench.bert.config.PRESETS`, a folder, or the prefix of a TensorFlow checkpoint. A
            folder that has such a name is written `./tiny`.
        init_head: make a fresh masked-LM head if the checkpoint has none.
        do_lower_case: overrides what a folder says of its case.

    Raises:
        UsageError: no such checkpoint, or one that cannot be used; the message names what is wrong with it.
    """
    name = str(name_or_path)
    if do_lower_case is not None and name in (DEMO, *PRESETS):
        raise UsageError(f"{name} is uncased; --cased and --uncased are for checkpoint folders")
    if name == DEMO:
        return replace(read_google_folder(find_prefix(DEMO_FOLDER)), source=DEMO)
    if name in PRESETS:
        return open_preset(name, Tokenizer.from_folder(DEMO_FOLDER))
    path = Path(name_or_path)
    if not path.is_dir() and (prefix := prefix_of(path)):
        return read_google_folder(prefix, init_head, do_lower_case)
    if path.is_file() and path.suffix in _ARCHIVES:
        raise UsageError(f"{path} is an archive; unpack it and give the folder")
    if path.is_file():
        raise UsageError(f"{path} is a file; give the checkpoint's folder, {path.parent}")
    if not path.is_dir():
        known = ", ".join((DEMO, *PRESETS))
        near = did_you_mean(str(name), (DEMO, *PRESETS))
        raise UsageError(f"no checkpoint folder {name}; give a folder or one of {known}{near}")
    folder = _descend(path)
    if folder.name == "variables" and (folder.parent / "saved_model.pb").is_file():
        raise UsageError(f"{folder.parent} is a SavedModel; give the checkpoint that it was exported from")
    # Two sets of weights are one model in two formats; each goes with the config of its own kind.
    if has_checkpoint(folder) and ((folder / GOOGLE_FILE).is_file() or not has_weights(folder)):
        return read_google_folder(find_prefix(folder), init_head, do_lower_case)
    return read_hugging_face_folder(folder, init_head, do_lower_case)


def _descend(folder: Path) -> Path:
    """`folder`, or the one folder in it, at most two below, that holds weights.

    For example an archive unpacked into a folder of its name, or a model in the Hub's cache.

    Raises:
        UsageError: there are several.
    """
    if _holds_weights(folder):
        return folder
    level = [folder]
    for _ in range(2):
        level = sorted(entry for above in level for entry in above.iterdir() if entry.is_dir())
        inside = [entry for entry in level if _holds_weights(entry)]
        if len(inside) > 1:
            shown = ", ".join(str(entry.relative_to(folder)) for entry in inside[:3])
            more = ", ..." if len(inside) > 3 else ""
            raise UsageError(f"{folder} holds {len(inside)} checkpoint folders ({shown}{more}); give one of them")
        if inside:
            return inside[0]
    return folder


def _holds_weights(folder: Path) -> bool:
    return has_checkpoint(folder) or has_weights(folder)
