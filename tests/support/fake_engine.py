"""A Docker Engine that says what a test tells it to, on a socket of its own: what a real one lacks here, such as a GPU.

It knows the calls of Engine API 1.41 that `bench.server.container` makes.
"""

import io
import json
import re
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

GPU_REFUSAL = 'could not select device driver "" with capabilities: [[gpu]]'


@dataclass
class FakeEngine:
    """What the Engine has, and what was asked of it.

    Args:
        images: names of the images that are present.
        pulled: the events of a pull.
        start: why a container does not start; "" starts it.
        state: of a started container.
        log: its output.
        no_archive: why a container takes no files; "" takes them.
        absent: how often a look for a container does not find it yet.

    Attributes:
        created: settings of the containers that were created.
        files: what was copied into them, by path.
        removed: how many were removed.
    """

    images: tuple[str, ...] = ()
    pulled: tuple[dict[str, Any], ...] = ()
    start: str = ""
    state: dict[str, Any] = field(default_factory=lambda: {"Status": "running", "Pid": 1})
    log: str = ""
    no_archive: str = ""
    absent: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    removed: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and body of a call; a list is sent as a stream."""
        match = re.match(r"(?:/v[\d.]+)?(/[^?]*)", path)
        assert match is not None
        call = f"{method} {match[1]}"
        if call == "GET /version":
            return 200, {"ApiVersion": "1.41"}
        if call == "GET /_ping":
            return 200, "OK"
        if call.startswith("GET /images/"):
            known = any(name in match[1] for name in self.images)
            return (200, {"Id": "sha256:0"}) if known else (404, {"message": "no such image"})
        if call == "POST /images/create":
            return 200, [json.dumps(event).encode() + b"\n" for event in self.pulled]
        if call == "POST /containers/create":
            self.created.append(json.loads(body))
            return 201, {"Id": "f" * 64}
        return self._container(method, match[1], body)

    def _container(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """A call on the container."""
        if method == "DELETE":
            self.removed += 1
            return 204, ""
        if path.endswith("/start"):
            return (500, {"message": self.start}) if self.start else (204, "")
        if path.endswith("/logs"):
            data = self.log.encode()
            return 200, b"\x01\0\0\0" + len(data).to_bytes(4, "big") + data
        if path.endswith("/archive"):
            return self._take(body)
        if self.absent:
            self.absent -= 1
            return 404, {"message": "No such container"}
        return 200, {"Id": "f" * 64, "State": self.state, "Config": {"Tty": False}, "Image": "sha256:0"}

    def _take(self, archive: bytes) -> tuple[int, Any]:
        """Copies files to the container's root folder."""
        if self.no_archive:
            return 500, {"message": self.no_archive}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for entry in tar:
                content = tar.extractfile(entry)
                assert content is not None
                assert entry.mode & 0o004, "the container's user must be able to read it"
                self.files[f"/{entry.name}"] = content.read()
        return 200, ""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def fake_engine(engine: FakeEngine, folder: Path) -> Iterator[str]:
    """Serves the Engine; yields what DOCKER_HOST must be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _do(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = engine.answer(self.command, self.path, body)
            if isinstance(found, list):
                self._stream(found)
                return
            data = found if isinstance(found, bytes) else str(found).encode()
            kind = "text/plain"
            if isinstance(found, dict):
                data, kind = json.dumps(found).encode(), "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        def _stream(self, events: list[bytes]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for data in (*events, b""):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815

    path = folder / "engine.sock"
    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()
