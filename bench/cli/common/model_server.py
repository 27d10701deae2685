"""The model and the server that the options of a command name."""

import argparse
import contextlib
from collections.abc import Iterator

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.options import target_of
from bench.server.lifecycle import RunningServer, check_model, open_target


def exported_model(args: argparse.Namespace) -> ExportedModel:
    """The model of `--model-dir`, or the demo model.

    Raises:
        UsageError: it cannot be read.
    """
    return ExportedModel.open(args.model_dir or demo_model_dir())


@contextlib.contextmanager
def running_server(args: argparse.Namespace, model: ExportedModel) -> Iterator[RunningServer]:
    """The server of `--target`, started here if it is managed.

    Raises:
        UsageError: the options contradict each other.
        TargetError: it does not come up or does not answer.
    """
    target = target_of(args)
    check_model(target, model.model_dir, args.server_flag)
    with open_target(target, model.model_dir, args.model_name, args.server_flag) as server:
        yield server
