"""Probes what listens at an address after a failed call, and explains it in one sentence for the user.

The error of a client library for a wrong port is about parsing. The probe sends plain bytes: an HTTP/1.1 request,
HTTP/2's connection preface, and a TLS handshake, each on its own connection. It sends no header of the user's: who
listens is not known.
"""

import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlsplit

from bench.core.errors import printable, reason_of
from bench.serving.access import DIRECT, Access
from bench.serving.http2.frames import PREFACE, SETTINGS, frame
from bench.serving.tls import certificate_name, client_context

_SECONDS: Final = 1.5
_MOST_BYTES: Final = 1 << 16
_HEAD: Final = 9
_TLS_ALERT: Final = b"\x15\x03"
# The alerts of a server that rejects the client's certificate or its absence (RFC 8446, section 6.2), as OpenSSL names
# them, and how long one may take.
_CLIENT_ALERT: Final = re.compile(
    "CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN)|UNKNOWN_CA"
)
_ALERT_SECONDS: Final = 1.0
_NEEDS_HTTPS: Final = re.compile(
    rb"plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server", re.IGNORECASE
)
_NOT_FOUND: Final = 404
_PROXY_STATUS: Final = (502, 503, 504)
CREDENTIALS: Final = (401, 403, 407)
"""HTTP statuses of a server that wants credentials, or others."""


class Kind(StrEnum):
    """The protocol at an address, or why there is no connection."""

    UNKNOWN_HOST = "unknown host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    CLOSED = "closed"
    TLS = "tls"
    HTTP2 = "http2"
    HTTP = "http"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Listener:
    """The result of a probe.

    Args:
        kind: the protocol, or why it is unknown.
        text: details on one line: the reason, the banner, the protocol under TLS.
        status: HTTP status of the answer; 0 without one.
        headers: the answer's headers, names in lower case.
        body: beginning of the answer's body.
    """

    kind: Kind
    text: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def find_listener(host: str, port: int, path: str = "/", seconds: float = _SECONDS) -> Listener:
    """Probes an address with a few short connections.

    Args:
        host: name or address, without brackets.
        port: TCP port.
        path: path of the HTTP request.
        seconds: timeout of each step.
    """
    name = f"[{host}]" if ":" in host else host
    request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        answer = _ask(host, port, request.encode(), seconds)
    except socket.gaierror:
        return Listener(Kind.UNKNOWN_HOST)
    except ConnectionRefusedError:
        return Listener(Kind.REFUSED)
    except OSError as error:
        return Listener(Kind.UNREACHABLE, "no answer in time" if isinstance(error, TimeoutError) else reason_of(error))
    if answer is not None and answer.startswith(b"HTTP/") and not _NEEDS_HTTPS.search(answer):
        return _http(answer)
    if _is_http2(answer) or _is_http2(_ask_or_none(host, port, PREFACE + frame(SETTINGS, 0, 0, b""), seconds)):
        return Listener(Kind.HTTP2)
    under_tls = None if answer and not answer.startswith((_TLS_ALERT, b"HTTP/")) else _tls(host, port, seconds)
    if under_tls is not None:
        return Listener(Kind.TLS, under_tls)
    if answer is None:
        return Listener(Kind.SILENT)
    return Listener(Kind.OTHER, _printable(answer)) if answer else Listener(Kind.CLOSED)


def explain(
    address: str, protocol: str, *, secure: bool = False, model: str = "", access: Access = DIRECT
) -> str | None:
    """Why an address does not speak `protocol`, and which to give instead; None if nothing is wrong.

    Args:
        address: `host:port`, and for REST the path prefix.
        protocol: `rest` or `grpc`.
        secure: whether it should speak TLS.
        model: the requested model.
        access: how the failed call reached it.
    """
    parts = urlsplit(f"//{address}")
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    found = find_listener(host, port, f"{parts.path}/v1/models/{quote(model, safe='')}")
    if access.headers and found.status in CREDENTIALS:
        # The probe has no credentials, so that its refusal says nothing.
        return None
    sentence = describe(found, parts.netloc, protocol, secure=secure, prefix=parts.path)
    if sentence is None and secure:
        return _tls_fault(host, port, parts.netloc, protocol, access)
    return sentence


