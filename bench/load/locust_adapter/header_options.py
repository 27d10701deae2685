"""Options with headers, whose values may be secrets: they are kept apart from the options' own values."""

import argparse
from collections.abc import Iterable
from typing import Any, Final

from bench.core.errors import UsageError
from bench.core.redaction import split_headers
from bench.serving.headers import check_header

GIVEN_HEADERS: Final = "given_headers"
"""In Locust's parsed options, the headers that were given as options: the web page shows the options' own values."""


class KeepHeader(argparse._AppendAction):
    """Keeps headers apart from the option's own value, which Locust's web page and messages hold."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        _keep_headers(self, namespace, (values,))


class KeepHeaderList(argparse.Action):
    """The same for a list: the form has a field for headers of a test, which is empty whatever was given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        _keep_headers(self, namespace, split_headers(values))


def _keep_headers(action: argparse.Action, namespace: Any, texts: Iterable[str]) -> None:
    try:
        given = (*getattr(namespace, GIVEN_HEADERS, ()), *map(check_header, texts))
    except UsageError as error:
        raise argparse.ArgumentError(action, str(error)) from error
    setattr(namespace, GIVEN_HEADERS, given)
