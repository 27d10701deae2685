"""Messages name options that the user's own command has."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from bench.cli import COMMANDS, command_module
from bench.load.setup.run_context import option_name
from tests.cli.test_values import parsers

ROOT = Path(__file__).parents[2]
# What a command reaches through a process that it starts.
PROCESSES = {
    "run": ("bench.load.scenario", "bench.load.locust_adapter.master"),
    "calibrate": ("bench.load.scenario", "bench.load.locust_adapter.master"),
    "demo": ("bench.load.scenario", "bench.load.locust_adapter.master"),
    "capacity": ("bench.load.runner.worker",),
}
# Messages that name another command in the same breath, and those that these commands cannot bring about.
QUALIFIED = {
    ("bench.gate.baseline_store", "--store"): "bertbench baseline ... --store",
    ("bench.analysis.compare", "--anyway"): "only compare compares by hand",
    ("bench.gate.types", "--min-effect"): "only gates have a smallest effect",
    ("bench.gate.history", "--no-deps"): "an option of pip",
    ("bench.core.atomic_files", "--out"): "only capacity, score and train hold what their --out names",
    ("bench.bert.checkpoints.resolve", "--uncased"): "only export says how a preset is cased",
    ("bench.bert.text.tokenizer_folder", "--cased"): "export with one of both",
    ("bench.bert.text.tokenizer_folder", "--uncased"): "the same",
    ("bench.bert.contract.model_folder", "--checkpoint"): "bertbench export --checkpoint",
    ("bench.bert.contract.model_folder", "--out"): "bertbench export --checkpoint demo --out",
    ("bench.bert.contract.preflight", "--no-preflight"): "demo and calibrate drive servers of their own",
    ("bench.bert.contract.sentence_limits", "--fixed-length"): "bertbench export --fixed-length made the model",
    ("bench.bert.contract.sentence_limits", "--max-predictions"): "the same",
    ("bench.bert.contract.sentence_limits", "--long"): "only score reads sentences that may be too long",
    ("bench.bert.contract.scoring", "--model-dir"): "only score asks for the likeliest words",
    ("bench.bert.contract.scoring", "--signature"): "the same",
    ("bench.load.locust_adapter.web_guard", "--header"): "only Locust has a web page",
    ("bench.load.locust_adapter.web_guard", "--arrivals"): "the same",
    ("bench.load.locust_adapter.web_guard", "--host"): "the same",
    ("bench.load.locust_adapter.web_guard", "--users"): "the same",
    ("bench.load.locust_adapter.options", "--users"): "only Locust's own options are read there",
    ("bench.load.live.prometheus_page", "--metrics-port"): "only what has the option opens the page",
    ("bench.capacity.model.model_file", "--out"): "bertbench capacity --out",
    ("bench.capacity.model.model_file", "--resume"): "bertbench capacity --out DIR --resume",
    ("bench.server.clients", "--target"): "demo drives a server of its own, whose addresses are known",
    ("bench.cli.verify", "--sentences"): "export with --sentences",
    ("bench.load.locust_adapter.run_factory", "--worker"): "locust --worker",
    ("bench.gate.ab_servers", "--sentences"): "export both models with the same --sentences",
    ("bench.gate.ab_servers", "--cased"): "export both checkpoints with the same of both",
    ("bench.gate.ab_servers", "--uncased"): "the same",
    ("bench.load.engine.payloads", "--padded"): "only commands with the option can pad",
    ("bench.load.engine.payloads", "--signature"): "calibrate refuses such an export before",
    ("bench.load.engine.payloads", "--sentences"): "export with --sentences",
    ("bench.objectives.until", "--until"): "only run and Locust have runs that stop by themselves",
    ("bench.objectives.until", "--max-duration"): "the same",
    ("bench.load.setup.run_spec", "--until"): "the same",
    ("bench.load.setup.run_spec", "--slo"): "the same",
    ("bench.load.setup.run_spec", "--server-cgroup"): "only commands with the option have it in their runs",
    ("bench.load.setup.run_spec", "--compressed"): "the same",
    ("bench.load.setup.run_spec", "--channels"): "the same",
    ("bench.objectives.verdicts", "--check-share"): "the same",
    ("bench.load.setup.run_outcome", "--max-duration"): "the same",
    ("bench.load.setup.run_setup", "--arrivals"): "only Locust and run can have other user classes",
    ("bench.load.setup.run_setup", "--users"): "the same",
    ("bench.report.runs.run_reports", "--out"): "only report writes several runs into one folder",
    ("bench.server.lifecycle", "--model-dir"): "serve always has a model folder",
    ("bench.serving.target", "--ca-cert"): "only commands with the option can give certificates",
    ("bench.serving.target", "--client-cert"): "the same",
    ("bench.serving.target", "--client-key"): "the same",
}


@cache
def modules() -> dict[str, ast.Module]:
    paths = sorted((ROOT / "bench").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


def imported(module: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in modules() and name not in ("bench", "bench.cli")}


def reached(command: str) -> set[str]:
    """Modules that a command loads, those of its own processes too."""
    found: set[str] = set()
    waiting = [command_module(command), *PROCESSES.get(command, ())]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            # The API covers every feature; no command measures capacity through it.
            waiting += {name for name in imported(module) if module != "bench.api" or "bench.capacity" not in name}
    return found


def mentioned(module: str) -> set[str]:
    """Options, with dashes and no underscores, in messages of a module: what it raises and prints."""
    found: set[str] = set()
    for node in ast.walk(modules()[module]):
        told = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("print", "_Obstacle", "TargetError")
        if isinstance(node, ast.Raise) or told:
            # What goes through `option_name` is named by the command.
            skipped = {
                id(argument)
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "option_name"
                for argument in call.args
            }
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in skipped:
                    found |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?![\w])", part.value))
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_messages_name_options_that_the_command_has(command: str) -> None:
    options = {name for parser in parsers(command) for name in parser._option_string_actions}
    assert "--help" in options
    wrong = {
        (module, option)
        for module in reached(command)
        if not module.startswith("bench.server.embedded")
        for option in mentioned(module) - options
    }
    assert wrong <= QUALIFIED.keys(), f"bertbench {command} has no such option"


def test_there_are_messages_to_look_at() -> None:
    assert len({option for module in modules() for option in mentioned(module)}) > 30
    assert "bench.load.locust_adapter.master" in reached("run")


@pytest.mark.parametrize("name", ["--host", "--results", "--users", "-t", "--model-dir", "--grpc-host"])
@pytest.mark.parametrize("command", ["run", "capacity"])
def test_locust_s_options_have_the_command_s_names(name: str, command: str) -> None:
    options = {option for parser in parsers(command) for option in parser._option_string_actions}
    assert option_name(name, ("/usr/bin/bertbench", command)) in options


def test_who_starts_locust_alone_reads_locust_s_names() -> None:
    assert option_name("--host", ()) == "--host"
