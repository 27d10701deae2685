import pytest

from bench.errors import UsageError
from bench.load.told import VARIABLE, Told, told
from bench.server.running import RunningServer


def test_nobody_told(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert told() is None


@pytest.mark.parametrize("server", [None, RunningServer("http://h:1", "h:2", "bert", "embedded", 5)])
def test_what_is_told_arrives(monkeypatch, server):
    said = Told("embedded", server, ("--a",), "group", 3, ("bertbench", "run"))
    monkeypatch.setenv(VARIABLE, said.environment()[VARIABLE])
    assert told() == said


@pytest.mark.parametrize("text", ["x", "{}", "[]"])
def test_something_else(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match="unset"):
        told()
