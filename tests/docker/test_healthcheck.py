"""The images' health check, on a folder in the place of /proc."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.pages import ROOT

# As the kernel prints them: 15B3 is 5557, 15BD 5567.
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS = "   0: 00000000:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 656 1\n"
CONNECTED = "   1: 0200A8C0:AC5B 0300A8C0:{:04X} 01 00000000:00000000 00:00000000 00000000  1000        0 657 1\n"


def healthy(tmp_path: Path, words: str, connections: str, **own: str) -> bool:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/cmdline").write_bytes(b"\0".join(word.encode() for word in words.split()) + b"\0")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(HEAD + connections)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("LOCUST_")} | own
    done = subprocess.run(
        ["sh", str(ROOT / "docker/healthcheck.sh"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode == 0


MASTER, WORKER = "/sbin/docker-init -- locust -f /scenarios/rest.py --master", "locust -f x.py --worker"
OTHER = {"LOCUST_MASTER_BIND_PORT": "5567"}, {"LOCUST_MASTER_NODE_PORT": "5567"}


@pytest.mark.parametrize(
    ("words", "own", "port"),
    [
        (MASTER, {}, 5557),
        (f"{MASTER} --master-bind-port 5567", {}, 5567),
        (f"{MASTER} --master-bind-port=5567 --host http://a:1", {}, 5567),
        (MASTER, OTHER[0], 5567),
        (f"{MASTER} --master-bind-port 5577", OTHER[0], 5577),
        # What a worker connects to.
        (f"{MASTER} --master-port 5567", OTHER[1], 5557),
        (WORKER, {}, 5557),
        (f"{WORKER} --master-host master --master-port 5567", {}, 5567),
        (f"{WORKER} --master-port=5567 --tags *", {}, 5567),
        (WORKER, OTHER[1], 5567),
        (f"{WORKER} --master-bind-port=5567", OTHER[0], 5557),
    ],
)
@pytest.mark.parametrize("works", [True, False])
def test_the_port_is_that_of_the_process(
    tmp_path: Path, words: str, own: dict[str, str], port: int, works: bool
) -> None:
    other = LISTENS if "--worker" in words else CONNECTED
    mine = CONNECTED if "--worker" in words else LISTENS
    connections = other.format(port) + mine.format(port if works else port + 1)
    assert healthy(tmp_path, words, connections, **own) is works


@pytest.mark.parametrize("words", ["bertbench demo", "bertbench run rest --master-bind-port 1", "locust -f x.py"])
def test_any_other_command_is_healthy_while_it_runs(tmp_path: Path, words: str) -> None:
    assert healthy(tmp_path, words, "")


def test_a_process_without_a_connection_is_not(tmp_path: Path) -> None:
    assert not healthy(tmp_path, WORKER, "")
