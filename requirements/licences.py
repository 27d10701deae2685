"""Writes docs/reference/licences.md: the licence of each package that `make setup` installs, as its metadata says.

    make licences

pip-licenses reads the metadata; it is in an environment of its own, so that it is not listed.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "reference" / "licences.md"
HEAD: Final = """\
# Licences

bertbench is under the Apache License 2.0. Of the packages that `make setup` installs, those of development included,
each is listed under the licence that its metadata names. Made by `make licences`; the versions are in
`constraints.txt`. The files in `bench/report/assets/` have their licence beside them.

| licence | packages |
|---|---|
"""
OWN: Final = "bertbench"
_LONGEST: Final = 60
_NONE: Final = "(none named)"


def licences(program: str) -> dict[str, list[str]]:
    """Packages by licence.

    Args:
        program: pip-licenses.

    Raises:
        subprocess.CalledProcessError: it fails; it says why on standard error.
    """
    command = (program, f"--python={sys.executable}", "--from=mixed", "--format=json")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = defaultdict(list)
    for entry in json.loads(done.stdout):
        # Some packages put the whole text where the name belongs.
        name = " ".join(entry["License"].splitlines()[0].split())[:_LONGEST].replace("UNKNOWN", _NONE)
        if entry["Name"] != OWN:
            found[name].append(entry["Name"])
    return found


def main(program: str) -> None:
    """Writes the page."""
    rows = [
        f"| {name} | {', '.join(sorted(packages, key=str.lower))} |\n"
        for name, packages in sorted(licences(program).items(), key=lambda entry: entry[0].lower())
    ]
    PAGE.write_text(HEAD + "".join(rows))
    print(f"{PAGE}: {len(rows)} licences")


if __name__ == "__main__":
    main(sys.argv[1])
