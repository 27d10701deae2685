"""The embedded server's life: start and its failures, versions that come and go, configs, batching, an orderly end."""

import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from bench.bert.export.warmup_requests import write_warmup
from bench.load.monitor.prometheus import read_page
from bench.server.running import free_ports
from bench.serving.protos import get_model_status_pb2, model_management_pb2, predict_pb2
from bench.serving.types import PredictRequest
from tests.support import saved_models as models
from tests.support.debian import installed
from tests.support.embedded_contract_cases import strings
from tests.support.embedded_server import (
    Served,
    entry,
    floats,
    model_config,
    predict_request,
    run_once,
    start,
)

PREDICT = "PredictionService/Predict"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built versions to copy from: `affine/1` to `affine/4`, `busy/1` and `gated/1`."""
    root = tmp_path_factory.mktemp("store")
    (root / "affine").mkdir()
    (root / "busy").mkdir()
    (root / "gated").mkdir()
    for version in (1, 2, 3, 4):
        models.affine(root / "affine", version)
    models.busy(root / "busy", 1)
    models.gated(root / "gated", 1)
    return root


def publish(store: Path, base: Path, *versions: int) -> Path:
    """Puts versions of `affine` under a base path, each appearing whole."""
    base.mkdir(exist_ok=True)
    for version in versions:
        partial = base / f"{version}.partial"
        shutil.copytree(store / "affine" / str(version), partial)
        partial.rename(base / str(version))
    return base


def answer(served: Served, model: str = "affine", **inputs: Any) -> tuple[int, float]:
    """The version that answered for x = 0, and its y, which is the version plus one."""
    response = served.call(PREDICT, predict_request(model, **(inputs or {"x": floats(0)})), predict_pb2.PredictResponse)
    return response.model_spec.version.value, response.outputs["y"].float_val[0]


def states(served: Served, model: str = "affine") -> dict[int, str]:
    response = served.call(
        "ModelService/GetModelStatus",
        get_model_status_pb2.GetModelStatusRequest(model_spec={"name": model}),
        get_model_status_pb2.GetModelStatusResponse,
    )
    names = get_model_status_pb2.ModelVersionStatus.State
    return {one.version: names.Name(one.state) for one in response.model_version_status}


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)


def reload(served: Served, *entries: dict[str, Any], timeout: float = 30.0) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    for config in entries:
        request.config.model_config_list.config.add(**{"model_platform": "tensorflow", **config})
    return served.call(
        "ModelService/HandleReloadConfigRequest", request, model_management_pb2.ReloadConfigResponse, timeout
    )


# Start


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The line that says why a server ended; there is no traceback."""
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("bertbench embedded server: ")][-1]


