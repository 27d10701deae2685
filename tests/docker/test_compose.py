"""The Compose files are accepted in every combination, and say what the guide promises."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.load.setup.catalog import SCENARIOS
from bench.server.container import IMAGES
from bench.server.embedded.base import metrics
from tests.support.compose import compose_environment
from tests.support.pages import ROOT

DOCKER = ROOT / "docker"
IMAGE_VARIABLES = {"cpu": "SERVING_IMAGE", "gpu": "SERVING_GPU_IMAGE"}
PROFILES = {
    (): {"serving"},
    ("load",): {"serving", "master", "worker"},
    ("metrics",): {"serving", "prometheus", "grafana"},
    ("load", "metrics"): {"serving", "master", "worker", "prometheus", "grafana"},
}


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return compose_environment()


def compose(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "compose", *words, "config", "--format", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def document(device: str, profiles: tuple[str, ...], environment: dict[str, str]) -> Any:
    words = ["--file", str(DOCKER / f"compose.{device}.yml")]
    words += [word for profile in profiles for word in ("--profile", profile)]
    done = compose({"MODEL_DIR": str(DOCKER), **environment}, *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def config(device: str, profiles: tuple[str, ...], environment: dict[str, str]) -> dict[str, Any]:
    services: dict[str, Any] = document(device, profiles, environment)["services"]
    return services


@pytest.mark.parametrize("profiles", PROFILES, ids="+".join)
@pytest.mark.parametrize("device", IMAGE_VARIABLES)
def test_every_combination_is_accepted(
    device: str, profiles: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    own = {"MODEL_DIR": str(tmp_path), IMAGE_VARIABLES[device]: "mirror.example/serving@sha256:" + "0" * 64}
    services = config(device, profiles, environment | own)
    assert set(services) == PROFILES[profiles]
    serving = services["serving"]
    assert serving["image"] == own[IMAGE_VARIABLES[device]]
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", ())} == {"127.0.0.1"}
    (model,) = (volume for volume in serving["volumes"] if volume["target"] == "/models/bert")
    assert (model["source"], model["read_only"]) == (str(tmp_path), True)
    devices = serving.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
    gpus = [{"capabilities": ["gpu"], "driver": "nvidia", "count": -1}]
    assert devices == (gpus if device == "gpu" else None)


@pytest.mark.parametrize("device", IMAGES)
def test_no_model_folder_is_made_up(device: str, environment: dict[str, str]) -> None:
    """Docker would make a folder that is missing, as root's, and Serving would start on it."""
    done = compose(environment, "--file", str(DOCKER / f"compose.{device}.yml"))
    assert done.returncode != 0
    assert "MODEL_DIR" in done.stderr
    assert "give the folder that holds the version folders" in done.stderr


@pytest.mark.parametrize("device", IMAGES)
def test_paths_may_hold_a_colon_and_must_exist(device: str, environment: dict[str, str], tmp_path: Path) -> None:
    """The short form of a volume divides at colons, and makes what is missing."""
    model, results, group = (str(tmp_path / name) for name in ("my:model", "my:results", "docker:0123.scope"))
    own = {"MODEL_DIR": model, "RESULTS_DIR": results, "SERVING_CPU_CGROUP": group, "SERVING_MEMORY_CGROUP": group}
    files = [str(DOCKER / name) for name in (f"compose.{device}.yml", "compose.cgroup.yml")]
    words = [word for file in files for word in ("--file", file)]
    done = compose(environment | own, *words, "--profile", "load", "--profile", "metrics")
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"].values()
    volumes = [volume for service in services for volume in service.get("volumes", ())]
    assert {volume["source"] for volume in volumes} >= {model, results, group}
    assert {volume["type"] for volume in volumes} == {"bind"}
    # Left out where it is false.
    assert not any(volume.get("bind", {}).get("create_host_path") for volume in volumes)


@pytest.mark.parametrize("device", IMAGES)
def test_the_project_is_not_named_by_its_folder(device: str, environment: dict[str, str]) -> None:
    """Any checkout may have a folder `docker`, which Compose would take for the same project."""
    assert document(device, (), environment)["name"] == "bertbench"


