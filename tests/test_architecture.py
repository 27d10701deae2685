"""The order of docs/architecture.md: imports point down, and the light commands load nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import COMMANDS, arguments_module, command_module

ROOT = Path(__file__).parents[1]

# From the bottom up: a module imports its own layer and those before it. The longest prefix of a module's name counts.
LAYERS = [
    "core",
    "config",
    "stats",
    "objectives",
    "workload",
    "serving",
    "results",
    "analysis",
    "bert",
    "server",
    "load",
    "report",
    "cli.common",
    "gate",
    "capacity",
    "api",
    "cli",
]

MOST_MODULES = 20

HEAVY = {"tensorflow", "locust", "gevent", "grpc", "pandas", "matplotlib", "pyarrow", "scipy"}
# What parsing does without besides.
PARSING = HEAVY | {"requests", "urllib3", "google.protobuf", "jinja2", "psutil", "rich", "hpack", "hdrh", "docker"}
# Refused for what the command line says, and not for what a command finds.
REFUSED = [
    "run rest --unknown", "run rest --arrivals often", "run rest --slo fast", "gate --unknown",
    "gate --baseline embedded", "gate --baseline embedded --candidate embedded --min-effect big",
    "gate --baseline embedded --candidate embedded --arrivals often", "compare /none /none", "report /none",
    "baseline add /none", "capacity --slo fast", "capacity simulate d --replicas 0 --rate 5/s", "score f --resume",
    "calibrate --ways none", "serve m --rest-port 0", "verify --sentences 0", "demo --seconds 0", "plan-load --rate 0",
]  # fmt: skip


def layer(module: str) -> int:
    """The index of `bench.X...` in the order; the package itself stands under all."""
    parts = module.split(".")[1:]
    for count in range(len(parts), 0, -1):
        if (name := ".".join(parts[:count])) in LAYERS:
            return LAYERS.index(name)
    return -1


def folder(module: str) -> str:
    """The package that a module lies in, or that it is."""
    path = ROOT.joinpath(*module.split("."))
    return module if path.is_dir() else module.rpartition(".")[0]


def exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported(tree: ast.AST) -> set[str]:
    """All `bench` modules that a module's code names in imports, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative import"
            if node.module.split(".")[0] != "bench":
                continue
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found = {name for name in inner if exists(name)}
            names |= found
            if found != inner:
                names.add(node.module)
    return {name for name in names if name.split(".")[0] == "bench"} - {"bench"}


def modules() -> list[Path]:
    return sorted((ROOT / "bench").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = name_of(path)
    if module in ("bench", "bench.__main__"):
        return
    for name in imported(ast.parse(path.read_text())):
        assert layer(name) <= layer(module), f"{module} imports {name}, which stands above it"


def test_every_package_has_a_place() -> None:
    found = {path.stem for path in (ROOT / "bench").iterdir() if path.is_dir() or path.suffix == ".py"}
    # scenarios is a link to the folder of that name, by which its files come with the package.
    assert found - {"__init__", "__main__", "__pycache__", "scenarios"} <= set(LAYERS)


def test_gate_and_capacity_do_not_import_each_other() -> None:
    for feature, other in (("gate", "capacity"), ("capacity", "gate")):
        for path in (ROOT / "bench" / feature).rglob("*.py"):
            for name in imported(ast.parse(path.read_text())):
                assert not name.startswith(f"bench.{other}"), f"{path} imports {name}"


def test_folders_import_each_other_in_no_circle() -> None:
    """`bench/__main__.py`, the console script, is left out: it lies in the folder of all and imports the topmost."""
    edges: dict[str, set[str]] = {}
    for path in modules():
        module = name_of(path)
        if module != "bench.__main__":
            targets = {folder(name) for name in imported(ast.parse(path.read_text()))}
            edges.setdefault(folder(module), set()).update(targets - {folder(module)})
    remaining = dict(edges)
    while leaves := [name for name, targets in remaining.items() if not targets & remaining.keys()]:
        for name in leaves:
            del remaining[name]
    assert not remaining, f"in or above a circle: {sorted(remaining)}"


def test_folders_can_be_looked_over() -> None:
    for path in (ROOT / "bench").rglob("__init__.py"):
        here = [other for other in path.parent.glob("*.py") if other.name != "__init__.py"]
        assert len(here) <= MOST_MODULES, f"{path.parent} holds {len(here)} modules"


def test_classes_are_short() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 250, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_tensorflow_only_where_marked() -> None:
    """A module imports TensorFlow if its docstring starts with "TF:" or it is the embedded server's."""
    for path in modules():
        tree = ast.parse(path.read_text())
        top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {(node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
        if "tensorflow" not in top:
            continue
        relative = path.relative_to(ROOT / "bench")
        marked = (ast.get_docstring(tree) or "").startswith("TF:")
        assert marked or relative.parts[:2] == ("server", "embedded"), f"{relative} imports TensorFlow"


@pytest.mark.parametrize("statement", ["import bench", "import bench.cli; bench.cli.main(['--help'])"])
def test_light_entry_points_load_nothing_heavy(statement: str) -> None:
    loaded = loaded_by(f"try:\n exec({statement!r})\nexcept SystemExit: pass")
    assert "bench" in loaded
    assert not loaded & HEAVY


def loaded_by(code: str) -> set[str]:
    """The modules that a Python process has loaded after some code."""
    end = "import sys; print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{end}"], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_command_lines_are_parsed_without_what_commands_need() -> None:
    loaded = loaded_by("from bench.cli.dispatch import full_parser; full_parser()")
    assert {arguments_module(command) for command in COMMANDS} <= loaded
    assert not loaded & (PARSING | {command_module(command) for command in COMMANDS})


def test_refusals_of_arguments_load_nothing_heavy() -> None:
    code = f"""
import io
from bench.cli import main
for line in {REFUSED}:
    try:
        code = main(line.split(), io.StringIO(), io.StringIO())
    except SystemExit as ended:
        code = ended.code
    assert code == 2, (line, code)
"""
    assert not loaded_by(code) & PARSING


def test_scenarios_are_short() -> None:
    for path in (ROOT / "scenarios").glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path.name


def test_modules_and_functions_are_short() -> None:
    """Modules of 400 lines and functions of 80 at most: short enough to read at once."""
    for path in modules():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, f"{path} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 80, f"{path}:{node.lineno} {node.name} has {length} lines"
