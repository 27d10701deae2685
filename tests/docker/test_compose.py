"""The compose files are accepted, and Serving's config files say what the compose files promise."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"


def compose_command() -> list[str] | None:
    """`docker compose`, or the older `docker-compose`; None where neither is."""
    if shutil.which("docker"):
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if done.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_compose_accepts_the_file(device: str, tmp_path: Path) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    variable = "SERVING_IMAGE" if device == "cpu" else "SERVING_GPU_IMAGE"
    environment = {**os.environ, "MODEL_DIR": str(tmp_path), variable: "mirror.example/serving:test"}
    file = DOCKER / f"compose.{device}.yml"
    done = subprocess.run(
        [*command, "-f", str(file), "config"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["serving"]
    assert service["image"] == "mirror.example/serving:test"
    assert any(str(tmp_path) in str(volume) and "/models/bert" in str(volume) for volume in service["volumes"])


@pytest.mark.parametrize(
    ("device", "image"), [("cpu", "tensorflow/serving:2.15.1"), ("gpu", "tensorflow/serving:2.15.1-gpu")]
)
def test_default_images_are_the_public_ones(device: str, image: str) -> None:
    service = yaml.safe_load((DOCKER / f"compose.{device}.yml").read_text())["services"]["serving"]
    assert service["image"].endswith(f":-{image}}}")


def test_files_named_in_commands_exist() -> None:
    for file in DOCKER.glob("compose.*.yml"):
        for word in yaml.safe_load(file.read_text())["services"]["serving"]["command"]:
            if "/config/" in word:
                assert (DOCKER / "serving" / word.rpartition("/")[2]).is_file(), word
