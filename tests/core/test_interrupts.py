"""An interrupt that is lost is raised again; one that is handled is left alone."""

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


@pytest.mark.parametrize("body", ["pass", "os.kill(os.getpid(), signal.SIGINT)"])
def test_the_alarm_of_others_is_put_back(body: str) -> None:
    script = f"""
        import os, signal
        from bench.core import interrupts

        signal.signal(signal.SIGALRM, print)
        signal.alarm(100)
        try:
            with interrupts.watched():
                {body}
        except interrupts.Interrupted:
            pass
        assert signal.getsignal(signal.SIGALRM) is print
        assert 50 < signal.alarm(0) <= 100
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)
