"""The progress of a sweep."""


class SweepListener:
    """Receives the progress of a sweep; this class ignores it."""

    def expect(self, seconds: float) -> None:
        """The sweep takes so many seconds more than announced before."""

    def step(self, title: str) -> None:
        """A step begins."""

    def line(self, text: str) -> None:
        """A line about a completed step."""
