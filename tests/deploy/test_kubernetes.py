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
# Applied by hand when the runs are to be copied, so not among the resources.
READER: Final = "results-reader.yaml"
# From the first that has backoffLimitPerIndex by default to the newest of the schemas.
RELEASES: Final = ("1.29", "1.32", ".".join(str(kubernetes_validate.latest_version()).split(".")[:2]))


def manifests() -> dict[str, Any]:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return {name: yaml.safe_load((FOLDER / name).read_text()) for name in kustomization["resources"]}


def settings() -> dict[str, str]:
    (made,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in made["literals"])


def reader() -> Any:
    return yaml.safe_load((FOLDER / READER).read_text())


def pods() -> dict[str, Any]:
    jobs = {name: entry["spec"]["template"] for name, entry in manifests().items() if entry["kind"] == "Job"}
    return {**jobs, READER: reader()}


@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_follow_the_schemas(release: str) -> None:
    for entry in [*manifests().values(), reader()]:
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
    for entry in made:
        if entry["kind"] == "Job":
            assert entry["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "bertbench"
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


def test_a_lost_worker_ends_no_other() -> None:
    """As many workers as there are may fail, and any number of them may be asked for.

    `maxFailedIndexes` must be at most `completions`, which users change, and ends the job past it.
    """
    workers = manifests()["worker-job.yaml"]["spec"]
    assert workers["backoffLimitPerIndex"] == 0
    assert workers.keys().isdisjoint({"maxFailedIndexes", "backoffLimit", "podFailurePolicy"})


def test_selectors_choose_this_project_s_pods_only() -> None:
    """Others may have pods of a component `master` or `worker` in the namespace."""
    found = manifests()
    (spread,) = pods()["worker-job.yaml"]["spec"]["topologySpreadConstraints"]
    selectors = {
        "master-job.yaml": found["master-service.yaml"]["spec"]["selector"],
        "worker-job.yaml": spread["labelSelector"]["matchLabels"],
    }
    for name, selector in selectors.items():
        assert selector["app.kubernetes.io/part-of"] == "bertbench"
        matched = [pod for pod, entry in pods().items() if selector.items() <= entry["metadata"]["labels"].items()]
        assert matched == [name]


@pytest.mark.parametrize("name", pods())
def test_services_of_the_namespace_set_no_variables(name: str) -> None:
    """A Service `bertbench-server` would set BERTBENCH_SERVER_PORT, which is read as an option."""
    assert pods()[name]["spec"]["enableServiceLinks"] is False


def test_the_reader_mounts_the_runs_and_ends_by_itself() -> None:
    spec = reader()["spec"]
    (volume,) = spec["volumes"]
    claim = manifests()["results-volume.yaml"]["metadata"]["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    (container,) = spec["containers"]
    assert [(mount["name"], mount["mountPath"]) for mount in container["volumeMounts"]] == [("results", "/results")]
    assert spec["restartPolicy"] == "Never"
    assert container["command"][0] == "sleep"


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
    # The services of the operator begin with this name, and its pods get variables that do.
    assert not test["metadata"]["name"].startswith(("bertbench", "locust"))
    assert 'ENTRYPOINT ["locust"]' in (OPERATOR / "Dockerfile").read_text()


def test_the_guide_names_what_there_is() -> None:
    """The operator calls the job of a test's master NAME-master."""
    guide = (ROOT / "docs" / "guide" / "kubernetes.md").read_text()
    test = yaml.safe_load((OPERATOR / "locusttest.yaml").read_text())["metadata"]["name"]
    jobs = {entry["metadata"]["name"] for entry in manifests().values() if entry["kind"] == "Job"}
    assert (
        set(re.findall(r"job/([\w-]+)", guide)) == {"bertbench-master", f"{test}-master"} <= {*jobs, f"{test}-master"}
    )
    name = reader()["metadata"]["name"]
    assert f"pod/{name}" in guide
    assert f"kubectl cp {name}:/results results" in guide
    # It waits in vain for a job that fails.
    assert "--for=condition=complete" not in guide


def test_every_file_is_named() -> None:
    found = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    assert found == {*manifests(), READER}
    assert {path.name for path in Path(ROOT / "deploy").iterdir()} == {FOLDER.name, OPERATOR.name}
