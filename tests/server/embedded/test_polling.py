"""Which threads wait for events: the reserve only while all others run jobs."""

import threading

from bench.server.embedded.net.polling import Polling

SECONDS = 60


class Reserve:
    """A thread of the reserve that would wait for events."""

    def __init__(self, polling: Polling) -> None:
        self.polls = threading.Event()
        self._polling = polling
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        self._polling.begin()
        self._polling.stand_by()
        self.polls.set()


def wait_until_standing_by(polling: Polling, count: int) -> None:
    while len(polling._reserve) < count:
        threading.Event().wait(0.001)


def test_the_reserve_waits_for_events_only_while_all_others_run_jobs() -> None:
    polling = Polling()
    for _ in range(2):
        polling.begin()
    first, second = Reserve(polling), Reserve(polling)
    wait_until_standing_by(polling, 2)
    with polling.job():
        assert len(polling._reserve) == 2
        with polling.job():
            assert len(polling._reserve) == 1
            # One of the reserve waits for events, and takes one: another follows it.
            while not (first.polls.is_set() or second.polls.is_set()):
                threading.Event().wait(0.001)
            with polling.job():
                assert first.polls.wait(SECONDS)
                assert second.polls.wait(SECONDS)
    assert polling._polling == 4


def test_a_thread_that_no_other_stands_in_for_does_not_stand_by() -> None:
    polling = Polling()
    polling.begin()
    polling.stand_by()
    with polling.job():
        pass
    polling.stand_by()
    assert polling._polling == 1


def test_a_job_that_fails_ends() -> None:
    polling = Polling()
    polling.begin()
    try:
        with polling.job():
            raise OSError
    except OSError:
        pass
    assert polling._polling == 1


def test_the_end_holds_no_thread() -> None:
    polling = Polling()
    polling.begin()
    reserve = [Reserve(polling) for _ in range(3)]
    wait_until_standing_by(polling, 3)
    polling.end()
    for each in (*reserve, Reserve(polling)):
        assert each.polls.wait(SECONDS)
