"""A planted token is looked for in every file, page, output and process list that the commands leave: it is nowhere."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import main
from bench.results.records import Outcome
from bench.results.run_reader import find_runs
from bench.server.lifecycle import RunningServer
from tests.integration.test_access import LOAD, SHORT
from tests.serving.test_rest import STATUS
from tests.support.guarded_server import HEADER, Guarded, guarded_server
from tests.support.locust_process import command as locust_command
from tests.support.locust_process import environment, free_port, wait_for
from tests.support.programmed_servers import rest_server

pytestmark = pytest.mark.long(80)

TOKEN = "planted-5f3a9c27"
BERTBENCH = (sys.executable, "-m", "bench")
GIVEN = ("--header", f"{HEADER}:env:ACCESS_TOKEN")


class ProcessList:
    """Looks at the command lines of all processes of this machine, again and again.

    Args:
        text: what no command line may have.
    """

    def __init__(self, text: str) -> None:
        self.looks = 0
        self.found: dict[int, str] = {}
        self._text = text
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_text(errors="replace")
                except OSError:
                    continue
                if self._text in line:
                    self.found[int(path.parent.name)] = line.replace("\0", " ")


@dataclass
class Surface:
    """Whatever a user, a colleague or a CI system sees.

    Args:
        folder: where all commands write.
        texts: outputs and pages, by what they are of.
    """

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)

    def leaks(self, text: str) -> list[str]:
        """The outputs, pages and files that have `text`."""
        data = text.encode()
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert len(files) > 10, "the commands left nothing to look at"
        return [name for name, shown in self.texts.items() if text in shown] + [
            str(path) for path in files if data in path.read_bytes()
        ]


@pytest.fixture
def guarded(demo_server: RunningServer) -> Iterator[Guarded]:
    assert demo_server.rest is not None
    assert demo_server.grpc is not None
    with guarded_server(demo_server.rest, demo_server.grpc, TOKEN) as found:
        yield found


@pytest.fixture
def surface(tmp_path: Path) -> Surface:
    return Surface(tmp_path)


def run(surface: Surface, name: str, command: Sequence[str], token: str = TOKEN, **variables: str) -> int:
    """Runs a command, whose outputs are then of the surface."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={**environment(), "XDG_CACHE_HOME": str(surface.folder / "cache"), "ACCESS_TOKEN": token, **variables},
        cwd=surface.folder,
    )
    surface.texts[name] = done.stdout + done.stderr
    return done.returncode


def locust(target: str, *words: str) -> list[str]:
    return locust_command("rest.py", "--host", target, "--results", "locust", *words)


