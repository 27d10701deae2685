"""What listens at an address, found out after a call that made no sense: one plain sentence for the user.

A client's own library says of a wrong port what its parser stumbled over. Here the address is asked in plain bytes:
a request of HTTP/1.1, HTTP/2's connection preface, and a TLS handshake, each on a connection of its own.
"""

import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from bench.core.errors import printable, reason_of
from bench.serving.http2.frames import PREFACE, SETTINGS, frame

_SECONDS: Final = 1.5
_MOST_BYTES: Final = 1 << 16
_HEAD: Final = 9
_TLS_ALERT: Final = b"\x15\x03"
_SAYS_HTTPS: Final = re.compile(rb"plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server", re.IGNORECASE)
_PROXY_STATUS: Final = (502, 503, 504)
_CREDENTIALS: Final = (401, 403, 407)


class Kind(StrEnum):
    """What an address turned out to be."""

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
    """What listens at an address.

    Args:
        kind: which protocol it speaks, or why none could be found out.
        text: what it says of itself, on one line: the reason, the banner, the protocol under TLS.
        status: HTTP status of its answer, 0 without one.
        headers: of its answer, names in lower case.
        body: begin of its answer's body.
    """

    kind: Kind
    text: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def find_listener(host: str, port: int, path: str = "/", seconds: float = _SECONDS) -> Listener:
    """Asks what listens at an address; some connections are made and closed.

    Args:
        host: name or address, without brackets.
        port: TCP port.
        path: asked for in HTTP.
        seconds: for each step.
    """
    name = f"[{host}]" if ":" in host else host
    request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        said = _ask(host, port, request.encode(), seconds)
    except socket.gaierror:
        return Listener(Kind.UNKNOWN_HOST)
    except ConnectionRefusedError:
        return Listener(Kind.REFUSED)
    except OSError as error:
        return Listener(Kind.UNREACHABLE, "no answer in time" if isinstance(error, TimeoutError) else _reason(error))
    if said is not None and said.startswith(b"HTTP/") and not _SAYS_HTTPS.search(said):
        return _http(said)
    if _is_http2(said) or _is_http2(_ask_quietly(host, port, PREFACE + frame(SETTINGS, 0, 0, b""), seconds)):
        return Listener(Kind.HTTP2)
    under_tls = None if said and not said.startswith((_TLS_ALERT, b"HTTP/")) else _tls(host, port, seconds)
    if under_tls is not None:
        return Listener(Kind.TLS, under_tls)
    if said is None:
        return Listener(Kind.SILENT)
    return Listener(Kind.OTHER, _printable(said)) if said else Listener(Kind.CLOSED)


def explain(
    address: str, protocol: str, *, secure: bool = False, model: str = "", ca: Path | None = None
) -> str | None:
    """What is wrong with an address that should speak `protocol`, and what to give instead; None if nothing is.

    Args:
        address: `host:port`.
        protocol: `rest` or `grpc`.
        secure: whether it should speak TLS.
        model: the model asked for.
        ca: PEM file of the authorities that are trusted; None for the system's.
    """
    parts = urlsplit(f"//{address}")
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    found = find_listener(host, port, f"/v1/models/{quote(model, safe='')}")
    said = describe(found, address, protocol, secure=secure)
    if said is None and secure and (fault := _certificate_fault(host, port, ca)) is not None:
        return f"{address} has a certificate that is not trusted ({fault}); this machine must trust its authority"
    return said


def describe(found: Listener, address: str, protocol: str, *, secure: bool = False) -> str | None:
    """The sentence for a listener; see `explain`."""
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
        return _web(found, address, protocol, secure)
    return None


def _other_endpoint(address: str, protocol: str, speaks: str, tls: str, secure: bool) -> str:
    """For TensorFlow Serving's other endpoint, or the right one with or without TLS."""
    names = {"rest": "REST", "grpc": "gRPC"}
    scheme = {"rest": "http", "grpc": "grpc"}[speaks] + tls
    is_what = f"{address} speaks {names[speaks]}" + (" over TLS" if tls else " without TLS" if secure else "")
    meant = f", not {names[protocol]}" if speaks != protocol else ""
    other = f", or the server's {names[protocol]} port" if speaks != protocol else ""
    return f"{is_what}{meant}; give {scheme}://{address}{other}"


def _speaks(found: Listener) -> str | None:
    """The endpoint of TensorFlow Serving that this may be."""
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


def _web(found: Listener, address: str, protocol: str, secure: bool) -> str | None:
    """For a web server that is not TensorFlow Serving."""
    server = _printable(found.headers.get("server", "").encode())
    who = f"{address}{f' ({server})' if server else ''}"
    if 300 <= found.status < 400:
        where = _printable(found.headers.get("location", "elsewhere").encode())
        return f"{who} redirects to {where} (HTTP {found.status}); give that server's own address"
    if found.status in _PROXY_STATUS:
        return f"{who} answers HTTP {found.status}: a proxy whose server behind it does not answer; start that server"
    if found.status in _CREDENTIALS:
        return f"{who} answers HTTP {found.status}: it asks for credentials; give the server's own address"
    what = found.headers.get("content-type", "").partition(";")[0].strip() or "no content type"
    if protocol == "grpc" or secure or not _is_serving(found):
        page = f"HTTP {found.status}, {_printable(what.encode())}"
        return f"{who} is a web server ({page}), not TensorFlow Serving; check the port"
    return None


def _ask(host: str, port: int, request: bytes, seconds: float) -> bytes | None:
    """What comes back for `request` within `seconds`: b"" if the connection is closed, None if nothing comes.

    Raises:
        OSError: no connection.
    """
    said = b""
    deadline = time.monotonic() + seconds
    with socket.create_connection((host, port), timeout=seconds) as connection:
        try:
            connection.sendall(request)
            while len(said) < _MOST_BYTES and (part := connection.recv(_MOST_BYTES)):
                said += part
                if not said.startswith(b"HTTP/") or time.monotonic() > deadline:
                    break
        except TimeoutError:
            return said or None
        except OSError:
            pass
    return said


def _ask_quietly(host: str, port: int, request: bytes, seconds: float) -> bytes | None:
    try:
        return _ask(host, port, request, seconds)
    except OSError:
        return None


def _is_http2(said: bytes | None) -> bool:
    """Whether a server begins with the SETTINGS frame that HTTP/2 begins with (RFC 9113, section 3.4)."""
    return said is not None and len(said) >= _HEAD and said[3] == SETTINGS and said[5:_HEAD] == bytes(4)


def _tls(host: str, port: int, seconds: float) -> str | None:
    """The protocol chosen under TLS (ALPN), "" if none is; None where there is no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Only who is there is asked; nothing is sent that anybody could read.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            return connection.selected_alpn_protocol() or ""
    except ssl.SSLError as error:
        # A server that asks for a certificate, or takes other versions, speaks TLS all the same.
        return "" if "ALERT" in str(error).upper() else None
    except (OSError, ValueError):
        return None


def _certificate_fault(host: str, port: int, ca: Path | None) -> str | None:
    """Why a server's certificate is refused; None if it is not."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        with socket.create_connection((host, port), timeout=_SECONDS) as raw:
            context.wrap_socket(raw, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        pass
    return None


def _http(said: bytes) -> Listener:
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/\S+ (\d{3})", first)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Listener(Kind.HTTP, first, int(status[1]) if status else 0, headers, body)


def _printable(said: bytes) -> str:
    """The first line of it, as far as people can read it."""
    return printable(said.split(b"\n", 1)[0].decode(errors="replace"), 80)


def _reason(error: OSError) -> str:
    return reason_of(error)