def describe(found: Listener, address: str, protocol: str, *, secure: bool = False, prefix: str = "") -> str | None:
    """The sentence for a probe's result; see `explain`. `prefix` is the path of a REST address before `/v1`."""
    unreachable = _unreachable(found, address)
    if unreachable is not None:
        return unreachable
    tls = "s" if found.kind is Kind.TLS else ""
    speaks = _speaks(found)
    if speaks is not None and (speaks != protocol or bool(tls) != secure):
        return _other_endpoint(address, protocol, speaks, tls, secure)
    if found.kind is Kind.TLS and found.text == "" and not secure:
        return f"{address} speaks TLS; give {'https' if protocol == 'rest' else 'grpcs'}://{address}"
    if found.kind is Kind.HTTP:
        return _web(found, address, protocol, secure, prefix)
    return None


def _other_endpoint(address: str, protocol: str, speaks: str, tls: str, secure: bool) -> str:
    """The sentence for TensorFlow Serving's other endpoint, or for the right one with or without TLS."""
    names = {"rest": "REST", "grpc": "gRPC"}
    scheme = {"rest": "http", "grpc": "grpc"}[speaks] + tls
    is_what = f"{address} speaks {names[speaks]}" + (" over TLS" if tls else " without TLS" if secure else "")
    meant = f", not {names[protocol]}" if speaks != protocol else ""
    other = f", or the server's {names[protocol]} port" if speaks != protocol else ""
    return f"{is_what}{meant}; give {scheme}://{address}{other}"


def _speaks(found: Listener) -> str | None:
    """The protocol of TensorFlow Serving that the listener may speak."""
    if found.kind is Kind.HTTP2 or (found.kind is Kind.TLS and found.text == "h2"):
        return "grpc"
    if (found.kind is Kind.HTTP and _is_serving(found)) or (found.kind is Kind.TLS and found.text == "http/1.1"):
        return "rest"
    return None


def _is_serving(found: Listener) -> bool:
    return found.body.lstrip().startswith(b"{") and any(
        word in found.body for word in (b"model_version_status", b'"error"')
    )


def _unreachable(found: Listener, address: str) -> str | None:
    host = address.rpartition(":")[0] or address
    texts = {
        Kind.UNKNOWN_HOST: f"the host {host} is not known; check its name",
        Kind.REFUSED: f"nothing listens at {address}; start the server there, or check the address",
        Kind.UNREACHABLE: f"{address} cannot be reached ({found.text}); check the address and the network",
        Kind.SILENT: f"{address} accepts connections and does not answer; check that TensorFlow Serving listens there",
        Kind.CLOSED: f"{address} closes connections without an answer; check that TensorFlow Serving listens there",
        Kind.OTHER: f"{address} answers {found.text!r}, which is not TensorFlow Serving; check the port",
    }
    return texts.get(found.kind)


def _web(found: Listener, address: str, protocol: str, secure: bool, prefix: str) -> str | None:
    """The sentence for a web server that is not TensorFlow Serving."""
    server = _printable(found.headers.get("server", "").encode())
    who = f"{address}{f' ({server})' if server else ''}"
    if 300 <= found.status < 400:
        where = _printable(found.headers.get("location", "elsewhere").encode())
        return f"{who} redirects to {where} (HTTP {found.status}); give that server's own address"
    if found.status in _PROXY_STATUS:
        return f"{who} answers HTTP {found.status}: a proxy whose server behind it does not answer; start that server"
    if found.status in CREDENTIALS:
        return f"{who} answers HTTP {found.status}: it asks for credentials; give them with --header"
    what = found.headers.get("content-type", "").partition(";")[0].strip() or "no content type"
    if protocol == "grpc" or secure or not _is_serving(found):
        page = f"HTTP {found.status}, {_printable(what.encode())}"
        if prefix and found.status == _NOT_FOUND:
            return f"{who} has no TensorFlow Serving under the path {prefix} ({page}); check the path, then the port"
        path = ", or give the path prefix that it is under" if found.status == _NOT_FOUND and protocol == "rest" else ""
        return f"{who} is a web server ({page}), not TensorFlow Serving; check the port{path}"
    return None


