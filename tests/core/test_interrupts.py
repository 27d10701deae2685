"""An interrupt that is lost is raised again; one that is handled is left alone."""

import signal
import subprocess
import sys
import textwrap

import pytest

INTERRUPTED = 130

LOST = {
    "dropped as C code does it": """
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
        while True:
            time.sleep(0.01)
    """,
    "dropped twice": """
        for _ in range(2):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                while True:
                    time.sleep(0.01)
            except BaseException:
                pass
        while True:
            time.sleep(0.01)
    """,
    "made another error, which is handled": """
        try:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException as error:
                raise RuntimeError("translated") from error
        except RuntimeError:
            pass
        while True:
            time.sleep(0.01)
    """,
    "in a destructor": """
        class Dropping:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)

        Dropping()
        while True:
            time.sleep(0.01)
    """,
    "dropped right before the end": """
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
    """,
    "dropped while signals are held": """
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
        with interrupts.held():
            time.sleep(0.4)
            print("held")
        while True:
            time.sleep(0.01)
    """,
    "handled slowly": """
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        finally:
            try:
                open("/nowhere/at/all")
            except OSError:
                time.sleep(0.3)
            for _ in range(40):
                time.sleep(0.01)
            print("cleaned")
    """,
}


def run(body: str) -> "subprocess.CompletedProcess[str]":
    script = textwrap.dedent("""
        import os, signal, sys, time
        from bench.core import interrupts

        def command():
            {body}

        code = 0
        with interrupts.watched():
            try:
                command()
                interrupts.over()
            except interrupts.Interrupted as error:
                interrupts.accept()
                time.sleep(0.3)
                code = interrupts.exit_code(error.number)
        sys.exit(code)
    """).replace("{body}", textwrap.indent(textwrap.dedent(body), "    ").strip())
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("body", LOST.values(), ids=LOST)
def test_every_interrupt_ends_the_command(body: str) -> None:
    done = run(body)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")
    assert ("cleaned" in done.stdout) == ("cleaned" in body)
    assert ("held" in done.stdout) == ("interrupts.held" in body)


def test_no_signal_no_interrupt() -> None:
    assert run("signal.raise_signal(signal.SIGALRM); print('done')").returncode == 0


def test_the_alarm_of_others_is_put_back() -> None:
    assert run("assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL").returncode == 0
    script = """
        import signal
        from bench.core import interrupts

        with interrupts.watched():
            pass
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=120).returncode == 0
