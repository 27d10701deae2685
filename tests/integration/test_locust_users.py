"""Users shared with another class, set by a shape, or changed while a run lasts: the run tells the true ones."""

import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import requests

from bench.analysis.run import analyse
from bench.core.units import format_number
from bench.load.selftest.null_server import null_server
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.results.run_reader import find_runs
from tests.support.locust_process import free_port, locust, started, wait_for
from tests.support.queue_server import queue_server
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(40)

HEAD = """
import gevent
from locust import LoadTestShape, User, task
from bench.load.scenario import BertUser, Scenario, install

install(Scenario(name="rest", protocol="rest", options={"arrivals": "closed:think=50ms", "warmup": "0"}))


class RestUser(BertUser):
    pass
"""

OTHER = """

class OtherUser(User):
    @task
    def idle(self):
        gevent.sleep(0.05)
"""

SECOND_OF_OURS = """

class HeavierUser(BertUser):
    weight = 3
"""

SHAPE = """

class Steps(LoadTestShape):
    def tick(self):
        return (2, 100) if self.get_run_time() < 2 else (6, 100)
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def addresses(model_dir: Any) -> Iterator[Any]:
    with null_server(model_dir) as found:
        yield found


@pytest.fixture
def given(model_dir: Any, addresses: Any, tmp_path: Path) -> Any:
    """The file's path with what follows, and options."""

    def write(text: str) -> Any:
        path = tmp_path / "users.py"
        path.write_text(HEAD + text)
        return str(path), tmp_path / "runs", "--model-dir", str(model_dir), "--host", addresses["rest"]

    return write


def checks(analysis: Any) -> Any:
    return {check.name: check for check in analysis.validity.checks}


def test_users_shared_with_another_class(given: Any) -> None:
    ended = locust(*given(OTHER), "-u", "4", "-r", "4", "-t", "4s")
    assert ended.code == 0, ended.err
    assert ended.run.manifest.arrivals == "closed:users=2,think=0.05s"
    assert ended.run.manifest.workload.users == 2
    assert "in flight on average (2 users)" in ended.out
    assert "2 users available, 4 requested" in ended.out
    found = checks(analyse(ended.run))
    assert found["users"].passed
    assert "of N = 2, " in found["N = X·R"].text


def test_one_user_is_one_user(given: Any) -> None:
    ended = locust(*given(""), "-u", "1", "-r", "1", "-t", "3s")
    assert "(1 user)" in ended.out
    assert "(1 users)" not in ended.out + ended.err
    assert "(no warm-up)" in ended.err
    assert "(0 µs" not in ended.out + ended.err


def test_several_classes_of_our_own_count_together(given: Any) -> None:
    ended = locust(*given(SECOND_OF_OURS), "-u", "4", "-r", "4", "-t", "3s")
    assert ended.code == 0, ended.err
    assert ended.run.manifest.arrivals == "closed:users=4,think=0.05s"
    assert "in flight on average (4 users)" in ended.out


def test_users_that_are_named_and_are_not_there_are_refused(given: Any) -> None:
    ended = locust(*given(OTHER), "-u", "4", "-r", "4", "-t", "4s", "--arrivals", "closed:users=4")
    assert ended.code == 2
    assert "closed:users=4 is impossible: 2 users available, 4 requested" in ended.err
    assert ended.left is None


def test_no_user_that_sends_is_refused(given: Any) -> None:
    text = OTHER.replace("    @task", "    fixed_count = 1\n\n    @task")
    ended = locust(*given(text), "-u", "1", "-r", "1", "-t", "4s")
    assert ended.code == 2
    assert "0 users available, 1 requested" in ended.err


def test_a_shape(given: Any) -> None:
    ended = locust(*given(SHAPE), "-t", "5s")
    assert ended.run.manifest.arrivals == "closed:users=2,think=0.05s"
    analysis = analyse(ended.run)
    assert (analysis.summary.users.least, analysis.summary.users.most) == (2, 6)
    assert "(2 to 6 users, " in ended.out
    assert checks(analysis)["users"].passed is False
    assert f"of N = {format_number(analysis.summary.users.mean)}, " in checks(analysis)["N = X·R"].text


EMPTY = """

class Gap(LoadTestShape):
    def tick(self):
        return (2, 100) if not 2 < self.get_run_time() < 4 else (0, 100)
"""


def test_a_shape_without_users_for_a_moment(given: Any) -> None:
    """What is due meanwhile is late, and nothing is dropped."""
    ended = locust(*given(EMPTY), "-t", "8s", "--arrivals", "constant:rate=10")
    assert ended.accounted() == {"ok": 80}
    assert not ended.run.file.interrupted
    users = analyse(ended.run).summary.users
    assert (users.least, users.most) == (0, 2)


FEWER = """

class Fewer(LoadTestShape):
    def tick(self):
        return (4, 100) if self.get_run_time() < 1 else (1, 100)
"""


def test_a_request_of_a_removed_user_is_not_cut_off(given: Any, model_dir: Any) -> None:
    """It took longer than the drain, and counted as the server's timeout."""
    with queue_server(model_dir, servers=4, mean=3.0, cv=0.05) as host:
        path, runs, *words = given(FEWER)
        words = [*words[:-1], host, "--arrivals", "closed", "-t", "8s", "--drain", "1s"]
        ended = locust(path, runs, *words)
    columns = ended.run.columns(["due", "outcome"])
    first = columns["due"] < 1.0
    assert first.sum() == 4
    assert (columns["outcome"][first] == OUTCOME_CODES[Outcome.OK]).all()
    assert analyse(ended.run).summary.users.least == 1


