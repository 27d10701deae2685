"""The common parts of all plots: size, fonts, a palette for colour-blind readers, axes, PNG files.

Drawn into memory, whatever backend the environment names. Without pyplot, which holds references to figures and selects
its backend by the display.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from bench.core.atomic_files import write_atomically
from bench.core.units import format_number


@contextlib.contextmanager
def _without_backend() -> Iterator[None]:
    """Hides the variable by which a backend is chosen: Matplotlib cannot be imported where it names one that is not
    installed, as Jupyter's does in the programs that it starts. A process that can have that backend keeps it."""
    backend = os.environ.pop("MPLBACKEND", None)
    loaded = "matplotlib" in sys.modules
    try:
        yield
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend and not loaded:
        with contextlib.suppress(ValueError):
            rcParams["backend"] = backend


with _without_backend():
    from matplotlib import rc_context, rcParams
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# The other modules with plots take them from here, so that none imports Matplotlib before this one.
__all__ = ["Axes", "NullFormatter"]

# Okabe and Ito's palette for colour-blind readers.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
RED: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"
GREY: Final = "#6E6E6E"
BLACK: Final = "#222222"
SERIES: Final = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, BLACK, GREY)

DPI: Final = 150
_STYLE: Final[Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
}


def new_figure(
    rows: int = 1, *, height: float = 4.4, heights: Sequence[float] | None = None, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with `rows` plots below each other, with a common x axis if `share`."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(9.0, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, 1, sharex=share, squeeze=False, height_ratios=heights)
    return figure, [entry for row in axes for entry in row]


def save(figure: Figure, path: Path, write: Callable[[Path, bytes], None] = write_atomically) -> None:
    """Writes the figure as a PNG, 1350 pixels wide, by `write`: `write_named` where the user named the file."""
    image = BytesIO()
    with rc_context(_STYLE):
        figure.savefig(image, format="png", dpi=DPI)
    # A full disk leaves no half of a picture.
    write(path, image.getvalue())


def seconds_scale(largest: float) -> tuple[float, str]:
    """Factor and unit for times up to `largest` seconds."""
    if largest < 1e-3:
        return 1e6, "µs"
    return (1e3, "ms") if largest < 2 else (1.0, "s")


def title(axes: Axes, text: str, subtitle: str = "") -> None:
    """A title, and a subtitle that says what is shown, in one line or several."""
    axes.set_title(text, loc="left", fontsize=12, fontweight="bold", pad=8 + 14 * len(subtitle.splitlines()))
    if subtitle:
        axes.text(0, 1.02, subtitle, transform=axes.transAxes, fontsize=9, color=GREY, va="bottom")


def log_axis(axes: Axes, name: str, lo: float, hi: float) -> None:
    """Makes axis `name` (`x` or `y`) logarithmic from `lo` to `hi`, with labels at 1, 2 and 5 if they fit."""
    axes.set(**{f"{name}scale": "log", f"{name}lim": (lo, hi)})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0,) if hi / lo > 3000 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value, 6)))
    axis.set_minor_formatter(NullFormatter())


def count_axis(axes: Axes, label: str) -> None:
    """Makes the y axis one of whole numbers, from 0."""
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))


def mark_warmup(axes: Axes, begins: float, ends: float) -> None:
    """Marks the warm-up before `begins` and the drain after `ends` (seconds) in grey."""
    left, right = axes.get_xlim()
    for start, end, label in ((left, begins, "warm-up"), (ends, right, "drain")):
        if end - start > 0.01 * (right - left):
            axes.axvspan(start, end, color="#EEEEEE", zorder=0, linewidth=0)
            if end - start > 0.08 * (right - left):
                place = ((start + end) / 2, 0.98)
                box = {"facecolor": "#EEEEEE", "edgecolor": "none", "pad": 1.5}
                where = axes.get_xaxis_transform()
                axes.text(*place, label, transform=where, ha="center", va="top", color=GREY, fontsize=9, bbox=box)
    axes.set_xlim(left, right)


def legend(axes: Axes, columns: int = 4) -> None:
    """A legend below the plot."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=min(columns, len(handles)),
            borderaxespad=0.0,
            frameon=False,
            fontsize=9,
        )


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all plots of a figure, below them."""
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