def test_commands_leave_no_value_anywhere(
    guarded: Guarded, demo_model: ExportedModel, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model-dir", str(demo_model.model_dir))
    text = surface.folder / "text.tsv"
    text.write_text(demo_model.golden.sentences[0].sentence.text + "\n")
    rest, grpc = guarded.targets["http"], guarded.targets["grpc"]
    headless = ("--headless", "-u", "2", "-t", "1s", "--loglevel", "DEBUG", *model, *GIVEN)
    gate = ("gate", "--baseline", rest, "--candidate", rest, *LOAD, "--out", "gates")
    commands: dict[str, tuple[Sequence[str], int | None]] = {
        "run": ((*BERTBENCH, "run", "grpc", "--target", grpc, "--duration", "500ms", *model, *GIVEN), 0),
        "score": ((*BERTBENCH, "score", str(text), "--out", "scores.tsv", "--target", rest, *model, *GIVEN), 0),
        "verify": ((*BERTBENCH, "verify", "--target", grpc, "--sentences", "2", *model, *GIVEN), 0),
        "gate": (
            (*BERTBENCH, *gate, "--json", "gate.json", "--markdown", "gate.md", "--junit", "gate.xml", *model, *GIVEN),
            None,
        ),
        "locust": (locust(rest, *headless, "--html", "page.html", "--csv", "figures", "--logfile", "locust.log"), 0),
        "locust --processes": (locust(rest, *headless, "--processes", "2", "--json"), 0),
        "report": ((*BERTBENCH, "report", "results", "locust", "--out", "reports"), 0),
    }
    watch = ProcessList(TOKEN)
    try:
        for name, (command, code) in commands.items():
            found = run(surface, name, command)
            assert code in (found, None), surface.texts[name]
    finally:
        watch.close()
    assert watch.looks > 10
    assert not watch.found
    assert guarded.passed["http"]
    assert not guarded.refused
    assert surface.leaks(TOKEN) == []
    assert [path for path in surface.leaks(HEADER) if path.endswith("run.json")], "the name is stored"


def test_a_sweep_leaves_no_value_anywhere(
    guarded: Guarded, demo_model: ExportedModel, surface: Surface, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr("bench.capacity.cli.sweep.QUICK", SHORT)
    monkeypatch.setenv("ACCESS_TOKEN", TOKEN)
    target = guarded.targets["http"]
    words = ["capacity", "--quick", "--target", target, "--out", str(surface.folder / "sweep")]
    watch = ProcessList(TOKEN)
    try:
        assert main([*words, "--model-dir", str(demo_model.model_dir), *GIVEN]) in (0, 1, 3)
    finally:
        watch.close()
    surface.texts["capacity"] = "".join(capfd.readouterr())
    assert not watch.found
    assert guarded.passed["http"]
    assert surface.leaks(TOKEN) == []
    assert str(surface.folder / "sweep" / "sweep.json") in surface.leaks(HEADER)


def test_a_refused_token_is_not_repeated(guarded: Guarded, demo_model: ExportedModel, surface: Surface) -> None:
    """The server's error repeats what it was sent; so does its answer to each request under load."""
    wrong = "mistaken-81d0e4"
    rest, grpc = guarded.targets["http"], guarded.targets["grpc"]
    model = ("--model-dir", str(demo_model.model_dir))
    for name, target in (("rest", rest), ("grpc", grpc)):
        words = (*BERTBENCH, "verify", "--target", target, *model, *GIVEN)
        assert run(surface, f"verify {name}", words, wrong) == 4
        assert run(surface, f"run {name}", (*BERTBENCH, "run", name, "--target", target, *model, *GIVEN), wrong) == 4
    assert wrong not in "".join(surface.texts.values())
    assert all(HEADER in text or "<redacted>" in text for text in surface.texts.values()), surface.texts


def test_a_token_in_answers_of_status_200_is_not_repeated(demo_model: ExportedModel, surface: Surface) -> None:
    """As a login page or an echo service has it: there is no error to say so."""
    repeated = 0

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        nonlocal repeated
        if method == "GET":
            return 200, STATUS
        repeated += 1
        return 200, f"{HEADER}: {handler.headers[HEADER]} is not known here".encode()

    model = ("--model-dir", str(demo_model.model_dir))
    with rest_server(answer) as url:
        words = ("--headless", "-u", "2", "-t", "1s", "--no-preflight", "--loglevel", "DEBUG", *model, *GIVEN)
        given = (*words, "--html", "page.html", "--csv", "figures", "--logfile", "locust.log")
        assert run(surface, "locust", locust(url, *given)) == 4
        assert run(surface, "verify", (*BERTBENCH, "verify", "--target", url, "--sentences", "2", *model, *GIVEN)) == 4
    assert run(surface, "report", (*BERTBENCH, "report", "locust", "--out", "reports")) == 0
    assert repeated
    assert surface.leaks(TOKEN) == []
    assert "is not JSON" in surface.texts["locust"]
    (left,) = find_runs([surface.folder / "locust"])
    assert [entry.outcome for entry in left.file.failures] == [Outcome.INVALID_RESPONSE]
    assert "<redacted>" in left.file.failures[0].text


def test_a_literal_on_the_user_s_own_command_line_goes_no_further(
    demo_server: RunningServer, demo_model: ExportedModel, surface: Surface
) -> None:
    # Of its own: other tests look at the same list of processes.
    literal = "planted-on-the-command-line"
    words = ("run", "rest", "--target", demo_server.rest or "", "--duration", "500ms", "--processes", "2")
    command = (*BERTBENCH, *words, "--model-dir", str(demo_model.model_dir), f"--header={HEADER}:{literal}")
    watch = ProcessList(literal)
    try:
        assert run(surface, "run", command, "") == 0, surface.texts
        assert run(surface, "report", (*BERTBENCH, "report", "results")) == 0
    finally:
        watch.close()
    # A process between fork and exec has the words of its parent.
    assert len(set(watch.found.values())) == 1, "of the command itself only"
    assert surface.leaks(literal) == []
    (left,) = find_runs([surface.folder / "results"])
    assert f"--header={HEADER}:<redacted>" in left.manifest.command


def test_locust_s_web_page_shows_no_value(guarded: Guarded, demo_model: ExportedModel, surface: Surface) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (
        "--web-port",
        str(port),
        "--model-dir",
        str(demo_model.model_dir),
        *GIVEN,
        "--headers",
        "X-Other:planted-o",
    )
    given = {**environment(), "ACCESS_TOKEN": TOKEN}
    process = subprocess.Popen(
        locust(guarded.targets["http"], *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=given,
        cwd=surface.folder,
        start_new_session=True,
    )
    try:
        page = wait_for(lambda: answered(url))
        assert "arrivals" in page
        assert "headers" in page, "a test can have headers of its own"
        form = {"user_count": 2, "spawn_rate": 100, "run_time": "1s", "host": guarded.targets["http"]}
        for number, headers in enumerate(("", "X-Form:planted-f"), 1):
            sent = {**form, "headers": headers}
            wait_for(partial(begun, url, sent))
            wait_for(partial(finished, surface.folder / "locust", number))
        surface.texts["bad form"] = requests.post(
            f"{url}/swarm", data={**form, "headers": f"{TOKEN}\n"}, timeout=120
        ).text
        for path in ("/", "/stats/requests", "/stats/report", "/logs", "/tasks", "/exceptions", "/worker-count"):
            surface.texts[path] = requests.get(url + path, timeout=120).text
    finally:
        process.send_signal(signal.SIGINT)
        surface.texts["log"], _ = process.communicate(timeout=120)
    assert "has no colon" in surface.texts["bad form"]
    assert surface.leaks(TOKEN) == []
    assert surface.leaks("planted-") == [], "nor that of the form"
    assert not guarded.refused
    first, second = find_runs([surface.folder / "locust"])
    assert set(first.manifest.headers) == {HEADER, "X-Other"}
    assert set(second.manifest.headers) == {HEADER, "X-Other", "X-Form"}


def answered(url: str) -> str | None:
    try:
        return requests.get(url, timeout=120).text
    except requests.RequestException:
        return None


def begun(url: str, form: dict[str, Any]) -> bool:
    return bool(requests.post(f"{url}/swarm", data=form, timeout=120).json()["success"])


def finished(folder: Path, number: int) -> bool:
    """Whether so many runs are whole."""
    runs = find_runs([folder]) if any(folder.glob("*/run.json")) else []
    return sum(run.finished for run in runs) == number


@pytest.mark.parametrize("host", ["http://user:planted-pw@127.0.0.1:8501", "http://127.0.0.1:8501/?key=planted-pw"])
def test_a_password_in_locust_s_host_is_refused_before_its_page_shows_it(host: str, surface: Surface) -> None:
    assert run(surface, "locust", locust(host, "--web-port", str(free_port()))) == 2
    said = surface.texts["locust"]
    assert "<redacted>" in said
    assert "planted-pw" not in said
    assert said.splitlines()[-1].startswith("bertbench: ")
