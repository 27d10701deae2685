"""Lets `locust -f scenarios/rest.py --help` show the scenario's options.

Locust prints its help before it loads the file after -f, but imports a module of this name, if there is one, so that
plugins can add their options. Where the package locust-plugins is installed, that one is imported instead, and nothing
is lost but this.
"""

import argparse
import importlib.util
import sys
from pathlib import Path


def _load_scenario(words: list[str]) -> None:
    """Loads the file after -f where the words ask for help; Locust ends after printing it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-f", "--locustfile", default="")
    parser.add_argument("-h", "--help", action="store_true")
    found, _ = parser.parse_known_args(words)
    path = Path(found.locustfile)
    if found.help and path.suffix == ".py" and path.is_file():
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_load_scenario(sys.argv[1:])
