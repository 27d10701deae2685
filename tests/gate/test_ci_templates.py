"""The scripts of docs/guide/ci as a runner has them, in real clones, through all verdicts; stand-ins for the tools."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CI = Path(__file__).parents[2] / "docs/guide/ci"

VERDICTS = {0: "PASS", 1: "REGRESSION", 2: "", 3: "INCONCLUSIVE", 4: "TARGET_FAILED"}
"""By exit code; with 2, bad input, the gate writes no files."""

GITLAB, GITHUB = ("-eo", "pipefail"), ("-e",)
"""How the runners call bash."""

BERTBENCH = """#!/bin/sh
[ "$1" = gate ] || exit 97
echo "$*" >> "$LOG"
while [ $# -gt 0 ]; do
  case "$1" in
    --baseline) cat "$2/model" >> "$LOG" ;;
    --candidate) cat "$2/model" >> "$LOG" ;;
    --markdown | --junit | --json) [ "$CODE" = 2 ] || echo "## Gate: $VERDICT" > "$2" ;;
  esac
  shift
done
exit "$CODE"
"""
# As the real export does, it refuses a folder that is there; the model is what the checkout that made it holds.
PYTHON = """#!/bin/sh
[ "$1 $2 $3 $4 $5 $6" = "-m bench export --checkpoint demo --out" ] || exit 98
mkdir "$7" 2> /dev/null || { mkdir -p "$(dirname "$7")" && mkdir "$7"; } || exit 2
cp code "$7/model"
"""
# Of the folder that has the Makefile's rule.
MAKE = """#!/bin/sh
[ "$1 $3" = "-C setup" ] && [ -f "$2/bench/__init__.py" ] || exit 96
mkdir -p "$2/.venv/bin"
"""
GH = """#!/bin/sh
echo "gh $*" >> "$LOG"
case "$*" in
  *"/pulls "*) [ "$PULLS" = none ] || echo "7 $HEAD_OF_PULL" ;;
  *"run download"*) [ "$CODE" = 2 ] && exit 1; mkdir gate && echo "## Gate: $VERDICT" > gate/gate.md ;;
  *--paginate*) [ "$OLD" = none ] || printf '41\\n42\\n' ;;
  *body=@comment.md*) cat comment.md >> "$LOG" ;;
