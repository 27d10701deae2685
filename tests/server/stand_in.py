"""A stand-in for `tensorflow_model_server`: takes its flags, says AVAILABLE over REST, accepts on its gRPC port.

`--model_name=broken` makes it end with a message, `--model_name=slow` never become available.
"""

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def main(words: list[str]) -> int:
    flags = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    if flags["model_name"] == "broken":
        print("first line\nthe model is broken", file=sys.stderr)
        return 7
    state = "LOADING" if flags["model_name"] == "slow" else "AVAILABLE"
    status = {"version": "1", "state": state, "status": {"error_code": "OK", "error_message": ""}}

    class Face(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/v1/models/{flags['model_name']}"
            body = json.dumps({"model_version_status": [status]} if known else {"error": "no such model"}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    grpc = socket.create_server(("127.0.0.1", int(flags["port"])))
    with grpc:
        HTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Face).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
