"""What load-test.sh and build.sh ask of Docker, of which a program that writes down its arguments takes the place."""

import os
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.load.setup.catalog import FILES, SCENARIOS
from tests.support.locust_process import wait_for
from tests.support.pages import ROOT

LOAD_TEST: Final = str(ROOT / "docker/load-test.sh")
BUILD: Final = str(ROOT / "docker/build.sh")
VARIABLES: Final = ("COMPOSE_PROJECT_NAME", "RUN_AS", "MODEL_DIR", "RESULTS_DIR", "SCENARIO")
# FAKE_ABSENT has images that are not here, FAKE_FAILS the first word of what fails, FAKE_GONE a part of what finds no
# container, FAKE_SLOW a part of what is slow.
FAKE: Final = r"""#!/bin/bash
printf '%s\t' "${COMPOSE_PROJECT_NAME:-}" "${RUN_AS:-}" "${MODEL_DIR:-}" "${RESULTS_DIR:-}" >>"$FAKE_LOG"
printf '%s\t' "${SCENARIO:-}" >>"$FAKE_LOG"
echo "$*" >>"$FAKE_LOG"
if [ -n "${FAKE_SLOW:-}" ]; then case "$*" in *"$FAKE_SLOW"*)
  trap 'kill $!; exit 1' INT
  touch "$FAKE_LOG.slow"
  sleep 60 >/dev/null 2>&1 &
  wait
esac fi
[ "$1" != "${FAKE_FAILS:-}" ] || { echo "it fails" >&2; exit 1; }
if [ -n "${FAKE_GONE:-}" ]; then case "$*" in *"$FAKE_GONE"*)
  echo "no such object" >&2
  exit 1
esac fi
case "$*" in
  ps*) echo "${FAKE_CONTAINERS:-}" ;;
  info*) echo "${FAKE_OPTIONS:-[name=seccomp,profile=default]}" ;;
  "image inspect --format"*) echo 5000000 ;;
  "image inspect"*) case " ${FAKE_ABSENT:-} " in *" $3 "*) exit 1 ;; esac ;;
  *" ps "*) echo abc ;;
  *State.Pid*) echo 999999999 ;;
  *State.Running*) echo false ;;
  *State.ExitCode*) echo 0 ;;
  build*) cat >/dev/null ;;
  create*) echo made ;;
esac
"""


@dataclass(frozen=True)
class Call:
    """A call of docker: its arguments as one text, and the variables that it was given."""

    words: str
    variables: dict[str, str]


