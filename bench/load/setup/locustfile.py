"""A scenario as a locustfile to edit: its defaults written out, with comments that show what can be added."""

import ast
from typing import Final

import jinja2

from bench.load.setup.catalog import FILES, SCENARIOS, scenario_path

_REST: Final = "http://localhost:8501"
_HOSTS: Final = {"rest": _REST, "grpc": "localhost:8500", "both": f"{_REST} --grpc-host localhost:8500"}
_STATUS: Final = "/v1/models/bert"


def scenario_title(name: str) -> str:
    """What one of `SCENARIOS` is for, in one sentence."""
    return _paragraphs(name)[0]


def locustfile(name: str) -> str:
    """The text of a locustfile that runs one of `SCENARIOS`, from any folder."""
    scenario = SCENARIOS[name]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.load.setup"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return environment.get_template("locustfile.py.j2").render(
        paragraphs=_paragraphs(name),
        scenario=scenario,
        file=FILES[name],
        user="".join(word.capitalize() for word in name.split("-")) + "User",
        host=_HOSTS[scenario.protocol],
        # A user of Locust's that gets a gRPC address as --host needs the whole URL.
        status_url=_REST + _STATUS if scenario.protocol == "grpc" else _STATUS,
    )


def _paragraphs(name: str) -> list[str]:
    """The docstring of a scenario's file, without its command lines."""
    text = ast.get_docstring(ast.parse(scenario_path(name).read_text(encoding="utf-8"))) or ""
    return [paragraph for paragraph in text.split("\n\n") if not paragraph.startswith("locust ")]
