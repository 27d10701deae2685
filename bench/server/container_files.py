"""Files of this machine that a server in a container reads: they are copied into it.

A mount of a file would not reach an Engine elsewhere, and needs a mode that lets the container's user read it.
"""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.core.bounded_files import MEBIBYTE, read_regular
from bench.core.errors import UsageError, in_words
from bench.server.process import MONITORING

FOLDER: Final = "/"
"""Where the files lie in the container: a folder that every image has."""
_NAME: Final = "bertbench-"
# The flags of tensorflow_model_server (main.cc) whose value is a file that it reads, all in text form.
_FILE_FLAGS: Final = (
    "batching_parameters_file",
    "model_config_file",
    "monitoring_config_file",
    "platform_config_file",
    "ssl_config_file",
    "tensorflow_session_config_file",
    "thread_pool_factory_config_file",
)


def copied_files(flags: Sequence[str], own_image: bool = False) -> tuple[list[str], dict[str, bytes]]:
    """The flags of a server in a container, and the files that they name there.

    The Prometheus page, which load generators read, is switched on unless the flags say how.

    Args:
        flags: as for a server on this machine.
        own_image: whether the image is the user's, so that an absolute path that is not here may be in it.

    Returns:
        The flags with the files' paths in the container; the files' bytes by their names in `FOLDER`.

    Raises:
        UsageError: a flag names a file that cannot be read here.
    """
    files: dict[str, bytes] = {}
    inside = []
    for flag in flags:
        name, equals, value = flag.partition("=")
        kind = name.lstrip("-")
        in_image = own_image and Path(value).is_absolute() and not Path(value).exists()
        if kind in _FILE_FLAGS and equals and value and not in_image:
            files[_NAME + kind] = _read(kind, Path(value))
            flag = f"{name}={FOLDER}{_NAME}{kind}"
        inside.append(flag)
    kind = "monitoring_config_file"
    if not any(flag.lstrip("-").startswith(kind) for flag in flags):
        files[_NAME + kind] = MONITORING.encode()
        inside.append(f"--{kind}={FOLDER}{_NAME}{kind}")
    return inside, files


def _read(flag: str, path: Path) -> bytes:
    try:
        return read_regular(path, MEBIBYTE)
    except (OSError, UsageError) as error:
        raise UsageError(
            f"the server flag --{flag} names {path}, which cannot be copied into the container ({in_words(error)}); "
            "give the path of a file here, or an absolute one in an image that SERVING_IMAGE or SERVING_GPU_IMAGE names"
        ) from error


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """An archive of the files, as the Engine takes it; every user of the container may read them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
