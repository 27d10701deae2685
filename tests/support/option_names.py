"""Writes the names of all options to the package: `python -m tests.support.option_names`, after a change of options."""

import json
import sys
from pathlib import Path
from typing import Any

from locust.argument_parser import get_empty_argument_parser, setup_parser_arguments

import bench.config
from bench.cli.dispatch import full_parser
from bench.config.actions import options_of
from bench.config.names import LOCUST_FLAGS, NAMES_FILE
from bench.config.resolution import every_command
from bench.load.locust_adapter.options import OPTIONS, SWITCHES, add_options
from bench.load.setup.catalog import SCENARIOS

FILE = Path(bench.config.__file__).parent / NAMES_FILE


def option_names() -> dict[str, Any]:
    """The names of the options of each command, of the scenarios, and of Locust with a scenario."""
    commands = {
        " ".join(command.scope): sorted(name for name, _ in options_of(command.parser))
        for command in every_command(full_parser())
    }
    locust = get_empty_argument_parser(default_config_files=[])
    setup_parser_arguments(locust)
    add_options(locust, SCENARIOS["rest"])
    scenarios = sorted(name.replace("_", "-") for name in (*OPTIONS, *SWITCHES))
    found = {name for name, _ in options_of(locust)} - LOCUST_FLAGS
    return {"commands": commands, "scenarios": scenarios, "locust": sorted(found)}


if __name__ == "__main__":
    text = json.dumps(option_names(), indent=1) + "\n"
    if "--print" in sys.argv:
        print(text, end="")
    else:
        FILE.write_text(text)
