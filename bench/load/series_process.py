"""Starts the process of a series: `python -m bench.load.series_process`, steps on standard input, replies on output."""

from gevent import monkey


def main() -> None:
    """Serves steps until the input ends."""
    # Before anything that waits is imported: the clients of the server's state and metrics wait on ordinary sockets.
    monkey.patch_all()
    from bench.load.series_worker import SeriesWorker

    SeriesWorker().serve()


if __name__ == "__main__":
    main()
