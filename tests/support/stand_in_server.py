"""A stand-in for `tensorflow_model_server`: takes its flags, says AVAILABLE over REST, accepts on its gRPC port.

`--model_name=broken` makes it end with a message, `slow` never become available, `cut` say as the real server does that
the model does not load, and go on trying without a port; `given-up` the same, as the state of its one version; `usage`
end at a flag, and `forgiving` go on without it, as the real server does.
"""

import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

CUT = """2026-01-31 12:00:00.123456: I tensorflow_serving/model_servers/server_core.cc:467] Adding/updating models.
2026-01-31 12:00:00.323456: I tensorflow/cc/saved_model/loader.cc:233] Restoring SavedModel bundle
2026-01-31 12:00:00.423456: E tensorflow_serving/util/retrier.cc:37] Loading servable: {name: cut version: 1} failed: \
DATA_LOSS: Read less bytes than requested
\t [[{{node save/RestoreV2}}]]
2026-01-31 12:00:00.423457: I tensorflow_serving/core/basic_manager.cc:739] Will try again."""

USAGE = """unknown argument: --no_such_flag=1
usage: tensorflow_model_server
Flags:
\t--port=8500                      \tint32\tTCP port to listen on for gRPC/HTTP API.
\t--enable_batching=false          \tbool\tenable batching; fails for models without it"""


def main(words: list[str]) -> int:
    flags = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    if flags["model_name"] == "broken":
        print("first line\nthe model is broken", file=sys.stderr)
        return 7
    if flags["model_name"] == "cut":
        print(CUT, file=sys.stderr, flush=True)
        time.sleep(60)
    if flags["model_name"] in ("usage", "forgiving"):
        print(USAGE, file=sys.stderr, flush=True)
        if flags["model_name"] == "usage":
            return 1
    state = {"slow": "LOADING", "given-up": "END"}.get(flags["model_name"], "AVAILABLE")
    error = {"error_code": "OK", "error_message": ""}
    if state == "END":
        error = {"error_code": "DATA_LOSS", "error_message": "Read less bytes than requested"}
    status = {"version": "1", "state": state, "status": error}

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/v1/models/{flags['model_name']}"
            body = json.dumps({"model_version_status": [status]} if known else {"error": "no such model"}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    if state == "LOADING":
        print("first line\nstill reading a large file", file=sys.stderr, flush=True)
    grpc = socket.create_server(("127.0.0.1", int(flags["port"])))
    with grpc:
        HTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Endpoint).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