esac
"""


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, "-C", str(folder), *words], check=True, capture_output=True)


def commit(folder: Path, branch: str, code: str) -> None:
    git(folder, "checkout", "-q", branch)
    (folder / "code").write_text(f"{code}\n")
    git(folder, "commit", "-qam", code)


class Project:
    """A project with a target branch and a change, and the clone that a runner has of it."""

    def __init__(self, root: Path) -> None:
        self.origin, self.clone, self.tools, self.log = (root / name for name in ("origin", "clone", "tools", "log"))
        self.origin.mkdir()
        self.tools.mkdir()
        git(self.origin, "init", "-q")
        (self.origin / "code").write_text("first\n")
        (self.origin / "bench").mkdir()
        (self.origin / "bench/__init__.py").write_text("")
        git(self.origin, "add", "code", "bench")
        git(self.origin, "commit", "-qm", "first")
        git(self.origin, "branch", "-m", "release/1")
        git(self.origin, "branch", "change")
        commit(self.origin, "change", "changed")
        git(root, "clone", "-q", "--branch", "change", f"file://{self.origin}", str(self.clone))
        for name, text in (("bertbench", BERTBENCH), ("python", PYTHON), ("gh", GH), ("make", MAKE)):
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o755)

    def run(self, script: str, code: int, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a script in the clone with a gate that ends with this code; `options` are the runner's, of bash."""
        self.log.write_text("")
        summary = self.clone.parent / "summary.md"
        environment = {
            **os.environ,
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "CODE": str(code),
            "VERDICT": VERDICTS[code],
            "GITHUB_STEP_SUMMARY": str(summary),
            **variables,
        }
        return subprocess.run(
            ["bash", *options, "-c", script],
            cwd=self.clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def gitlab_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((CI / "gitlab-gate.yml").read_text())["performance gate"]
    return job


def gitlab_variables(project: Project, **more: str) -> dict[str, str]:
    own = {name: value for name, value in gitlab_job()["variables"].items() if "$" not in value}
    return {**own, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "release/1", "CI_PROJECT_ID": "1", **more}


def gitlab_result(job: dict[str, Any], code: int) -> str:
    """What GitLab makes of a script's exit code."""
    allowed = job.get("allow_failure", {}).get("exit_codes", [])
    if code == 0:
        return "success"
    return "warning" if code in (allowed if isinstance(allowed, list) else [allowed]) else "failed"


@pytest.mark.parametrize(
    ("code", "result"), [(0, "success"), (1, "failed"), (2, "failed"), (3, "warning"), (4, "failed")]
)
def test_the_gitlab_job_twice_in_one_clone(project: Project, code: int, result: str) -> None:
    """The target branch goes on between the two, and the first is cut off while it makes its worktree."""
    job = gitlab_job()
    script = "\n".join(job["before_script"] + job["script"])
    variables = gitlab_variables(project, CI_MERGE_REQUEST_PROJECT_ID="1")
    for number, base in enumerate(("second", "third")):
        commit(project.origin, "release/1", base)
        done = project.run(script, code, *GITLAB, **variables)
        assert done.returncode == code, done.stderr
        assert gitlab_result(job, done.returncode) == result
        assert project.log.read_text().splitlines()[1:] == [base, "changed"]
        assert (project.clone / job["artifacts"]["reports"]["junit"]).is_file() == (code != 2)
        if number == 0:
            git(project.clone, "worktree", "lock", "base")
    assert "allow_failure" in job
    strict = {name: value for name, value in job.items() if name != "allow_failure"}
    assert gitlab_result(strict, code) == ("success" if code == 0 else "failed")


def test_the_gitlab_job_of_a_fork_compares_with_the_projects_own_branch(project: Project, tmp_path: Path) -> None:
    (tmp_path / "upstream").mkdir()
    upstream = Project(tmp_path / "upstream")
    commit(upstream.origin, "release/1", "of the project")
    commit(project.origin, "release/1", "of the fork")
    variables = gitlab_variables(
        project, CI_MERGE_REQUEST_PROJECT_ID="2", CI_MERGE_REQUEST_PROJECT_URL=f"file://{upstream.origin}"
    )
    job = gitlab_job()
    done = project.run("\n".join(job["before_script"] + job["script"]), 0, *GITLAB, **variables)
    assert done.returncode == 0, done.stderr
    assert project.log.read_text().splitlines()[1:] == ["of the project", "changed"]


def test_the_gitlab_job_ends_before_the_gate_if_a_step_fails(project: Project) -> None:
    job = gitlab_job()
    variables = gitlab_variables(project, CI_MERGE_REQUEST_PROJECT_ID="1")
    (project.tools / "python").write_text("#!/bin/sh\nexit 1\n")
    done = project.run("\n".join(job["before_script"] + job["script"]), 0, *GITLAB, **variables)
    assert gitlab_result(job, done.returncode) == "failed"
    assert project.log.read_text() == ""


def github_jobs(name: str) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load((CI / f"{name}.yml").read_text())["jobs"]
    return jobs


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in job["steps"] if entry.get("name") == name)
    return found


