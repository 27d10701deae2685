"""The manifests of `deploy/` are valid, by the schemas of several releases of Kubernetes, and fit each other."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from bench.load.locust_adapter.options import OPTIONS
from tests.support.pages import ROOT

FOLDER: Final = ROOT / "deploy" / "kubernetes"
OPERATOR: Final = ROOT / "deploy" / "locust-operator"
# From the first that has backoffLimitPerIndex by default to the newest of the schemas.
RELEASES: Final = ("1.29", "1.32", ".".join(str(kubernetes_validate.latest_version()).split(".")[:2]))


def manifests() -> dict[str, Any]:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return {name: yaml.safe_load((FOLDER / name).read_text()) for name in kustomization["resources"]}


def settings() -> dict[str, str]:
    (made,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in made["literals"])


def pods() -> dict[str, Any]:
    return {name: entry["spec"]["template"] for name, entry in manifests().items() if entry["kind"] == "Job"}


@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_follow_the_schemas(release: str) -> None:
    for entry in manifests().values():
        assert kubernetes_validate.validate(entry, release, strict=True) == release


def test_a_misspelt_field_does_not() -> None:
    (job,) = (entry for name, entry in manifests().items() if name == "worker-job.yaml")
    job["spec"]["completionmode"] = job["spec"].pop("completionMode")
    with pytest.raises(kubernetes_validate.ValidationError, match="completionmode"):
        kubernetes_validate.validate(job, RELEASES[-1], strict=True)


def test_what_kustomize_makes_follows_them_too() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here to run kustomize with")
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {entry["kind"] for entry in made} == {"ConfigMap", "Service", "PersistentVolumeClaim", "Job"}
    for entry in made:
        kubernetes_validate.validate(entry, RELEASES[-1], strict=True)
    text = json.dumps(made)
    # Each build of other settings has a name of its own, which the jobs use.
    (name,) = (entry["metadata"]["name"] for entry in made if entry["kind"] == "ConfigMap")
    assert name.startswith("bertbench-")
    assert text.count(f'"configMapRef": {{"name": "{name}"}}') == 2
    assert '"image": "registry.example/bertbench:worker"' in text


def test_the_parts_fit_each_other() -> None:
    found = manifests()
    workers = found["worker-job.yaml"]["spec"]
    assert str(workers["completions"]) == str(workers["parallelism"]) == settings()["WORKERS"]
    service, master = found["master-service.yaml"], pods()["master-job.yaml"]
    assert service["spec"]["selector"].items() <= master["metadata"]["labels"].items()
    command = pods()["worker-job.yaml"]["spec"]["containers"][0]["command"]
    assert command[command.index("--master-host") + 1] == service["metadata"]["name"]
    claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in master["spec"]["volumes"]]
    assert found["results-volume.yaml"]["metadata"]["name"] in claims
    assert (ROOT / "scenarios" / f"{settings()['SCENARIO']}.py").is_file()
    script = master["spec"]["containers"][0]["args"][0]
    assert set(re.findall(r"\$(\w+)", script)) == set(settings())


@pytest.mark.parametrize("name", pods())
def test_pods_are_restricted(name: str) -> None:
    """As the Pod Security Standard `restricted` asks."""
    spec = pods()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_operator_s_test_has_options_that_exist() -> None:
    test = yaml.safe_load((OPERATOR / "locusttest.yaml").read_text())
    words = test["spec"]["args"].split()
    ours = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
    locust = {"host", "headless", "only_summary", "users", "run_time", "expect_workers"}
    assert ours - locust <= set(OPTIONS)
    assert words[words.index("--expect-workers") + 1] == str(test["spec"]["workers"])
    assert {entry["name"] for entry in test["spec"]["env"]} == {"LOCUST_MASTER_BIND_HOST", "LOCUST_WEB_HOST"}
    assert 'ENTRYPOINT ["locust"]' in (OPERATOR / "Dockerfile").read_text()


def test_every_file_is_named() -> None:
    found = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    assert found == set(manifests())
    assert {path.name for path in Path(ROOT / "deploy").iterdir()} == {FOLDER.name, OPERATOR.name}
