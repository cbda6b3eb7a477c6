"""The command line: python -m fairness_core COMMAND; see --help.

Exit status: 0 done, 1 a run failed, 2 bad arguments or data (one sentence on stderr), 130 cancelled.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from fairness_core import commands
from fairness_core.config import DEVICE_VARIABLE, DEVICES, UserError
from fairness_core.runner import IDLE, SLOTS


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; {self.prog} --help lists what there is.")


def whole(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m fairness_core", description="Accuracy-fairness trade-offs.", allow_abbrev=False)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, act: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=act.__doc__, description=act.__doc__, allow_abbrev=False)
        made.set_defaults(act=act)
        made.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
        made.add_argument("--data-dir", metavar="DIR", help="where data sets that are not bundled lie")
        made.add_argument("--store", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
        return made

    command("list", commands.list_all)
    _training_options(command("train", commands.train), one=True)
    _training_options(command("sweep", commands.sweep_over), one=False)

    audit = command("evaluate", commands.evaluate)
    audit.add_argument("file", metavar="FILE.csv")
    audit.add_argument("--target", required=True, metavar="COLUMN", help="the true class")
    audit.add_argument("--prediction", required=True, metavar="COLUMN", help="the decision")
    audit.add_argument("--score", metavar="COLUMN", help="a number that is higher for the positive class")
    audit.add_argument("--sensitive", required=True, action="append", metavar="COLUMN[,COLUMN...]")
    audit.add_argument("--positive", metavar="VALUE", help="the favourable class (default: the last in order)")

    get = command("fetch", commands.fetch)
    get.add_argument("dataset", metavar="NAME")

    table = command("reproduce", commands.reproduce)
    table.add_argument("table", metavar="TABLE")
    table.add_argument("--quick", action="store_true", help="fewer seeds")
    table.add_argument(
        "--only", default="", metavar="TEXT", help="only the line of this name, or the lines whose names contain it"
    )
    _device_option(table)

    serve = command("runner", commands.run_runner)
    serve.add_argument("--slots", type=whole, default=SLOTS, help=f"jobs at a time (default: {SLOTS})")
    serve.add_argument("--idle", type=float, default=IDLE, help="seconds without page and job until it ends; 0: never")
    serve.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)

    bench = command("bench", commands.bench)
    bench.add_argument("name", metavar="NAME")
    bench.add_argument("--quick", action="store_true", help="smaller, for a first look")
    _device_option(bench)
    return top


def _device_option(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--device",
        choices=DEVICES,
        help=f"where to train; auto: on a GPU if there is one (default: what {DEVICE_VARIABLE} says, else cpu)",
    )


def _training_options(made: argparse.ArgumentParser, *, one: bool) -> None:
    """Which run, or which runs."""
    made.add_argument("--dataset", default="adult", metavar="NAME")
    made.add_argument("--table", metavar="FILE", help="your own table (CSV, TSV, Parquet) instead of a named data set")
    made.add_argument("--positive", metavar="VALUE", help="the favourable class of your own table")
    made.add_argument("--method", default="erm", metavar="NAME")
    made.add_argument("--model", metavar="NAME", help="default: mlp for tables, small_cnn for pictures")
    made.add_argument("--sensitive", metavar="ATTRIBUTE", help="whose results are compared")
    made.add_argument("--target", metavar="COLUMN", help="what is predicted, where the data set leaves the choice")
    made.add_argument("--epochs", metavar="N")
    made.add_argument("--batch-size", metavar="N")
    made.add_argument("--lr", metavar="RATE")
    _device_option(made)
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of method, model, training or data set; method.NAME and so on where the name is not enough",
    )
    if one:
        made.add_argument("--seed", default="0", metavar="N")
        made.add_argument("--run", metavar="ID", help="a run of the store, instead of all other choices")
    else:
        made.add_argument("--over", metavar="NAME=LOW:HIGH:COUNT", help="also NAME=V1,V2,...; default: the trade-off")
        made.add_argument("--seeds", default="1", metavar="N", help="seeds 0 to N-1 for every value (default: 1)")
        made.add_argument(
            "--performance", metavar="METRIC", help="of the frontier; default: accuracy, of a number its mean error"
        )
        made.add_argument(
            "--fairness",
            metavar="METRIC",
            help="of the frontier; default: demographic_parity_difference, of a number odds_regression",
        )


def choose_device(name: str | None) -> None:
    """From now on this process trains there (None: where the environment says); UserError if that is impossible."""
    if name:
        os.environ[DEVICE_VARIABLE] = name
    if os.environ.get(DEVICE_VARIABLE):
        from fairness_core import devices  # loads torch

        devices.here()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    try:
        args = parser().parse_args(arguments)
        if "device" in args:
            choose_device(args.device)
        status: int = args.act(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return commands.BAD
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        return commands.CANCELLED
    return status


if __name__ == "__main__":
    sys.exit(main())