@pytest.mark.parametrize("choice", ["as it is", "warn", "fail"])
@pytest.mark.parametrize("code", VERDICTS)
def test_the_github_job_twice_in_one_clone(project: Project, code: int, choice: str) -> None:
    job = github_jobs("github-gate")["gate"]
    variables = {**job["env"], **({} if choice == "as it is" else {"ON_INCONCLUSIVE": choice})}
    lenient = variables["ON_INCONCLUSIVE"] == "warn"
    assert lenient or choice == "fail", "the template's own choice is the first that it describes"
    for base in ("second", "third"):
        commit(project.origin, "release/1", base)
        # What actions/checkout does with `path: base`.
        subprocess.run(["rm", "-rf", project.clone / "base"], check=True)
        git(project.clone, "clone", "-q", "--branch", "release/1", f"file://{project.origin}", "base")
        set_up = step(job, "set up")
        done = project.run(set_up["run"], code, *GITHUB, GITHUB_PATH="/dev/null", **set_up.get("env", {}))
        assert done.returncode == 0, done.stderr
        made = project.run(step(job, "export both models")["run"], code, *GITHUB)
        assert made.returncode == 0, made.stderr
        done = project.run(step(job, "gate")["run"], code, *GITHUB, **variables)
        assert done.returncode == (0 if code == 3 and lenient else code), done.stderr
        assert ("::warning::" in done.stdout) == (code == 3 and lenient)
        assert project.log.read_text().splitlines()[1:] == [base, "changed"]
        assert (project.clone / "gate" / "gate.xml").is_file() == (code != 2)
    summary = project.clone.parent / "summary.md"
    assert (summary.read_text().count(f"## Gate: {VERDICTS[code]}") if summary.exists() else 0) == 2 * (code != 2)


GITHUB_SET_UP = step(github_jobs("github-gate")["gate"], "set up")
SET_UP = {
    "github": (GITHUB_SET_UP["run"], GITHUB, GITHUB_SET_UP.get("env", {})),
    "gitlab": ("\n".join(gitlab_job()["before_script"]), GITLAB, {"CI_MERGE_REQUEST_PROJECT_ID": "1"}),
}
"""By template: the script that sets bertbench up, how bash is called, and the template's own variables."""


@pytest.mark.parametrize("template", SET_UP)
def test_a_repository_that_is_no_fork_names_the_folder_of_bertbench(project: Project, template: str) -> None:
    script, options, own = SET_UP[template]
    git(project.clone, "mv", "-k", "bench", "moved")
    (project.clone / "load").mkdir()
    (project.clone / "moved").rename(project.clone / "load" / "bench")
    variables = gitlab_variables(project, **own, GITHUB_PATH=str(project.clone / "path"))
    for folder in (".", "elsewhere"):
        done = project.run(script, 0, *options, **{**variables, "BERTBENCH": folder})
        assert done.returncode == 2
        assert f"{folder} has no bertbench; check it out, and name its folder in BERTBENCH" in done.stderr
    shown = 'case ":$PATH:$(cat path 2>/dev/null):" in *"/load/.venv/bin:"*) exit 0 ;; esac; exit 95'
    done = project.run(f"{script}\n{shown}", 0, *options, **{**variables, "BERTBENCH": "load"})
    assert done.returncode == 0, done.stderr
    assert (project.clone / "load/.venv/bin").is_dir()


def test_the_github_cache_is_written_by_each_run() -> None:
    job = github_jobs("github-gate")["gate"]
    cache = next(entry["with"] for entry in job["steps"] if "actions/cache" in entry.get("uses", ""))
    assert "github.run_id" in cache["key"]
    assert "github.run_attempt" in cache["key"]
    assert cache["key"].startswith(cache["restore-keys"])
    assert "github." not in cache["restore-keys"]


