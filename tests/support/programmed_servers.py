"""Small servers for tests: what they answer is programmed, ports are free ones."""

import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc

TLS = Path(__file__).parents[1] / "load" / "tls"
"""A server's certificate for loopback, its key, and the authority that signed it; see the README there."""

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


@contextmanager
def rest_server(
    answer: Callable[[str, str, bytes, Any], Reply | None], *, tls: bool = False, mutual: bool = False
) -> Iterator[str]:
    """An HTTP server; `answer(method, path, body, handler)` gives status and body, None if it wrote itself.

    With `mutual`, its TLS asks for a certificate of the client.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = answer(self.command, self.path, body, self)
            if reply is None:
                self.close_connection = True
                return
            status, payload, *headers = reply
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    class SecureServer(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """Says nothing of a client that does not want this server's TLS."""

    server = (SecureServer if tls else ThreadingHTTPServer)(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(TLS / "ca.pem")
        # The handshake is then in the connection's own thread.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_server(
    answer: Callable[[str, bytes, Any], bytes], workers: int = 16, *, tls: bool = False, mutual: bool = False
) -> Iterator[str]:
    """A gRPC server of raw bytes; `answer(method, message, context)` gives the answer's bytes.

    With `mutual`, its TLS asks for a certificate of the client.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda message, context: answer(call.method, message, context))

    server = grpc.server(ThreadPoolExecutor(workers), handlers=(Handler(),))
    if tls:
        pair = ((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())
        trusted = (TLS / "ca.pem").read_bytes() if mutual else None
        credentials = grpc.ssl_server_credentials([pair], trusted, require_client_auth=mutual)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
