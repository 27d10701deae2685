"""Verdicts of a benchmark: each goal's figure, and whether it is met."""

missed: list[str] = []


def goal(met: bool, text: str) -> None:
    """Prints a goal's figure and verdict."""
    print(f"  {'PASS' if met else 'MISS'}  {text}", flush=True)
    if not met:
        missed.append(text)


def note(text: str) -> None:
    """Prints a figure without a goal."""
    print(f"        {text}", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
