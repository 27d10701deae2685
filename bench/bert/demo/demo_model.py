"""The demo model, exported once into the user's cache. No TensorFlow here: the export is a process of its own."""

import hashlib
import subprocess
from pathlib import Path

from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.config.own_command import own_command, own_environment
from bench.core import interrupts
from bench.core.atomic_files import scratch_folder
from bench.core.cache import cache_dir, make_cache_dir
from bench.core.errors import TargetError
from bench.core.extras import installed

_PACKAGE = Path(__file__).parents[1]
_SENTENCES = _PACKAGE / "data" / "sentences.tsv"


def demo_model_dir() -> Path:
    """A folder `MODEL_DIR/<version>/` with the demo checkpoint exported, made on the first call (some 20 s).

    Without TensorFlow, it is the package's own folder with what clients need: golden answers and the vocabulary.

    The folder's name carries a digest over the checkpoint, the sentences and the code of `bench.bert`, so that a change
    of any of them makes a new one.

    Raises:
        TargetError: the export failed.
        UsageError: the cache cannot be written.
    """
    if not installed("tensorflow"):
        return CLIENT_FOLDER
    cache = cache_dir()
    target = cache / f"demo-{_digest()[:16]}"
    if target.is_dir():
        return target
    make_cache_dir()
    with scratch_folder(cache, ".demo-") as scratch:
        # It is for all commands and all folders of the user, whose settings are for exports of their own.
        command = own_command(["export", "--checkpoint", "demo", "--out", str(scratch / "model")])
        done = subprocess.run(
            interrupts.launched(command),
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [interrupts.how_it_ended(done.returncode)])[-1]
            reason = reason.removeprefix("bertbench: ").replace(str(scratch / "model"), str(cache))
            raise TargetError(f"the demo model could not be exported into the cache (XDG_CACHE_HOME): {reason}")
        try:
            (scratch / "model").rename(target)
        except OSError:
            # Another process was quicker; its export is the same.
            if not target.is_dir():
                raise
    return target


def _digest() -> str:
    """Over all that the exported folder depends on."""
    digest = hashlib.sha256()
    checkpoint = _PACKAGE / "demo" / "checkpoint"
    files = [*_PACKAGE.rglob("*.py"), *(path for path in checkpoint.rglob("*") if path.is_file()), _SENTENCES]
    for path in sorted(path for path in files if path.exists()):
        digest.update(str(path.relative_to(_PACKAGE.parents[1])).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