def test_users_changed_in_the_web_ui_up_and_down(given: Any) -> None:
    """More users at a spawn rate, then fewer: nothing in flight is cut off, and the run tells how many there were."""
    path, runs, *words = given("")
    url = f"http://127.0.0.1:{(port := free_port())}"
    with started(path, "--results", str(runs), "--web-port", str(port), *words) as process:
        try:
            form = {"user_count": 1, "spawn_rate": 100, "run_time": "60s", "host": words[-1]}
            wait_for(lambda: swarm(url, form))
            wait_for(lambda: seconds_sampled(runs) >= 3)
            for change in ({"arrivals": "constant:rate=9"}, {"host": "http://127.0.0.1:1"}, {"run_time": "5s"}):
                reply = requests.post(f"{url}/swarm", data=form | {"user_count": 8} | change, timeout=120).json()
                (name,) = change
                assert not reply["success"]
                assert reply["message"] == f"{name} cannot be changed in a running test; stop it first"
            assert users_sampled(runs) == 1
            assert swarm(url, form | {"user_count": 8, "spawn_rate": 4})
            wait_for(lambda: users_sampled(runs) == 8)
            assert swarm(url, form | {"user_count": 3})
            wait_for(lambda: users_sampled(runs) == 3)
            requests.post(f"{url}/stop", timeout=120)
            wait_for(lambda: [run for run in find_runs([runs]) if run.finished])
        finally:
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=120)
    (run,) = find_runs([runs])
    present = analyse(run).summary.users
    assert run.manifest.arrivals == "closed:users=1,think=0.05s"
    assert (present.least, present.most) == (1, 8)
    assert f"({present})" in out
    assert "(1 user)" not in out
    assert {name for name, count in run.file.counts.items() if count} == {"ok"}
    assert f"of N = {format_number(present.mean)}, " in checks(analyse(run))["N = X·R"].text


def test_a_start_is_refused_until_the_last_run_is_stored(given: Any, model_dir: Any) -> None:
    """It took the place of the run that was being stopped, whose folder stayed unfinished."""
    path, runs, *words = given("")
    url = f"http://127.0.0.1:{(port := free_port())}"
    with (
        queue_server(model_dir, servers=2, mean=2.0, cv=0.05) as host,
        started(path, "--results", str(runs), "--web-port", str(port), *words[:-1], host) as process,
    ):
        try:
            form = {"user_count": 2, "spawn_rate": 100, "run_time": "60s", "host": host}
            wait_for(lambda: swarm(url, form))
            wait_for(lambda: seconds_sampled(runs) >= 1)
            stop = Thread(target=requests.post, args=(f"{url}/stop",))
            stop.start()
            wait_for(lambda: requests.get(f"{url}/stats/requests", timeout=120).json()["state"] == "cleanup")
            reply = requests.post(f"{url}/swarm", data=form, timeout=120).json()
            assert not reply["success"]
            assert "another run is starting, or is being stopped and stored" in reply["message"]
            stop.join()
            wait_for(lambda: swarm(url, form | {"run_time": "1s"}))
            wait_for(lambda: len([run for run in find_runs([runs]) if run.finished]) == 2)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)


def test_the_page_refuses_a_start_with_a_load_shape(given: Any) -> None:
    """The form has no number of users then; the page said that the test had started."""
    path, runs, *words = given(SHAPE)
    url = f"http://127.0.0.1:{(port := free_port())}"
    with started(path, "--results", str(runs), "--web-port", str(port), *words) as process:
        try:
            wait_for(lambda: is_up(url))
            form = {"run_time": "3s", "host": words[-1]}
            reply = requests.post(f"{url}/swarm", data=form | {"arrivals": "nonsense"}, timeout=120).json()
            assert not reply["success"]
            assert "unknown arrivals 'nonsense'" in reply["message"]
            assert swarm(url, form)
            wait_for(lambda: seconds_sampled(runs) >= 1)
            reply = requests.post(f"{url}/swarm", data=form, timeout=120).json()
            assert not reply["success"]
            assert "a load shape sets the number of users" in reply["message"]
            wait_for(lambda: [run for run in find_runs([runs]) if run.finished])
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)
    (run,) = find_runs([runs])
    assert run.manifest.arrivals == "closed:users=2,think=0.05s"
    assert not [warning for warning in run.manifest.warnings if "users" in warning]


def test_a_worker_that_leaves_takes_its_users_with_it(given: Any) -> None:
    """Locust gives them to the other worker when it misses the first; until then the run has fewer."""
    path, runs, *words = given("")
    words += ["--processes", "2", "-u", "4", "-r", "4", "-t", "16s"]
    with started(path, "--headless", "--only-summary", "--results", str(runs), *words) as process:
        try:
            wait_for(lambda: seconds_sampled(runs) >= 6)
            psutil.Process(process.pid).children()[0].kill()
            out, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    (run,) = find_runs([runs])
    present = analyse(run).summary.users
    assert run.manifest.arrivals == "closed:users=4,think=0.05s"
    assert (present.least, present.most) == (2, 4)
    assert 2 < present.mean < 4
    assert f"({present})" in out
    assert f"of N = {format_number(present.mean)}, " in checks(analyse(run))["N = X·R"].text


def is_up(url: str) -> Any:
    try:
        return requests.get(url, timeout=120).ok
    except requests.ConnectionError:
        return False


def swarm(url: str, form: Any) -> Any:
    try:
        return requests.post(f"{url}/swarm", data=form, timeout=120).json()["success"]
    except requests.ConnectionError:
        return False


def seconds_sampled(runs: Any) -> Any:
    return find_runs([runs])[0].client_samples()["time"].size if any(runs.glob("*/run.json")) else 0


def users_sampled(runs: Any) -> Any:
    return find_runs([runs])[0].client_samples()["users"][-1]