def test_flags_that_are_wrong() -> None:
    assert "unknown argument: --nope" in one_line(run_once("--nope"))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("model_config_file", "ModelServerConfig"),
        ("batching_parameters_file", "BatchingParameters"),
        ("monitoring_config_file", "MonitoringConfig"),
        ("ssl_config_file", "SSLConfig"),
    ],
)
def test_a_config_file_that_is_wrong(tmp_path: Path, flag: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text("\n nope { }")
    done = run_once(f"--{flag}={path}", f"--model_base_path={tmp_path}", "--rest_api_port=1", "--enable_batching")
    assert f"Invalid protobuf file: '{path}'" in one_line(done)
    assert done.returncode == 2
    assert f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{path}'" in done.stdout
    name = f"tensorflow.serving.{message}"
    reason = f'Error parsing text-format {name}: 2:7: Message type "{name}" has no field named "nope".'
    # Of a file with keys nothing is shown.
    shown = [line for line in done.stderr.splitlines() if line.endswith(f"] {reason}")]
    assert bool(shown) == (flag != "ssl_config_file")


def test_a_monitoring_file_without_rest_is_not_looked_at(store: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = run_once(f"--monitoring_config_file={tmp_path / 'none'}", f"--port={port}", "--model_base_path=relative")
    assert "absolute path" in one_line(done)
    text = "Error: INVALID_ARGUMENT: Expected model default to have an absolute path or URI; got base_path()=relative"
    assert f"Failed to start server. {text}" in done.stdout


def test_a_base_path_that_is_relative() -> None:
    done = run_once("--model_base_path=models/m")
    line = one_line(done)
    assert done.returncode == 2
    assert "Expected model default to have an absolute path or URI; got base_path()=models/m" in line


def test_a_label_at_the_start_when_no_version_serves(store: Path, tmp_path: Path) -> None:
    labelled = entry("affine", store / "affine", 'version_labels { key: "stable" value: 4 }')
    line = one_line(run_once(f"--model_config_file={model_config(tmp_path / 'models.config', labelled)}"))
    assert (
        "Request to assign label to version 4 of model affine, which is not currently available for inference" in line
    )


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_that_is_taken(store: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {**dict(zip(("port", "rest_api_port"), free_ports(2), strict=True)), flag: taken.getsockname()[1]}
        words = [f"--{name}={port}" for name, port in ports.items()]
        line = one_line(run_once(f"--model_base_path={store / 'affine'}", *words))
    assert f"127.0.0.1:{ports[flag]}" in line
    assert f"give another --{flag}" in line


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (port,) = free_ports(1)
    done = run_once(f"--port={port}", f"--model_base_path={tmp_path / 'm'}", "--max_num_load_retries=0")
    assert "1 servable(s) did not become available: {{{name: default version: 1} due to error: " in one_line(done)
    assert "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: " in done.stdout
    assert done.returncode == 4


def test_a_base_path_that_is_not_there_yet(store: Path, tmp_path: Path) -> None:
    base = tmp_path / "affine"
    with start("--model_name=affine", f"--model_base_path={base}", ready=False) as served:
        assert str(base) in served.until_logged("warning: Could not find base path")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", served.rest_port), timeout=120)
        publish(store, base, 1)
        served.until_logged("server ready")
        assert answer(served) == (1, 2.0)


def test_recorded_requests_are_run_before_a_version_serves(store: Path, tmp_path: Path) -> None:
    base = publish(store, tmp_path / "affine", 1)
    extra = base / "1" / "assets.extra"
    extra.mkdir()
    warmup = extra / "tf_serving_warmup_requests"
    write_warmup(warmup, [PredictRequest({"x": np.array([1, 2], np.float32)}, "both", "affine")] * 3)
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ("--model_name=affine", f"--model_base_path={base}", f"--monitoring_config_file={monitoring}")
    with start(*flags, "--num_request_iterations_for_warmup=2") as served:
        page = served.http("GET", "/monitoring/prometheus/metrics")[2].decode()
        assert 'runtime_latency_count{model_name="affine",API="Predict",runtime="TF1"} 6' in page
        # A version whose requests fail does not come to serve; the old one stays.
        publish(store, tmp_path / "next", 2)
        (tmp_path / "next" / "2" / "assets.extra").mkdir()
        write_warmup(
            tmp_path / "next" / "2" / "assets.extra" / warmup.name,
            [PredictRequest({"x": np.array([1], np.int32)}, model="affine")],
        )
        (tmp_path / "next" / "2").rename(base / "2")
        assert "Expects arg[0] to be float but int32 is provided" in served.until_logged("version 2 failed to load")
        assert states(served) == {1: "AVAILABLE", 2: "LOADING"}
        assert answer(served) == (1, 2.0)


def test_a_standard_error_on_a_full_disk(store: Path, tmp_path: Path) -> None:
    """Whatever is logged is lost; versions that do not load and the end are as ever."""
    (tmp_path / "broken" / "1").mkdir(parents=True)
    grpc_port, rest_port = free_ports(2)
    words = [f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--max_num_load_retries=0"]
    command = [sys.executable, "-m", "bench.server.embedded", *words, f"--model_base_path={store / 'affine'}"]
    with open("/dev/full", "w") as full, subprocess.Popen(command, stdout=full, stderr=full, text=True) as process:
        served = Served(process, rest_port, grpc_port)
        try:
            until(lambda: process.poll() is not None or is_open(rest_port))
            default = {"name": "default", "base_path": str(store / "affine")}
            with pytest.raises(grpc.RpcError, match="did not become available"):
                reload(served, default, {"name": "broken", "base_path": str(tmp_path / "broken")})
            assert states(served, "broken") == {1: "END"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


# Versions and configs


def test_versions_come_and_go_under_load(store: Path, tmp_path: Path) -> None:
    """No request fails, and every answer is that of the version that it names."""
    base = publish(store, tmp_path / "affine", 1)
    seen: list[tuple[int, float]] = []
    stop = threading.Event()

    def ask(served: Served) -> None:
        with served.channel() as channel:
            call = channel.unary_unary(f"/tensorflow.serving.{PREDICT}")
            message = predict_request("affine", x=floats(0)).SerializeToString()
            while not stop.is_set():
                response = predict_pb2.PredictResponse.FromString(call(message, timeout=120))
                seen.append((response.model_spec.version.value, response.outputs["y"].float_val[0]))

    with start("--model_name=affine", f"--model_base_path={base}") as served:
        clients = [threading.Thread(target=ask, args=(served,)) for _ in range(4)]
        for client in clients:
            client.start()
        for version in (2, 3):
            publish(store, base, version)
            until(lambda version=version: states(served).get(version) == "AVAILABLE")  # type: ignore[misc]
            until(lambda version=version: states(served).get(version - 1) == "END")  # type: ignore[misc]
        shutil.rmtree(base / "3")
        until(lambda: states(served).get(2) == "AVAILABLE")
        stop.set()
        for client in clients:
            client.join()
        assert states(served) == {3: "END", 2: "AVAILABLE", 1: "END"}
    assert {version for version, _ in seen} == {1, 2, 3}
    assert all(y == version + 1 for version, y in seen)


@pytest.fixture(scope="module")
def managed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A server with the versions 1 to 3 on disk, of which the latest two serve, and their folder."""
    base = publish(store, tmp_path_factory.mktemp("managed") / "affine", 1, 2, 3)
    config = model_config(
        base.parent / "models.config", entry("affine", base, "model_version_policy { latest { num_versions: 2 } }")
    )
    with start(f"--model_config_file={config}") as served:
        yield served, base


def test_the_latest_versions_serve(managed: tuple[Served, Path]) -> None:
    served, base = managed
    reload(served, {"name": "affine", "base_path": str(base), "model_version_policy": {"latest": {"num_versions": 2}}})
    until(lambda: states(served).get(2) == states(served).get(3) == "AVAILABLE")
    assert answer(served) == (3, 4.0)
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Specific\(affine, 1\)"):
        request = predict_request("affine", x=floats(0))
        request.model_spec.version.value = 1
        served.call(PREDICT, request, predict_pb2.PredictResponse)


def test_a_config_takes_and_gives_models_and_labels(managed: tuple[Served, Path]) -> None:
    served, base = managed
    affine = {"name": "affine", "base_path": str(base), "model_version_policy": {"specific": {"versions": [1, 2]}}}
    second = {"name": "second", "base_path": str(base)}
    reload(served, affine, second)
    # The new model serves as soon as the call returns; versions of the old one follow.
    assert answer(served, "second") == (3, 4.0)
    until(lambda: [version for version, state in states(served).items() if state == "AVAILABLE"] == [2, 1])
    reload(served, {**affine, "version_labels": {"stable": 1}}, second)
    assert served.post("/v1/models/affine/labels/stable:predict", {"instances": [0]}) == (200, {"predictions": [2.0]})
    with pytest.raises(grpc.RpcError) as caught:
        reload(served, {**affine, "version_labels": {"stable": 7}}, second)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == (
        "Request to assign label to version 7 of model affine, which is not currently available for inference"
    )
    reload(served, affine)
    until(lambda: set(states(served, "second").values()) == {"END"})
    status, body = served.post("/v1/models/affine/labels/stable:predict", {"instances": [0]})
    assert (status, body["error"]) == (400, "Unrecognized servable version label: stable")
    assert served.post("/v1/models/second:predict", {"instances": [0]})[0] == 404


def test_a_config_that_is_refused_for_a_model_has_given_its_labels(managed: tuple[Served, Path]) -> None:
    served, base = managed
    affine = {"name": "affine", "base_path": str(base)}
    reload(served, affine)
    until(lambda: answer(served) == (3, 4.0))
    reload(served, {**affine, "version_labels": {"stable": 3}})
    assert served.post("/v1/models/affine/labels/stable:predict", {"instances": [0]})[0] == 200
    for platform, error in (
        ("nope", "Model other requests unsupported platform nope"),
        # The refused config is the one that the next is compared with.
        (
            "tensorflow",
            "Illegal to change a model's platform. For model other platform was nope and new platform requested is "
            "tensorflow",
        ),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            reload(served, {"name": "other", "base_path": str(base), "model_platform": platform})
        assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", error)
    # What served goes on, without its label.
    assert answer(served) == (3, 4.0)
    status, body = served.post("/v1/models/affine/labels/stable:predict", {"instances": [0]})
    assert (status, body["error"]) == (400, "Unrecognized servable version label: stable")
    reload(served, affine)


def test_a_reload_waits_for_a_model_until_its_caller_is_gone(managed: tuple[Served, Path], tmp_path: Path) -> None:
    served, base = managed
    with pytest.raises(grpc.RpcError) as caught:
        reload(
            served, {"name": "affine", "base_path": str(base)}, {"name": "new", "base_path": str(tmp_path)}, timeout=0.5
        )
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # It does not stand in the way of the next.
    reload(served, {"name": "affine", "base_path": str(base)})
    assert answer(served) == (3, 4.0)


def test_the_config_file_is_followed(store: Path, tmp_path: Path) -> None:
    base = publish(store, tmp_path / "affine", 1)
    config = model_config(tmp_path / "models.config", entry("affine", base))
    with start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1") as served:
        config.write_text("nonsense")
        served.until_logged("Error parsing text-format tensorflow.serving.ModelServerConfig: 1:9: ")
        assert served.until_logged("Failed to read ModelServerConfig file").endswith(
            f"Invalid protobuf file: '{config}'"
        )
        served.until_logged("warning: cannot apply the model config file, .*: Invalid protobuf file")
        model_config(config, entry("affine", Path("relative")))
        served.until_logged(
            "PollFilesystemAndReloadConfig failed to ReloadConfig: Expected model affine to have an absolute path"
        )
        # A poll waits for a model that never serves only until the file changes.
        model_config(config, entry("affine", base), entry("again", tmp_path / "typo"))
        served.until_logged("Could not find base path .*typo")
        model_config(config, entry("affine", base), entry("again", base))
        until(lambda: served.http("GET", "/v1/models/again")[0] == 200)
        until(lambda: set(states(served, "again").values()) == {"AVAILABLE"})
        assert answer(served, "again") == (1, 2.0)


# Addresses


def test_a_socket_and_tls(store: Path, tmp_path: Path) -> None:
    subprocess.run(
        [installed("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out",
         tmp_path / "cert", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    key, cert = ((tmp_path / name).read_text() for name in ("key", "cert"))
    (tmp_path / "ssl.config").write_text(f"server_key: {json.dumps(key)} server_cert: {json.dumps(cert)}")
    path = tmp_path / "grpc.sock"
    flags = (f"--model_base_path={store / 'affine'}", f"--ssl_config_file={tmp_path / 'ssl.config'}")
    with start(*flags, f"--grpc_socket_path={path}") as served:
        credentials = grpc.ssl_channel_credentials(cert.encode())
        message = predict_request("default", x=floats(0)).SerializeToString()
        options = [("grpc.ssl_target_name_override", "localhost")]
        for address in (f"127.0.0.1:{served.grpc_port}", f"unix:{path}"):
            with grpc.secure_channel(address, credentials, options) as channel:
                response = channel.unary_unary(f"/tensorflow.serving.{PREDICT}")(message, timeout=120)
                assert predict_pb2.PredictResponse.FromString(response).model_spec.version.value == 4


# Load


def test_more_calls_than_threads_are_refused(store: Path) -> None:
    with start("--model_name=busy", f"--model_base_path={store / 'busy'}", "--grpc_max_threads=1") as served:
        with served.channel() as channel:
            call = channel.unary_unary(f"/tensorflow.serving.{PREDICT}")
            endless = busy_request(2_000_000_000)
            long = call.future(endless, timeout=120)

            def refused() -> bool:
                nonlocal long
                if long.done():
                    # Of two calls that come together either may be the one that finds the thread taken.
                    assert long.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    long = call.future(endless, timeout=120)
                error = call.future(busy_request(0), timeout=120).exception()
                return error is not None and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

            until(refused)
            long.cancel()
            # Its place is free again once the run is over, which nobody waits for.
        served.process.kill()


def busy_request(count: int) -> bytes:
    proto = predict_request("busy").inputs["n"]
    proto.dtype = 3
    proto.tensor_shape.dim.add(size=1)
    proto.int_val.append(count)
    return predict_request("busy", n=proto).SerializeToString()  # type: ignore[no-any-return]


def test_batches(store: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "batching_parameters.txt"
    parameters.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 20000 } max_enqueued_batches { value: 2 } "
        "num_batch_threads { value: 1 } allowed_batch_sizes: 2 allowed_batch_sizes: 4"
    )
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with start(
        "--model_name=affine",
        f"--model_base_path={store / 'affine'}",
        "--enable_batching",
        f"--batching_parameters_file={parameters}",
        f"--monitoring_config_file={monitoring}",
        "--grpc_max_threads=32",
    ) as served:
        with served.channel() as channel:
            call = channel.unary_unary(f"/tensorflow.serving.{PREDICT}")
            calls = [
                call.future(predict_request("affine", x=floats(value, value)).SerializeToString(), timeout=120)
                for value in range(4)
            ]
            for value, one in enumerate(calls):
                outputs = predict_pb2.PredictResponse.FromString(one.result()).outputs["y"]
                assert list(outputs.float_val) == [value / 2 + 5] * 2
        page = served.http("GET", "/monitoring/prometheus/metrics")[2].decode()
        (runs,) = [
            line for line in page.splitlines() if line.startswith(":tensorflow:serving:batching_session:wrapped")
        ]
        assert int(runs.rsplit(" ", 1)[1]) < 4
        assert 'batching_session:queuing_latency_count{thread_pool_name=""} 4' in page
        # The wait for a batch is part of the session's time, and that of the request's.
        seconds = read_page(page, "affine")
        assert 0 < seconds["queue_seconds"] <= seconds["runtime_seconds"] <= seconds["grpc_seconds"]
        status, body = served.post("/v1/models/affine:predict", {"instances": [0] * 5})
        assert (status, body["error"]) == (400, "Task size 5 is larger than maximum input batch size 4")
        assert served.post("/v1/models/affine:predict", {"signature_name": "both", "instances": [0, 0, 0]})[1] == {
            "predictions": [{"y": 5.0, "z": 50.0}] * 3
        }
        assert served.post("/v1/models/affine:predict", {"inputs": 1.0})[0] == 400


# The end


def test_what_is_in_flight_is_answered(store: Path, tmp_path: Path) -> None:
    """On SIGTERM the port refuses, requests that are in are answered, and the exit code is 0."""
    paths = {name: tmp_path / name for name in ("rest", "grpc")}
    with start("--model_name=gated", f"--model_base_path={store / 'gated'}") as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.rest_port, timeout=120)
        connection.request("POST", "/v1/models/gated:predict", json.dumps({"instances": [str(paths["rest"])]}))
        idle = http.client.HTTPConnection("127.0.0.1", served.rest_port, timeout=120)
        idle.request("GET", "/v1/models/gated")
        idle.getresponse().read()
        with served.channel() as channel:
            message = predict_request("gated", path=strings(bytes(paths["grpc"]))).SerializeToString()
            call = channel.unary_unary(f"/tensorflow.serving.{PREDICT}").future(message, timeout=120)
            until(lambda: all(path.with_suffix(".began").exists() for path in paths.values()))
            served.process.send_signal(signal.SIGTERM)
            until(lambda: refuses(served.rest_port) and refuses(served.grpc_port))
            # A client that kept its connection may still be served for a while, and learns that it ends.
            with contextlib.suppress(ConnectionError):
                idle.request("GET", "/v1/models/gated")
                last = idle.getresponse()
                assert (last.status, last.getheader("Connection")) == (200, "close")
            for path in paths.values():
                path.touch()
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())) == (200, {"predictions": [True]})
            assert response.getheader("Connection") == "close"
            outputs = predict_pb2.PredictResponse.FromString(call.result()).outputs
            assert list(outputs["opened"].bool_val) == [True]
        assert served.process.wait(120) == 0


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=120).close()
    except OSError:
        return True
    return False


LOADING = """import ctypes, sys
from bench.server.embedded import server
def library():
    print("loading", flush=True)
    ctypes.PyDLL(None).sleep(600)
server.library = library
server.main(sys.argv[1:])
"""


def test_a_signal_while_the_library_loads_ends_the_process_at_once(tmp_path: Path) -> None:
    """No Python code runs meanwhile, as here in a call that does not let go of the interpreter."""
    words = [f"--port={free_ports(1)[0]}", f"--model_base_path={tmp_path}"]
    with subprocess.Popen([sys.executable, "-c", LOADING, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "loading\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == -signal.SIGTERM
        finally:
            process.kill()