def test_the_variables_reach_the_services(environment: dict[str, str], tmp_path: Path) -> None:
    own = {
        "MODEL_DIR": str(tmp_path),
        "RESULTS_DIR": str(tmp_path / "results"),
        "RUN_AS": "1234:5678",
        "WORKERS": "5",
        "USERS": "40",
        "RUN_TIME": "90s",
        "SCENARIO": "grpc_api",
        "LOAD_OPTIONS": "--arrivals poisson:rate=50 --seed 3",
        "LOAD_CPUSET": "1",
        "SERVING_CPUS": "1.5",
        "SERVING_MEMORY": "2g",
        "SERVING_CPUSET": "0",
        "LOAD_IMAGE": "own/load:1",
        "WORKER_IMAGE": "own/worker:1",
    }
    services = config("cpu", ("load",), environment | own)
    serving, master, worker = services["serving"], services["master"], services["worker"]
    assert (serving["cpus"], serving["mem_limit"], serving["cpuset"]) == (1.5, str(2 << 30), "0")
    assert worker["deploy"]["replicas"] == 5
    assert (master["image"], worker["image"]) == ("own/load:1", "own/worker:1")
    words = " ".join(master["command"])
    for text in ("/scenarios/grpc_api.py", "--users 40", "--run-time 90s", "--expect-workers 5", own["LOAD_OPTIONS"]):
        assert text in words
    assert "--master-bind-host 0.0.0.0" in words
    for service in (master, worker):
        assert service["user"] == "1234:5678"
        assert service["cpuset"] == "1"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert {volume["source"] for volume in master["volumes"]} == {str(tmp_path), str(tmp_path / "results")}


@pytest.mark.parametrize("device", IMAGES)
@pytest.mark.parametrize(("own", "threads"), [({}, 256), ({"SERVING_GRPC_THREADS": "32"}, 32)])
def test_serving_takes_more_calls_at_once_than_a_pool_sends(
    device: str, own: dict[str, str], threads: int, environment: dict[str, str]
) -> None:
    """Four a core, Serving's default, refuses a third of what the default pool of 16 users sends to two cores."""
    command = config(device, ("load",), environment | own)["serving"]["command"]
    assert [flag for flag in command if "threads" in flag] == [f"--grpc_max_threads={threads}"]


@pytest.mark.parametrize("device", IMAGES)
def test_the_default_images_are_the_public_ones(device: str, environment: dict[str, str]) -> None:
    assert config(device, (), environment)["serving"]["image"] == IMAGES[device]


def test_files_named_in_commands_exist() -> None:
    for file in DOCKER.glob("compose.*.yml"):
        for word in re.findall(r"/config/([\w.]+)", file.read_text()):
            assert (DOCKER / "serving" / word).is_file(), word


@pytest.mark.parametrize("path", sorted((DOCKER / "serving").iterdir()), ids=lambda path: str(path.name))
def test_each_value_of_serving_s_files_has_a_comment(path: Path) -> None:
    """A paragraph of settings starts with its comment."""
    for paragraph in path.read_text().split("\n\n"):
        assert paragraph.lstrip().startswith("#"), paragraph


def test_prometheus_scrapes_the_page_that_serving_s_file_switches_on() -> None:
    (job,) = yaml.safe_load((DOCKER / "metrics" / "prometheus.yml").read_text())["scrape_configs"]
    assert f'path: "{job["metrics_path"]}"' in (DOCKER / "serving" / "monitoring.config").read_text()
    assert job["static_configs"] == [{"targets": ["serving:8501"]}]


def test_the_dashboard_is_provisioned_and_asks_for_metrics_that_serving_has() -> None:
    provisioning = DOCKER / "metrics" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "bertbench.yml").read_text())["providers"]
    grafana = yaml.safe_load((DOCKER / "compose.cpu.yml").read_text())["services"]["grafana"]
    assert any(volume["target"] == provider["options"]["path"] for volume in grafana["volumes"])
    dashboard = json.loads((DOCKER / "metrics" / "grafana" / "dashboards" / "serving.json").read_text())
    known = {entry.name for entry in vars(metrics).values() if isinstance(entry, metrics.Counter | metrics.Histogram)}
    # Serving has these with batching (batching_session.cc); the embedded server does not.
    known |= {f":tensorflow:serving:batching_session:{name}" for name in ("processed_batch_size", "padding_size")}
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        for target in panel["targets"]:
            names = re.findall(r":tensorflow:serving:[\w:]+", target["expr"])
            assert names
            assert {name if name in known else re.sub(r"_(bucket|sum|count)$", "", name) for name in names} <= known
            # A metric has labels of its own, such as the padding its batch size: one line for each name in the legend.
            summed = re.findall(r"sum(?: by \([\w, ]+\) )?\(rate\(", target["expr"])
            assert len(summed) == len(names), target["expr"]


def test_the_dashboard_counts_the_wait_for_a_batch_as_the_model_s() -> None:
    """Serving's runtime latency surrounds the session, and the batching session is one (predict_util.cc)."""
    dashboard = json.loads((DOCKER / "metrics" / "grafana" / "dashboards" / "serving.json").read_text())
    (panel,) = (panel for panel in dashboard["panels"] if "runtime_latency" in json.dumps(panel))
    assert panel["description"] == (
        "The difference is reading and writing messages. The time of the model includes the wait for a batch."
    )


def test_the_scenarios_of_the_load_profile_exist() -> None:
    assert {"rest", "grpc"} <= set(SCENARIOS)
    assert all((ROOT / "scenarios" / f"{name}.py").is_file() for name in ("rest", "grpc_api"))
