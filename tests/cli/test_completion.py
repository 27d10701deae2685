"""`bertbench completion`: scripts that their shells read, and what they complete."""

import io
import subprocess
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.arguments.completion import SHELLS
from tests.support.debian import installed

# Runs the completion as bash does at Tab, with the cursor at the end of the last word.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
registered=$(complete -p bertbench); name=${registered##*-F }; ${name%% *}
printf '%s\\n' "${COMPREPLY[@]}"
"""
COMPLETED = [
    ("bertbench ga", {"gate"}),
    ("bertbench gate --baseline-", {"--baseline-flag", "--baseline-header"}),
    ("bertbench gate calibrate --ga", {"--gates"}),
    ("bertbench gate --max-time 5m cal", {"calibrate"}),
    ("bertbench run single", {"single-stream"}),
    ("bertbench score --format js", {"json", "jsonl"}),
    ("bertbench config ch", {"check"}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By shell: the file of its script."""
    folder, found = tmp_path_factory.mktemp("completion"), {}
    for shell in SHELLS:
        out = io.StringIO()
        assert main(["completion", shell], out) == 0
        found[shell] = folder / f"bertbench.{shell}"
        found[shell].write_text(out.getvalue())
    return found


def output(*command: str) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_reads_its_script(shell: str, scripts: dict[str, Path]) -> None:
    assert output(installed(shell), "-n", str(scripts[shell])) == set()


@pytest.mark.parametrize(("words", "found"), COMPLETED)
def test_bash_completes(words: str, found: set[str], scripts: dict[str, Path]) -> None:
    assert output(installed("bash"), "-c", BASH, "bash", str(scripts["bash"]), *words.split()) == found


@pytest.mark.parametrize(("words", "found"), COMPLETED)
def test_fish_completes(words: str, found: set[str], scripts: dict[str, Path], tmp_path: Path) -> None:
    script = f"source {scripts['fish']}; complete -C '{words}' | string split -f 1 \\t"
    assert output(installed("env"), f"HOME={tmp_path}", installed("fish"), "-c", script) == found


def test_folders_are_completed(scripts: dict[str, Path]) -> None:
    script = scripts["bash"].read_text()
    for command in ("run", "demo", "gate", "report", "compare", "capacity", "export", "train"):
        assert f"_shtab_bertbench_{command}___out_COMPGEN=" in script


def test_zsh_registers_its_completion(scripts: dict[str, Path]) -> None:
    script = f'autoload -U compinit; compinit -u -D; eval "$(<{scripts["zsh"]})"; echo $_comps[bertbench]'
    assert output(installed("zsh"), "-fc", script) == {"_shtab_bertbench"}


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])
    assert ended.value.code == 2
    assert "'tcsh' is not one of bash, zsh, fish" in capsys.readouterr().err
