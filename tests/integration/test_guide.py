"""Every command on the pages for users is run, on one export and one server; those that need more than that are parsed.

A word after the fence's language says what a block needs: `slow` (minutes), `needs-docker`, `another-machine`; `serve`
runs until Ctrl-C and is the server of this test; `wheel` blocks are run in empty environments by `tests/install`.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench import __version__
from bench.capacity.model.model_file import StoredModel, write_model
from bench.cli import COMMANDS
from bench.cli.dispatch import make_parser
from bench.config.names import known_names
from bench.load.setup.catalog import SCENARIOS
from tests.support.known_sweeps import SLO, KnownDriver, KnownServer, sweep_of
from tests.support.locust_process import environment, free_port
from tests.support.pages import GUIDE, ROOT, Block, blocks
from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run

pytestmark = pytest.mark.long(70)

MARKS = {"slow", "needs-docker", "another-machine", "serve", "wheel"}
SHELL = [block for page in GUIDE for block in blocks(page, "sh", "console")]
# A block that stands on two pages is run once.
RUN = list({block.text: block for block in SHELL if not MARKS & set(block.info)}.values())
PARSED = [block for block in SHELL if MARKS & set(block.info)]
(EXPORT,) = [block for block in RUN if block.page.stem == "own-bert" and "export" in block.text]
SECONDS = 500


@dataclass(frozen=True)
class Workplace:
    """Where the blocks run, and the addresses of the server."""

    folder: Path
    rest: str
    grpc: str

    def run(self, block: Block) -> "subprocess.CompletedProcess[str]":
        """Runs a block; the server's usual addresses stand for those of this one."""
        script = block.text.replace("localhost:8501", self.rest).replace("localhost:8500", self.grpc)
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=tools(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def tools() -> dict[str, str]:
    return {**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def fill(folder: Path) -> None:
    """What a user has: a checkout, a checkpoint, runs of two branches, and a capacity measurement."""
    for name in ("scenarios", "docker", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "my-bert").symlink_to(ROOT / "bench/bert/demo/checkpoint")
    (folder / "results").mkdir()
    # A copy: reports are written into it.
    shutil.copytree(ROOT / "results/example", folder / "results/example")
    for side, seed in (("runs", 1), ("candidate", 30)):
        for repeat in range(6):
            workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
            requests = simulate("constant:rate=60", workload, exponential(0.003))
            write_run(folder / side, requests, "constant:rate=60", workload, slug=f"run-{repeat}")
    sweep = sweep_of(folder / "results/capacity", KnownDriver(KnownServer(2, 0.01, 0.5, seed=1)))
    result = sweep.run()
    write_model(sweep.folder.path, StoredModel("known", {}, str(SLO), result.model, result.measurements))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("guide")
    fill(folder)
    done = Workplace(folder, "", "").run(EXPORT)
    assert done.returncode == 0, done.stderr
    (serve,) = [block for block in SHELL if "serve" in block.info]
    ports = ["--grpc-port", str(free_port()), "--rest-port", str(free_port())]
    (words,) = serve.commands()
    server = subprocess.Popen(
        [*words, *ports], cwd=folder, env=tools(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        said = "".join(server.stdout.readline() for _ in range(3))
        addresses = re.findall(r"(?:127\.0\.0\.1|localhost):\d+", said)
        assert len(addresses) == 2, said
        yield Workplace(folder, *addresses)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(120) == 130
        for stream in (server.stdout, server.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.parametrize("block", [block for block in RUN if block != EXPORT], ids=lambda block: block.name)
def test_a_block_runs(workplace: Workplace, block: Block) -> None:
    for page in blocks(block.page, "python"):
        for name in re.findall(r"^file=(\S+)$", "\n".join(page.info), re.MULTILINE):
            (workplace.folder / name).write_text(page.text)
    done = workplace.run(block)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("block", PARSED, ids=lambda block: block.name)
def test_a_block_that_needs_more_names_what_there_is(block: Block) -> None:
    for words in block.commands():
        check(words, block)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_marks_are_known(block: Block) -> None:
    assert set(block.info[1:]) <= MARKS


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_nothing_stands_below_a_command_that_runs_until_ctrl_c(block: Block) -> None:
    """Who pastes the block would wait for it forever."""
    commands = block.commands()
    assert commands
    assert [words for words in commands[:-1] if stays(words)] == []


@pytest.mark.parametrize("page", ["README.md", "docs/guide/first-run.md"])
def test_the_first_pages_activate_the_environment_before_its_commands(page: str) -> None:
    """Those after them go on in the same terminal."""
    shown = [block for block in blocks(ROOT / page, "sh") if not {"wheel", "needs-docker"} & set(block.info)]
    commands = [words for block in shown for words in block.commands()]
    tools = [words[0] for words in commands]
    assert {"bertbench", "locust"} <= set(tools)
    first = min(tools.index("bertbench"), tools.index("locust"))
    assert [".", ".venv/bin/activate"] in commands[:first]


def test_a_page_uses_no_checkpoint_before_it_trains_it_and_keeps_its_sentences() -> None:
    """An export without `--sentences` replaces the golden sentences of a reader who has given some."""
    trained: set[str] = set()
    sentences: dict[str, str] = {}
    commands = [words for block in blocks(ROOT / "docs/guide/own-bert.md", "sh") for words in block.commands()]
    made = {words[words.index("--out") + 1] for words in commands if words[:2] == ["bertbench", "train"]}
    exports = 0
    for words in commands:
        given = dict(itertools.pairwise(words))
        if words[:2] == ["bertbench", "train"]:
            trained.add(given["--out"])
        if words[:2] == ["bertbench", "export"]:
            exports += 1
            assert given["--checkpoint"] not in made - trained
            assert sentences.setdefault(given["--out"], given.get("--sentences", "")) == given.get("--sentences", "")
    assert made
    assert exports > 1


def test_what_stays_is_known() -> None:
    assert stays(["bertbench", "serve", "my-model"])
    assert stays(["MODEL_DIR=m", "docker", "compose", "-f", "docker/compose.cpu.yml", "up"])
    assert stays(["docker", "run", "-t", "tensorflow/serving:2.15.1"])
    assert stays(["locust", "-f", "scenarios/rest.py"])
    assert not stays(["docker", "run", "-d", "-t", "tensorflow/serving:2.15.1"])
    assert not stays(["docker", "run", "--rm", "bertbench:full", "demo"])
    assert not stays(["locust", "-f", "scenarios/rest.py", "--headless"])


def stays(words: list[str]) -> bool:
    """Whether a command runs until Ctrl-C, or until another machine ends it."""
    while "=" in words[0]:
        words = words[1:]
    if {"-d", "--detach"} & set(words):
        return False
    match words:
        case ["bertbench", "serve", *_] | ["docker", "compose", *_, "up"]:
            return True
        case ["docker", "run", *rest]:
            return "--entrypoint" not in rest and any(word.startswith("tensorflow/serving:") for word in rest)
        case ["locust", *rest]:
            return "--worker" in rest or not any(word in ("--headless", "--scenario-help") for word in rest)
    return False


def is_installation(words: list[str]) -> bool:
    """Whether the words install or run the wheel of this version, with a list that is there if they name one."""
    wheel = f"dist/bertbench-{__version__}-py3-none-any.whl"
    if "-r" in words and not (ROOT / words[words.index("-r") + 1]).is_file():
        return False
    return wheel in words and words[0] in ("pip", "pipx", "uvx")


def check(words: list[str], block: Block) -> None:
    """That the words name commands, options, targets and files that exist."""
    while "=" in words[0]:
        words = words[1:]
    tool, *rest = words
    if tool == "bertbench":
        assert rest[0] in COMMANDS, block.text
        make_parser(rest).parse_args(rest)
        scenario = rest[1] if rest[0] == "run" else "rest"
        assert scenario in SCENARIOS
    elif tool == "make":
        targets = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^([a-z- ]+ )?{word}[ :]", targets, re.MULTILINE) for word in rest), block.text
    elif tool == "locust":
        assert (ROOT / rest[rest.index("-f") + 1]).is_file(), block.text
        assert {word[2:] for word in rest if word.startswith("--")} <= known_names().locust, block.text
    else:
        assert tool in ("docker", "kubectl", "mkdir") or is_installation(words), block.text
        folders = [rest[index + 1] for index, word in enumerate(rest) if word == "-k"]
        assert all((ROOT / folder / "kustomization.yaml").is_file() for folder in folders), block.text
        files = [rest[index + 1] for index, word in enumerate(rest) if word == "-f"]
        assert all((ROOT / file).is_file() for file in files), block.text
        for index, word in enumerate(rest):
            # Serving's entry point takes what follows as arguments of Serving.
            if word.startswith("tensorflow/serving:"):
                assert all(after.startswith("--") for after in rest[index + 1 :]), block.text
            if word.startswith("bertbench:"):
                check(["bertbench", *rest[index + 1 :]], block)
