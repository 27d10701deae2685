"""`make examples`: runs the commands of results/example/README.md and puts what they leave beside that page.

The commands run in a folder of their own, under another host name (util-linux's unshare), so that nothing of this
machine gets into the files but what a report says of its processors.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.analysis.run import analyse
from bench.results.run_reader import find_runs
from tests.support.browser import open_browser, opened
from tests.support.pages import ROOT, blocks

EXAMPLE: Final = ROOT / "results" / "example"
PAGE: Final = EXAMPLE / "README.md"
HOST: Final = "example"
KEPT: Final = (
    *("scores.html", "comparison.txt", "demo.txt", "gate.html", "gate.md", "gate.json"),
    *("rest/*", "grpc/*", "comparison/*", "capacity/*"),
)
"""What is kept of the folder, but for folders in it: those of capacity hold the runs of its steps."""
PICTURES: Final = {
    "scores": ("scores.html", 420),
    "run": ("rest/report.html", 800),
    "comparison": ("comparison/report.html", 800),
    "gate": ("gate.html", 640),
    "capacity": ("capacity/capacity.html", 800),
}
"""By name: the page, and the height of its first screen in pixels."""
VERDICTS: Final = (0, 1, 3)
"""Exit codes that are verdicts, and no failures."""
ATTEMPTS: Final = 4
LARGEST: Final = 6_000_000
"""Bytes of all files: they are under version control."""


def main() -> None:
    """Runs the commands, keeps what they leave, and takes pictures of it.

    Raises:
        SystemExit: a command failed, a file names this machine, or the files are too large.
    """
    with tempfile.TemporaryDirectory(prefix="bertbench-examples-") as name:
        folder = Path(name)
        for command in commands():
            print(f"$ {command}", flush=True)
            run_until_valid(command, folder)
        keep(folder)
    take_pictures()
    check_files()


def commands() -> list[str]:
    """The command lines of the page, in its order."""
    return [line for block in blocks(PAGE, "sh") for line in block.text.splitlines() if line]


def run_until_valid(command: str, folder: Path) -> None:
    """Runs a command line; again where it leaves an INVALID run, since the example is not about a busy machine.

    Raises:
        SystemExit: it failed, or each of `ATTEMPTS` runs was INVALID.
    """
    for _ in range(ATTEMPTS):
        run(command, folder)
        new = find_runs([folder / "runs"]) if any(folder.glob("runs/*")) else []
        if all(analyse(one).validity.valid for one in new):
            return
        for one in new:
            shutil.rmtree(one.path)
    sys.exit(f"make examples: {ATTEMPTS} INVALID runs; wait until the machine is idle: {command}")


def run(command: str, folder: Path) -> None:
    """Runs a command line in `folder`, under the host name `HOST`.

    Raises:
        SystemExit: it failed.
    """
    alone = ["unshare", "--uts"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--uts"]
    script = f"hostname {HOST}\nset -o pipefail\n{command}"
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([*alone, "bash", "-c", script], cwd=folder, env=tools, check=False)
    if done.returncode not in VERDICTS:
        sys.exit(f"make examples: exit code {done.returncode} of: {command}")


def keep(folder: Path) -> None:
    """Replaces the files of the example, except its page, by those of `folder`."""
    for old in EXAMPLE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old != PAGE:
            old.unlink()
    files = [path for pattern in KEPT for path in sorted(folder.glob(pattern)) if path.is_file()]
    for path in files:
        target = EXAMPLE / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(folder / "demo" / "report" / "race.png", EXAMPLE / "race.png")


def take_pictures() -> None:
    """Takes a picture of the first screen of each page."""
    (EXAMPLE / "pictures").mkdir(exist_ok=True)
    with open_browser() as browser:
        for name, (page, height) in PICTURES.items():
            with opened(browser, EXAMPLE / page, width=1100) as watched:
                watched.page.set_viewport_size({"width": 1100, "height": height})
                watched.page.screenshot(path=EXAMPLE / "pictures" / f"{name}.png")


def check_files() -> None:
    """Checks that no file names this machine or its folders, and that they are small.

    Raises:
        SystemExit: one does, or they are not.
    """
    if found := sorted(named()):
        sys.exit(f"make examples: files name this machine: {', '.join(found)}")
    size = sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file())
    if size > LARGEST:
        sys.exit(f"make examples: {size:,} bytes in {EXAMPLE}, at most {LARGEST:,} are kept")


def named() -> Iterator[str]:
    """Files with the name of this machine or paths of it."""
    signs = [
        str(ROOT),
        str(Path.home()),
        sys.prefix,
        tempfile.gettempdir(),
        *(f'"{platform.node()}"', f">{platform.node()}<"),
    ]
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and any(f"{sign}".encode() in path.read_bytes() for sign in signs):
            yield str(path.relative_to(EXAMPLE))


if __name__ == "__main__":
    main()
