"""The runner process: `python -m bench.load.runner.main`; run specs on standard input, replies on standard output."""

from gevent import monkey


def main() -> None:
    """Does runs until the input ends."""
    # Before anything that waits is imported: the clients of the server's state and metrics wait on ordinary sockets.
    monkey.patch_all()
    from bench.load.runner.worker import RunnerWorker

    RunnerWorker().serve()


if __name__ == "__main__":
    main()