def _ask(host: str, port: int, request: bytes, seconds: float) -> bytes | None:
    """The answer to `request` within `seconds`: b"" if the connection is closed, None if there is none.

    Raises:
        OSError: no connection.
    """
    answer = b""
    deadline = time.monotonic() + seconds
    with socket.create_connection((host, port), timeout=seconds) as connection:
        try:
            connection.sendall(request)
            while len(answer) < _MOST_BYTES and (part := connection.recv(_MOST_BYTES)):
                answer += part
                if not answer.startswith(b"HTTP/") or time.monotonic() > deadline:
                    break
        except TimeoutError:
            return answer or None
        except OSError:
            pass
    return answer


def _ask_or_none(host: str, port: int, request: bytes, seconds: float) -> bytes | None:
    try:
        return _ask(host, port, request, seconds)
    except OSError:
        return None


def _is_http2(answer: bytes | None) -> bool:
    """Whether an answer begins with HTTP/2's SETTINGS frame (RFC 9113, section 3.4)."""
    return answer is not None and len(answer) >= _HEAD and answer[3] == SETTINGS and answer[5:_HEAD] == bytes(4)


def _tls(host: str, port: int, seconds: float) -> str | None:
    """The protocol negotiated under TLS (ALPN), "" without one; None if the listener does not speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The probe sends no data, so that it need not verify the certificate.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as raw,
            context.wrap_socket(raw, server_hostname=certificate_name(host)) as connection,
        ):
            return connection.selected_alpn_protocol() or ""
    except ssl.SSLError as error:
        # A server that requires a certificate or other versions of TLS answers with an alert.
        return "" if "ALERT" in str(error).upper() else None
    except (OSError, ValueError):
        return None


def _tls_fault(host: str, port: int, name: str, protocol: str, access: Access) -> str | None:
    """The sentence for a server whose certificate is not trusted, or that does not trust the client; None for others.

    With TLS 1.3 the server rejects a client after the handshake: its alert is then the first thing that it sends.
    """
    try:
        context = client_context(access.tls)
        context.set_alpn_protocols(["h2" if protocol == "grpc" else "http/1.1"])
        with (
            socket.create_connection((host, port), timeout=_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=certificate_name(host)) as connection,
        ):
            connection.settimeout(_ALERT_SECONDS)
            closed = connection.recv(1) == b""
    except ssl.SSLCertVerificationError as error:
        return (
            f"{name} has a certificate that is not trusted ({error.verify_message}); name its authority with --ca-cert"
        )
    except ssl.SSLEOFError:
        closed = True
    except ssl.SSLError as error:
        alert = _CLIENT_ALERT.search(str(error))
        return None if alert is None else _client_fault(name, alert[0].lower().replace("_", " "), access)
    except (OSError, ValueError):
        return None
    # gRPC's own server closes the connection without an alert.
    return _client_fault(name, "it closes the connection", access) if closed else None


def _client_fault(name: str, reason: str, access: Access) -> str:
    if access.tls.cert is None:
        return f"{name} rejects a client without a certificate ({reason}); give --client-cert and --client-key"
    return f"{name} rejects the certificate of --client-cert ({reason}); check its authority and its dates"


def _http(answer: bytes) -> Listener:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/\S+ (\d{3})", first)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Listener(Kind.HTTP, first, int(status[1]) if status else 0, headers, body)


def _printable(answer: bytes) -> str:
    """The first line, with printable characters only."""
    return printable(answer.split(b"\n", 1)[0].decode(errors="replace"), 80)
