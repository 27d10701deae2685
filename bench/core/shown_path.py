"""Paths as people read them: short, and without the user's own folders."""

from pathlib import Path


def shown_path(path: Path) -> str:
    """`path` from the working directory if it lies there, else with `~` for the home directory, else as it is."""
    for base, prefix in ((Path.cwd, ""), (Path.home, "~/")):
        try:
            return f"{prefix}{path.absolute().relative_to(base())}"
        except (ValueError, RuntimeError, FileNotFoundError):
            # Elsewhere, no known home, or a working directory that is gone.
            continue
    return str(path)
