"""`bertbench scenario`: what is listed, what is written, and what is refused."""

import ast
import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.load.setup.catalog import FILES, SCENARIOS, SampleRule, Scenario
from bench.load.setup.locustfile import locustfile


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def test_the_list_has_every_scenario_with_its_defaults() -> None:
    code, out, _ = call("scenario", "list")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and not line.startswith(" ")}
    for name, scenario in SCENARIOS.items():
        assert rows[name] == [scenario.protocol, scenario.arrivals, str(scenario.users), scenario.run_time]
    assert "  A growing rate: latency rises where the server saturates." in out.splitlines()


class Evaluated(ast.NodeTransformer):
    """The scenario that a file installs, without importing Locust."""

    def __init__(self) -> None:
        self.found: list[Scenario] = []

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "install":
            code = compile(ast.Expression(node.args[0]), "install", "eval")
            self.found.append(eval(code, {"Scenario": Scenario, "SampleRule": SampleRule}))
        return node


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_copy_installs_the_same_scenario(name: str) -> None:
    seen = Evaluated()
    seen.visit(ast.parse(locustfile(name)))
    assert seen.found == [SCENARIOS[name]]
    assert all(len(line) <= 120 for line in locustfile(name).splitlines())


def test_a_copy_is_never_written_over_unless_asked(tmp_path: Path) -> None:
    folder = tmp_path / "load tests"
    path = folder / "single_stream.py"
    code, out, _ = call("scenario", "copy", "single-stream", str(folder))
    assert (code, out) == (0, f"{path}: edit it, then run: locust -f '{path}'\n")
    path.write_text("mine")
    code, out, err = call("scenario", "copy", "single-stream", str(folder))
    assert (code, out) == (2, "")
    assert err == f"bertbench: {path} is there already; give another DIR, or --force to replace it\n"
    assert path.read_text() == "mine"
    assert call("scenario", "copy", "single-stream", str(folder), "--force")[0] == 0
    assert path.read_text() == locustfile("single-stream")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["copy", "rst"], "'rst' is not one of rest, grpc"),
        (["copy", "rst"], "did you mean rest?"),
        (["copy"], "the following arguments are required: name"),
        (["lst"], "did you mean list?"),
        ([], "the following arguments are required: ACTION"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scenario", *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = call("scenario", "copy", "rest", str(tmp_path / "file"))
    assert code == 2
    assert err.startswith(f"bertbench: {tmp_path / 'file'} cannot be written: ")
    (tmp_path / "rest.py").mkdir()
    code, _, err = call("scenario", "copy", "rest", str(tmp_path), "--force")
    assert (code, err) == (2, f"bertbench: {tmp_path / 'rest.py'} is a folder; give another DIR\n")


@pytest.mark.parametrize("name", FILES.values())
def test_a_copy_s_name_shadows_no_package(name: str) -> None:
    """Locust puts the file's folder first on `sys.path`."""
    assert importlib.util.find_spec(name.removesuffix(".py")) is None
