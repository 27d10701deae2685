"""A small image in the place of Serving's: busybox that serves the model's state and takes no request."""

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.debian import unpacked

# Serves the model's state as a file and accepts on the gRPC port, as Serving does once its model is loaded.
ENTRY_POINT = """#!/bin/sh
mkdir -p /www/v1/models
cp /status.json /www/v1/models/$MODEL_NAME
[ -e /models/$MODEL_NAME/1 ] || { echo "no version under /models/$MODEL_NAME"; exit 1; }
if [ -e /models/$MODEL_NAME/1/cut ]; then
  echo "E util/retrier.cc:37] Loading servable: {name: $MODEL_NAME version: 1} failed: DATA_LOSS: cut"
  exec httpd -f -p 8502 -h /www
fi
nc -lk -p 8500 -e true &
exec httpd -f -p 8501 -h /www
"""


@contextlib.contextmanager
def stand_in_image(engine: Any, tag: str, folder: Path) -> Iterator[str]:
    """An image of busybox with the entry point above, made from a file system in a tar; its tag.

    Args:
        engine: client of the Docker Engine.
        tag: name and tag of the image, which is removed at the end.
        folder: for the package.
    """
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    package = unpacked("busybox-static", folder)
    files = {
        "bin/busybox": (next(package.glob("**/bin/busybox")).read_bytes(), 0o755),
        "entry.sh": (ENTRY_POINT.encode(), 0o755),
        "status.json": (json.dumps({"model_version_status": [status]}).encode(), 0o644),
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        for applet in ("sh", "httpd", "nc", "mkdir", "cp", "true", "["):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    engine.api.import_image_from_data(
        stream.getvalue(),
        repository=tag.partition(":")[0],
        tag=tag.partition(":")[2],
        changes=['ENTRYPOINT ["/bin/sh", "/entry.sh"]', "ENV PATH=/bin"],
    )
    try:
        yield tag
    finally:
        engine.images.remove(tag, force=True)