def test_the_github_gate_needs_no_right_to_write() -> None:
    """A fork's pull request has none."""
    workflow = yaml.safe_load((CI / "github-gate.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    comment = yaml.safe_load((CI / "github-comment.yml").read_text())
    # YAML 1.1 reads the key `on` as true.
    assert comment[True]["workflow_run"]["workflows"] == [workflow["name"]]
    upload = next(entry["with"] for entry in workflow["jobs"]["gate"]["steps"] if "upload" in entry.get("uses", ""))
    assert f"--name {upload['name']} " in comment["jobs"]["comment"]["steps"][0]["run"]


def test_no_expression_of_the_pull_request_is_part_of_a_github_script() -> None:
    """A branch's name is text that somebody else chose."""
    for name in ("github-gate", "github-comment"):
        for job in github_jobs(name).values():
            assert not any("${{" in entry.get("run", "") for entry in job["steps"])


COMMENTED = {"REPOSITORY": "o/r", "RUN": "5", "HEAD": "someone:a;branch", "COMMIT": "c0ffee", "HEAD_OF_PULL": "c0ffee"}


@pytest.mark.parametrize("code", VERDICTS)
@pytest.mark.parametrize("old", ["none", "there"])
def test_the_github_comment_is_made_once_and_then_edited(project: Project, code: int, old: str) -> None:
    script = step(github_jobs("github-comment")["comment"], "comment")["run"]
    variables = {**COMMENTED, "OLD": old}
    for _ in range(2):
        done = project.run(script, code, *GITHUB, **variables)
        assert done.returncode == 0, done.stderr
        log = project.log.read_text()
        assert "head=someone:a;branch" in log
        if code == 2 and old == "none":
            assert "body=@" not in log
            continue
        assert ("PATCH repos/o/r/issues/comments/41 " in log) == (old == "there")
        assert ("POST repos/o/r/issues/7/comments " in log) == (old == "none")
        # An old comment has the verdict of another commit.
        said = f"\n\n## Gate: {VERDICTS[code]}" if code != 2 else ": the gate left no verdict"
        assert f"<!-- bertbench gate -->\nCommit c0ffee{said}" in log
    gone = project.run(script, code, *GITHUB, **variables, PULLS="none")
    assert gone.returncode == 0
    assert "body=@" not in project.log.read_text()


@pytest.mark.parametrize("code", VERDICTS)
def test_the_github_comment_of_a_newer_commit_is_kept(project: Project, code: int) -> None:
    """Runs may end in another order than they began."""
    script = step(github_jobs("github-comment")["comment"], "comment")["run"]
    done = project.run(script, code, *GITHUB, **{**COMMENTED, "OLD": "there", "HEAD_OF_PULL": "facade"})
    assert done.returncode == 0, done.stderr
    assert "body=@" not in project.log.read_text()
    assert "pull request 7 has a newer commit than c0ffee" in done.stdout


def test_the_github_comment_names_the_commit_of_the_run() -> None:
    """`github.sha` is the newest of the default branch in a workflow that runs after another."""
    variables = step(github_jobs("github-comment")["comment"], "comment")["env"]
    assert variables["COMMIT"] == "${{ github.event.workflow_run.head_sha }}"
    assert variables.keys() >= COMMENTED.keys() - {"HEAD_OF_PULL"}


@pytest.mark.parametrize("template", ["gitlab-gate", "github-gate"])
def test_a_job_that_fails_before_its_gate_keeps_no_verdict_of_another(project: Project, template: str) -> None:
    """A runner of one's own may keep its clone, and what lies in gate/ is the artifact whatever failed."""
    (project.clone / "gate").mkdir()
    (project.clone / "gate" / "gate.md").write_text("## Gate: PASS")
    (project.tools / "make").write_text("#!/bin/sh\nexit 1\n")
    if template == "gitlab-gate":
        job = gitlab_job()
        variables = gitlab_variables(project, CI_MERGE_REQUEST_PROJECT_ID="1")
        done = project.run("\n".join(job["before_script"] + job["script"]), 0, *GITLAB, **variables)
    else:
        for entry in (entry for entry in github_jobs(template)["gate"]["steps"] if "run" in entry):
            done = project.run(entry["run"], 0, *GITHUB, GITHUB_PATH="/dev/null", **entry.get("env", {}))
            if done.returncode:
                break
    assert done.returncode == 1
    assert not (project.clone / "gate").exists()