@dataclass(frozen=True)
class Place:
    """A folder with the program in the place of docker, and a model."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def environment(self, **own: str) -> dict[str, str]:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("COMPOSE_", "SUDO_"))}
        places = {"RESULTS_DIR": str(self.folder / "results"), "DOCUMENTS": str(self.folder / "documents")}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return inherited | places | {"PATH": path, "FAKE_LOG": str(self.log)} | own

    def run(self, *words: str, **own: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words, cwd=self.folder, env=self.environment(**own), capture_output=True, text=True, check=False
        )

    def interrupted(self, *words: str, **own: str) -> tuple[int, str]:
        """Exit code and output after Ctrl-C in the middle of what is slow."""
        process = subprocess.Popen(
            ["env", "--default-signal=INT,TERM,HUP", *words],
            cwd=self.folder,
            env=self.environment(**own),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        wait_for(lambda: (self.folder / "log.slow").exists(), 60)
        os.killpg(process.pid, signal.SIGINT)
        out = process.communicate(timeout=60)[0]
        return process.returncode, out

    def calls(self) -> list[Call]:
        lines = [line.split("\t") for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [Call(line[-1], dict(zip(VARIABLES, line, strict=False))) for line in lines]

    def said(self, start: str) -> list[str]:
        return [call.words for call in self.calls() if call.words.startswith(start)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(FAKE)
    (tmp_path / "bin/docker").chmod(0o755)
    (tmp_path / "my model" / "1").mkdir(parents=True)
    return Place(tmp_path)


@pytest.mark.parametrize(
    "image", ["mirror/x:load", "registry:5000/bertbench", "bertbench@sha256:0123", "bertbench:load-1.2"]
)
@pytest.mark.parametrize("variable", ["LOAD_IMAGE", "WORKER_IMAGE"])
def test_an_image_of_another_name_is_pulled(place: Place, image: str, variable: str) -> None:
    done = place.run(LOAD_TEST, "my model", "rest", FAKE_ABSENT=image, **{variable: image})
    assert done.returncode == 0, done.stderr
    assert place.said("pull") == [f"pull --quiet {image}"]
    assert place.said("build") == []


def test_an_image_that_cannot_be_pulled_is_named(place: Place) -> None:
    own = {"LOAD_IMAGE": "mirror/x:load", "FAKE_ABSENT": "mirror/x:load", "FAKE_FAILS": "pull"}
    done = place.run(LOAD_TEST, "my model", "rest", **own)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == (
        "load-test.sh: the image mirror/x:load is not here and cannot be pulled; see above"
    )


@pytest.mark.parametrize("name", ["bertbench", "registry:5000/own"])
def test_an_image_of_its_own_name_is_built(place: Place, name: str) -> None:
    done = place.run(LOAD_TEST, "my model", "rest", IMAGE=name, FAKE_ABSENT=f"{name}:load {name}:worker")
    assert done.returncode == 0, done.stderr
    assert [words.split("--tag ")[1] for words in place.said("build")] == [f"{name}:load -", f"{name}:worker -"]
    assert place.said("pull") == []


@pytest.mark.parametrize("names", [tuple(SCENARIOS), tuple(file.removesuffix(".py") for file in FILES.values()), ()])
def test_scenarios_have_their_names_or_those_of_their_files(place: Place, names: tuple[str, ...]) -> None:
    done = place.run(LOAD_TEST, "my model", *names)
    assert done.returncode == 0, done.stderr
    begun = [call.variables["SCENARIO"] for call in place.calls() if call.words.endswith(" master worker")]
    files = [file.removesuffix(".py") for file in FILES.values()]
    assert begun == (files if names else ["rest", "grpc_api"])


def test_projects_of_others_are_left_alone(place: Place) -> None:
    for _ in range(2):
        assert place.run(LOAD_TEST, "my model", "rest", COMPOSE_PROJECT_NAME="mine").returncode == 0
    projects = {call.variables["COMPOSE_PROJECT_NAME"] for call in place.calls() if call.words.startswith("compose -")}
    assert len(projects) == 2
    assert "mine" not in projects
    assert not any("--remove-orphans" in call.words for call in place.calls())


def test_a_project_that_is_there_already_is_refused(place: Place) -> None:
    done = place.run(LOAD_TEST, "my model", "rest", LOAD_PROJECT="mine", FAKE_CONTAINERS="0123")
    assert done.returncode == 2
    assert "the Compose project mine has containers" in done.stderr
    assert place.said("compose -") == []


def test_a_project_can_be_named(place: Place) -> None:
    assert place.run(LOAD_TEST, "my model", "rest", LOAD_PROJECT="mine").returncode == 0
    assert {call.variables["COMPOSE_PROJECT_NAME"] for call in place.calls() if " up " in call.words} == {"mine"}


@pytest.mark.parametrize(
    "slow", ["--wait serving", "--quiet serving", "--force-recreate master", "--quiet master", "pull", "build"]
)
def test_ctrl_c_before_the_run_is_130(place: Place, slow: str) -> None:
    """The command that it ends as well has an exit code of its own."""
    absent = {"pull": {"LOAD_IMAGE": "own", "FAKE_ABSENT": "own"}, "build": {"FAKE_ABSENT": "bertbench:load"}}
    code, out = place.interrupted(LOAD_TEST, "my model", "rest", FAKE_SLOW=slow, **absent.get(slow, {}))
    assert code == 130, out
    assert "did not start" not in out
    assert "cannot be" not in out
    assert any(" down " in words for words in place.said("compose")) == ("--" in slow)


@pytest.mark.parametrize("gone", ["--quiet serving", "--quiet master", "State.ExitCode"])
def test_an_engine_or_a_container_that_is_gone_is_no_verdict(place: Place, gone: str) -> None:
    """Docker's own exit code is 1, that of a run with wrong answers or a missed objective."""
    done = place.run(LOAD_TEST, "my model", "rest", FAKE_GONE=gone)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "load-test.sh: the Docker Engine or the container does not answer any more; start the Engine and run again, "
        f"what {place.folder / 'results'} has of this run may be unfinished"
    )
    assert any(" down " in words for words in place.said("compose"))


def test_ctrl_c_while_images_are_built_is_130(place: Place) -> None:
    code, out = place.interrupted(BUILD, "worker", FAKE_SLOW="build")
    assert code == 130, out
    assert "cannot be built" not in out


