"""What listens, and where: on this machine only, unless the user opens it by the option that is documented for it."""

import ast
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.config.names import known_names
from bench.load.selftest.null_server import null_server
from bench.server.embedded.net.listeners import listen_tcp
from bench.server.lifecycle import RunningServer
from bench.server.running import free_ports
from tests.support.listening import beyond_loopback, listening
from tests.support.locust_process import ROOT, environment, started, wait_for
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/net")

LISTENERS = {
    "bench/load/live/prometheus_page.py": "--metrics-port HOST:PORT",
    "bench/load/selftest/null_server.py": "--bind HOST",
    "bench/server/embedded/grpc/grpcio_server.py": "--bind_address",
    "bench/server/embedded/net/listeners.py": "--bind_address",
    # Asks for a free port on loopback, and closes it.
    "bench/server/running.py": "",
    # Only listens again on what listeners.py opened.
    "bench/server/embedded/net/socket_server.py": "",
}
"""The modules that listen, and what opens each to other machines; Locust's web UI and master are its own code."""
CALLS = {
    *("listen", "create_server", "start_server", "create_unix_server", "start_unix_server", "serve_forever"),
    *("add_insecure_port", "add_secure_port", "WSGIServer", "StreamServer", "HTTPServer", "ThreadingHTTPServer"),
    *("make_server", "start_http_server", "start_wsgi_server"),
}


def test_what_the_page_on_security_says_opens_a_listener_exists() -> None:
    """An option of a command or of Locust, or of the module that the cell names."""
    (table,) = re.findall(r"\n\| what \| who reaches it .*?\n\n", (ROOT / "SECURITY.md").read_text(), re.DOTALL)
    known = known_names()
    options = {*known.locust, *known.scenarios}.union(*known.options.values())
    named = 0
    for row in table.strip().splitlines():
        opens = row.split("|")[-2]
        modules = re.findall(r"`python -m ([\w.]+)`", opens)
        sources = "".join((ROOT / f"{module.replace('.', '/')}.py").read_text() for module in modules)
        for option in re.findall(r"`--([\w-]+)", opens):
            named += 1
            assert f'"--{option}"' in sources if modules else option in options, row
    assert named >= 6


def calls(text: str) -> Iterator[str]:
    """The names that a module calls."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", ""))


def test_every_module_that_listens_is_known() -> None:
    """`run`, `gate`, `capacity`, `score`, `verify`, `report` and all others listen by these modules or not at all."""
    found = set()
    for path in (ROOT / "bench").rglob("*.py"):
        text = path.read_text()
        if any(f"{name}(" in text for name in CALLS) and CALLS & set(calls(text)):
            found.add(str(path.relative_to(ROOT)))
    assert found == set(LISTENERS)


def test_the_embedded_server_listens_on_this_machine_only(demo_server: RunningServer) -> None:
    """It is the server of `serve`, `demo`, `run`, `score`, `verify`, `gate` and `capacity` alike."""
    assert demo_server.pid is not None
    found = listening(demo_server.pid)
    ports = {int(address.rpartition(":")[2]) for address in (str(demo_server.grpc), demo_server.rest_address)}
    assert {port for _, port in found} == ports
    assert beyond_loopback(found) == set()


def test_an_address_that_is_named_is_opened() -> None:
    """The flag `--bind_address` reaches this as it is; so the table of this test sees what is open to others."""
    (port,) = free_ports(1)
    for host in ("0.0.0.0", "::"):
        with listen_tcp(host, port, "port"):
            assert (host, port) in beyond_loopback(listening(os.getpid()))


@contextlib.contextmanager
def locust_master(folder: Path, *words: str) -> Iterator[set[tuple[str, int]]]:
    """What a master with a worker, the web UI and a metrics page listens on, once all three do."""
    web, metrics = free_ports(2)
    given = ["--model-dir", str(write_model_dir(folder / "model")), "--processes", "1", "--web-port", str(web)]
    host = "0.0.0.0:" if words else ""
    process = started("rest.py", *given, *words, "--metrics-port", f"{host}{metrics}")
    try:
        yield wait_for(lambda: len(found := listening(process.pid)) >= 3 and found)
    finally:
        process.terminate()
        process.communicate(timeout=120)


def test_locust_listens_on_this_machine_only(tmp_path: Path) -> None:
    """Whoever reaches the web UI can send load anywhere, and whoever reaches the master gets the headers."""
    with locust_master(tmp_path) as found:
        assert beyond_loopback(found) == set()


def test_locust_is_opened_by_its_options(tmp_path: Path) -> None:
    with locust_master(tmp_path, "--web-host", "0.0.0.0", "--master-bind-host", "0.0.0.0") as found:
        assert found == beyond_loopback(found)


def test_the_null_server_of_calibrate_listens_on_this_machine_only(tmp_path: Path) -> None:
    with null_server(write_model_dir(tmp_path)) as addresses:
        ports = {int(address.rpartition(":")[2]) for address in addresses.values()}
        found = {entry for entry in listening(os.getpid()) if entry[1] in ports}
    assert {port for _, port in found} == ports
    assert beyond_loopback(found) == set()


def test_a_run_of_several_processes_listens_on_this_machine_only(tmp_path: Path) -> None:
    """Its Locust takes no host of the environment. The master listens while it waits for a server that is not there."""
    (nobody,) = free_ports(1)
    words = ["run", "rest", "--target", f"http://127.0.0.1:{nobody}", "--processes", "2", "--ready-timeout", "2m"]
    words += ["--model-dir", str(write_model_dir(tmp_path)), "--out", str(tmp_path / "runs")]
    opened = {"LOCUST_MASTER_BIND_HOST": "0.0.0.0", "LOCUST_WEB_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "bench", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment() | opened) as process:
        try:
            found = wait_for(lambda: listening(process.pid))
        finally:
            process.terminate()
    assert process.returncode == 143
    assert beyond_loopback(found) == set()
