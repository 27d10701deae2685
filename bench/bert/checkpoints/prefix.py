"""TF: selects the TensorFlow checkpoint of a folder.

A checkpoint is a prefix: `PREFIX.index` and its shards `PREFIX.data-00000-of-00001`. The Estimator writes a state file
`checkpoint` beside them, which names the newest one, often by the absolute path of that time.
"""

import re
from pathlib import Path
from typing import Any, Final

import tensorflow as tf

from bench.bert.checkpoints.git_lfs import check_is_content
from bench.bert.tf_paths import check_plain
from bench.core.errors import UsageError

PREFIX: Final = "bert_model.ckpt"
STATE_FILE: Final = "checkpoint"
_INDEX: Final = ".index"
_NUMBERED: Final = re.compile(r"(?P<stem>.+)-(?P<step>\d+)")
_SHARD: Final = re.compile(r"(?P<name>.+)\.data-\d{5}-of-(?P<of>\d{5})")
_NAMED: Final = 3
_MOST_STATE: Final = 1 << 20
# What TensorFlow's reader raises over a checkpoint that is cut or damaged.
READ_ERRORS: Final = (tf.errors.OpError, ValueError, RuntimeError, IndexError)


def find_prefix(folder: Path) -> Path:
    """The checkpoint of `folder`.

    It is the one that the state file names, by its name in this folder whatever its path; else `bert_model.ckpt`; else
    the only one; else, without a state file and where all are `NAME-STEP` of one name, that of the highest step. A
    state file leads to no other folder: it may come from others.

    Raises:
        UsageError: there is none, it is not clear which one to use, or a part of it is missing.
    """
    indexed = _indexed(folder)
    named = _named_by_state(folder)
    if named is not None and named.name in indexed:
        chosen = folder / named.name
    else:
        chosen = folder / _only(folder, indexed, named)
    _check_files(chosen)
    return chosen


def renew_state(folder: Path, stem: str) -> Path | None:
    """Makes the state file name the newest of the checkpoints `STEM-STEP` in `folder`, for the Estimator.

    A missing file, or one that names another folder, is rewritten.

    Returns:
        The checkpoint's prefix, or None without any that can be read.

    Raises:
        UsageError: TensorFlow cannot read any under this path.
    """
    check_plain(folder)
    indexed = [match for name in _indexed(folder) if (match := _NUMBERED.fullmatch(name)) and match["stem"] == stem]
    steps = {match.string: int(match["step"]) for match in indexed}
    named = _named_by_state(folder)
    candidates = sorted(steps, key=steps.__getitem__, reverse=True)
    if named is not None and named.name in steps:
        candidates = [named.name]
    for name in candidates:
        if _is_readable(folder / name):
            if named != folder / name:
                tf.compat.v1.train.update_checkpoint_state(str(folder), name)
            return folder / name
    return None


def _is_readable(prefix: Path) -> bool:
    """Whether the index is complete: an interruption may have truncated it."""
    try:
        _check_files(prefix)
        open_reader(prefix)
    except (UsageError, *READ_ERRORS):
        return False
    return True


def open_reader(prefix: Path) -> Any:
    """TensorFlow's reader of a checkpoint.

    Not `tf.train.load_checkpoint`, which mistakes a folder with the prefix's name for the checkpoint.
    """
    return tf.compat.v1.train.NewCheckpointReader(str(prefix))


def has_checkpoint(folder: Path) -> bool:
    """Whether a TensorFlow checkpoint, or a state file that names one, lies in `folder`."""
    return (folder / STATE_FILE).is_file() or bool(_indexed(folder))


def _indexed(folder: Path) -> list[str]:
    """Names of the checkpoints in `folder`; without the hidden files that macOS adds."""
    found = (path for path in folder.glob(f"*{_INDEX}") if path.is_file() and not path.name.startswith("."))
    return sorted(path.name.removesuffix(_INDEX) for path in found)


def prefix_of(path: Path) -> Path | None:
    """`path` as a checkpoint's prefix, where it is one, or one of its files; else None."""
    name = path.name.removesuffix(_INDEX)
    if shard := _SHARD.fullmatch(name):
        name = shard["name"]
    prefix = path.with_name(name)
    return prefix if Path(f"{prefix}{_INDEX}").is_file() else None


def _named_by_state(folder: Path) -> Path | None:
    """The newest checkpoint by the state file; None without a valid one."""
    path = folder / STATE_FILE
    if not path.is_file() or path.stat().st_size > _MOST_STATE:
        return None
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except READ_ERRORS:
        return None  # empty, or a file of another kind with its name
    if state is None or not state.model_checkpoint_path:
        return None
    # A folder written elsewhere may name gs://... or C:\...
    name = re.split(r"[/\\]", state.model_checkpoint_path)[-1]
    return Path(state.model_checkpoint_path).parent / name if name.strip(".") and name.isprintable() else None


def _only(folder: Path, indexed: list[str], named: Path | None) -> str:
    """The checkpoint where the state file names none that exists."""
    if PREFIX in indexed:
        return PREFIX
    if len(indexed) == 1:
        return indexed[0]
    steps = [match for name in indexed if (match := _NUMBERED.fullmatch(name))]
    if indexed and not named and len(steps) == len(indexed) and len({match["stem"] for match in steps}) == 1:
        return max(steps, key=lambda match: int(match["step"])).string
    if named and (folder / named.name).is_file():
        raise UsageError(f"{folder / named.name} is in TensorFlow's format V1; save it in V2 (tf.train.Saver)")
    stale = f", and its {STATE_FILE} file names {named}, which is not in it" if named else ""
    if not indexed:
        raise UsageError(f"{folder} holds no TensorFlow checkpoint (*{_INDEX}){stale}; give a complete folder")
    shown = ", ".join(indexed[:_NAMED]) + (", ..." if len(indexed) > _NAMED else "")
    raise UsageError(
        f"{folder} holds {len(indexed)} checkpoints ({shown}){stale or ' and does not say which to use'}; "
        f"give one of them, for example {folder / indexed[0]}"
    )


def _check_files(prefix: Path) -> None:
    """Checks that the index and all shards of one save are there.

    Raises:
        UsageError: one is missing, or a pointer.
    """
    check_is_content(Path(f"{prefix}{_INDEX}"))
    missing: list[str] = []
    for count in _shard_counts(prefix) or [1]:
        shards = [prefix.with_name(f"{prefix.name}.data-{index:05d}-of-{count:05d}") for index in range(count)]
        lacking = [shard.name for shard in shards if not shard.is_file()]
        if not lacking:
            for shard in shards:
                check_is_content(shard)
            return
        missing.append(lacking[0])
    raise UsageError(f"{prefix} cannot be read (no data file {missing[0]}); give a complete checkpoint")


def _shard_counts(prefix: Path) -> list[int]:
    """The numbers of shards in the shards' names; there may be files of an earlier save."""
    names = (_SHARD.fullmatch(path.name) for path in prefix.parent.iterdir())
    return sorted({int(match["of"]) for match in names if match and match["name"] == prefix.name})