def test_an_engine_without_root_writes_as_its_root(place: Place) -> None:
    options = "[name=seccomp,profile=builtin name=rootless name=cgroupns]"
    (place.folder / "results").mkdir()
    if os.geteuid() == 0:
        os.chown(place.folder / "results", 1234, 4321)
    assert place.run(LOAD_TEST, "my model", "rest", FAKE_OPTIONS=options).returncode == 0
    assert {call.variables["RUN_AS"] for call in place.calls() if " up " in call.words} == {"0:0"}


@pytest.mark.parametrize("made", [True, False])
def test_runs_of_root_belong_to_the_owner_of_the_folder(place: Place, made: bool) -> None:
    """Without capabilities root cannot write into a folder of others."""
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    results = place.folder / "results"
    if made:
        results.mkdir()
        os.chown(results, 1234, 4321)
    done = place.run(LOAD_TEST, "my model", "rest", SUDO_UID="1234", SUDO_GID="4321")
    assert done.returncode == 0, done.stderr
    assert {call.variables["RUN_AS"] for call in place.calls() if " up " in call.words} == {"1234:4321"}
    assert (results.stat().st_uid, results.stat().st_gid) == (1234, 4321)


def test_paths_do_not_depend_on_cdpath(place: Place) -> None:
    """It makes cd print, and look in other folders first."""
    for folder in ("checkout/docker", "documents", "results", "my model"):
        (place.folder / "elsewhere" / folder).mkdir(parents=True)
    (place.folder / "checkout").symlink_to(ROOT)
    own = {"CDPATH": str(place.folder / "elsewhere"), "RESULTS_DIR": "results", "DOCUMENTS": "documents"}
    done = place.run("checkout/docker/load-test.sh", "my model", "rest", **own, FAKE_ABSENT="bertbench:load")
    assert done.returncode == 0, done.stderr
    (call, *_) = [call for call in place.calls() if " up " in call.words]
    assert call.variables["MODEL_DIR"] == str(place.folder / "my model")
    assert call.variables["RESULTS_DIR"] == str(place.folder / "results")


def test_make_takes_a_folder_with_a_space(place: Place) -> None:
    model = str(place.folder / "my model")
    done = place.run("make", "-C", str(ROOT), "load-test", MODEL_DIR=model, SCENARIOS="rest compare")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" on cpu") == 2
    assert {call.variables["MODEL_DIR"] for call in place.calls() if " up " in call.words} == {model}
    done = place.run("make", "-C", str(ROOT), "load-test")
    assert "give the model folder" in done.stderr


def test_documents_are_written_whatever_their_path(place: Place) -> None:
    """`docker cp` takes what is in front of a colon for a container."""
    done = place.run(BUILD, "worker", IMAGE="registry:5000/own", DOCUMENTS="docu:ments")
    assert done.returncode == 0, done.stderr
    name = place.folder / "docu:ments" / "registry-5000-own-worker"
    assert [words.split()[-1] for words in place.said("cp")] == [f"{name}.cdx.json", f"{name}.licences.json"]
    assert place.said("rm") == ["rm made"]


def test_wheels_are_found_from_the_caller_s_folder(place: Place) -> None:
    (place.folder / "some wheels").mkdir()
    done = place.run(BUILD, "worker", WHEELHOUSE="some wheels")
    assert done.returncode == 0, done.stderr


def test_no_container_is_left_of_documents_that_cannot_be_written(place: Place) -> None:
    done = place.run(BUILD, "worker", FAKE_FAILS="cp")
    assert done.returncode == 4
    assert "the documents of bertbench:worker cannot be written to" in done.stderr
    assert place.said("rm") == ["rm made"]


def test_serving_can_read_its_files(place: Place) -> None:
    """A container has another user; a checkout under a umask of 077 has files for its owner only."""
    for name in ("docker", "scenarios"):
        subprocess.run(["cp", "-R", str(ROOT / name), str(place.folder / name)], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", str(place.folder / "docker")], check=True)
    done = place.run(str(place.folder / "docker/load-test.sh"), str(CLIENT_FOLDER), "rest")
    assert done.returncode == 0, done.stderr
    serving = place.folder / "docker/serving"
    assert all(path.stat().st_mode & stat.S_IROTH for path in (serving, *serving.iterdir()))
    assert serving.stat().st_mode & stat.S_IXOTH
