"""What the commands of the command line do; __main__.py reads the arguments and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fairness_core import audit, datasets, metrics, regression, runner, sweep
from fairness_core import regression_sweep as numbers
from fairness_core.command_results import print_front, print_json, print_result, result, sweep_result
from fairness_core.config import Option, Options, RunConfig, UserError, resolve
from fairness_core.datasets import own
from fairness_core.preparation import INAPPLICABLE
from fairness_core.records import Progress
from fairness_core.store import Store

BAD, CANCELLED = 2, 130
MOST_RUNS = 10_000
SECTIONS = ("method", "model", "training", "dataset")
BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def data_dir(args: argparse.Namespace) -> Path | None:
    """Where data sets that are not bundled lie: --data-dir, else FAIRNESS_DATA_DIR, else nowhere."""
    given = args.data_dir or os.environ.get("FAIRNESS_DATA_DIR")
    return Path(given).expanduser().absolute() if given else None


def catalogue(store: Store | None, folder: Path | None) -> dict[str, Any]:
    """What exists: as the runner published it, else built here (which loads torch) and kept for the next time."""
    known = store.catalogue() if store and folder is None else None
    if known is None:
        from fairness_core.catalogue import build

        known = build(folder)
        if store and folder is None:
            store.publish_catalogue(known)
    return datasets.present(known, folder, store.tables if store else None)


# -- list


def list_all(args: argparse.Namespace) -> int:
    """Methods, data sets, models, metrics and their controls."""
    store = Store(args.store) if (Path(args.store) / "store.db").exists() else None
    found = {**catalogue(store, data_dir(args)), "metrics": {n: m.to_json() for n, m in metrics.METRICS.items()}}
    found["regression_metrics"] = {name: asdict(measure) for name, measure in regression.MEASURES.items()}
    if args.json:
        print_json(found)
        return 0
    for section in ("datasets", "models", "methods", "metrics"):
        print(f"{section}:")
        for name, entry in found[section].items():
            settings = ", ".join(c["name"] for c in entry.get("controls", []))
            print(f"  {name:<34} {entry['title']}" + (f" [{settings}]" if settings else ""))
    print("training: " + ", ".join(c["name"] for c in found["training"]["controls"]))
    return 0


# -- train and sweep


def train(args: argparse.Namespace) -> int:
    """One run, from the store if it is there."""
    store = Store(args.store)
    folder = data_dir(args)
    take_in(args, store, folder)
    if args.run is not None:
        known = store.run(args.run)
        if known is None:
            raise UserError(f"There is no run {args.run!r} in {store.root}; the page Runs lists those there are.")
        config = known.config
    else:
        config = configuration(args, catalogue(store, folder), args.seed)
    status = run_all(store, [config], (), folder)
    if status == 0:
        run = store.run(config.id)
        assert run is not None
        report = result(store, run)
        print_json(report) if args.json else print_result(report)
    return status


def sweep_over(args: argparse.Namespace) -> int:
    """The runs of a sweep, trained together, and their frontier."""
    numeric = check_axes(args.performance, args.fairness)  # a wrong name is told before the training
    store = Store(args.store)
    folder = data_dir(args)
    take_in(args, store, folder)
    known = catalogue(store, folder)
    base = configuration(args, known, 0)
    over, values = swept(args.over, known["methods"][base.method])
    seeds = seed_list(args.seeds, len(values) or 1)
    points = [configuration(args, known, 0, {over: value}) for value in values] if over else [base]
    configs = [replace(point, seed=seed) for point in points for seed in seeds]
    # Only the trade-off may differ inside a stack; any other control makes each value a job of its own.
    vary = [over] if over and over == known["methods"][base.method]["tradeoff"] else []
    spec = {"over": over, "values": values, "seeds": seeds, "base": base.to_json()}
    if numeric is not None:
        check_task(base, folder, store, numeric)
    sweep_id = store.submit_sweep(spec, configs, vary)
    status = run_all(store, configs, vary, folder)
    if status == 0:
        report = sweep_result(store, sweep_id, args.performance, args.fairness)
        print_json(report) if args.json else print_front(report)
    return status


def check_axes(performance: str | None, fairness: str | None) -> bool | None:
    """Are these the measures of a number (True), of classes (False), or is nothing named (None)? UserError where one is
    unknown or the two do not go together."""
    if performance in numbers.ERRORS or fairness in numbers.GAPS:
        numbers.known_error(performance or numbers.ERRORS[0])
        numbers.known_gap(fairness or numbers.GAPS[0])
        return True
    named = [name for name in (performance, fairness) if name is not None]
    for name in named:
        metrics.metric(name)
    return False if named else None


def check_task(base: RunConfig, folder: Path | None, store: Store, numeric: bool) -> None:
    """UserError when the measures that were asked for are not those of this target."""
    task = datasets.load(base.dataset, base.dataset_options, folder, store.tables).task
    if (task == "regression") != numeric:
        names = (numbers.ERRORS + numbers.GAPS) if task == "regression" else metrics.METRICS
        raise UserError(f"The target of {base.dataset} is a {task} one; its measures are {', '.join(names)}.")


def take_in(args: argparse.Namespace, store: Store, folder: Path | None) -> None:
    """Have the rows here before anything is asked of them: a published data set is downloaded if it can be, and the
    user's table (--table) is added to the store and becomes the data set."""
    if args.table is None:
        if args.dataset in datasets.SOURCES and datasets.SOURCES[args.dataset].missing(folder):
            datasets.fetch(args.dataset, folder, show_download)
        return
    if not args.target or not args.sensitive:
        raise UserError("--table needs --target and --sensitive; name the columns that hold the outcome and the group.")
    path = Path(args.table).expanduser()
    table = own.add(store.tables, path, path.name)
    columns = [name for name in audit.names([args.sensitive]) if name]
    own.choose(store.tables, table.name, target=args.target, positive=args.positive, sensitive=columns)
    args.dataset, args.target, args.sensitive = table.name, None, None  # they are now the table's own choices


def configuration(
    args: argparse.Namespace, known: Mapping[str, Any], seed: int | str, more: Options | None = None
) -> RunConfig:
    """The run that the arguments describe; `more` are further method options."""
    given = settings(args, known)
    return resolve(
        known,
        dataset=args.dataset,
        method=args.method,
        model=args.model,
        seed=seed,
        dataset_options=given["dataset"],
        model_options=given["model"],
        method_options={**given["method"], **(more or {})},
        training=given["training"],
    )


def settings(args: argparse.Namespace, known: Mapping[str, Any]) -> dict[str, dict[str, Option]]:
    """--set and the options with names of their own, by what they belong to (method, model, training, dataset)."""
    given: dict[str, dict[str, Option]] = {section: {} for section in SECTIONS}
    named = {"training": ("epochs", "batch_size", "lr"), "dataset": ("sensitive", "target")}
    for section, names in named.items():
        given[section] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text!r} has no value; write NAME=VALUE, such as lam=1.")
        section, dot, rest = name.partition(".")
        if not dot or section not in SECTIONS:
            section, rest = section_of(name, args, known), name
        given[section][rest] = value
    return given


def section_of(name: str, args: argparse.Namespace, known: Mapping[str, Any]) -> str:
    """Whose setting a plain name is: the method's if it has it, else the model's, the training's or the data set's."""
    usual = known["datasets"].get(args.dataset, {}).get("model")
    chosen = {"method": args.method, "model": args.model or usual, "dataset": args.dataset}
    for section in SECTIONS:
        entries = known["training"] if section == "training" else known[section + "s"].get(chosen[section], {})
        if any(c["name"] == name for c in entries.get("controls", [])):
            return section
    return "method"


def swept(text: str | None, method: Mapping[str, Any]) -> tuple[str | None, list[float]]:
    """The control and the values of --over NAME=VALUES; without it the method's trade-off and its own grid."""
    if text is None:
        return method["tradeoff"], list(method["grid"])
    name, equals, values = text.partition("=")
    if not equals:
        raise UserError(f"--over {text!r} has no values; write NAME=LOW:HIGH:COUNT, such as lam=0:4:21.")
    return name, sweep.grid(values)


def seed_list(text: str, n_values: int) -> list[int]:
    """0..N-1 from --seeds N."""
    most = MOST_RUNS // n_values
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise UserError(f"--seeds {text} is not possible; give a whole number from 1 to {most}.")
    return list(range(int(text)))


def run_all(store: Store, configs: Sequence[RunConfig], vary: Sequence[str], folder: Path | None) -> int:
    """Train what the store does not have; the exit status, after one sentence on stderr if it is not 0."""
    from fairness_core.worker import run_inline

    try:
        ids = run_inline(configs, store, vary=vary, data_dir=folder, on_event=show_progress)
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
    ended = store.runs(ids)
    failed = ended[ended["status"] == "failed"]
    if len(failed):
        error = str(failed.iloc[0]["error"])
        print(error, file=sys.stderr)
        return BAD if error.startswith(INAPPLICABLE) else 1
    if (ended["status"] != "done").any() or len(ended) < len(set(ids)):
        print("Cancelled.", file=sys.stderr)
        return CANCELLED
    return 0


def show_progress(progress: Progress) -> None:
    """One line on stderr that replaces itself: how far, and how long still."""
    share = 100 * progress.done_steps / max(progress.all_steps, 1)
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
    n = sum(progress.counts.values())
    what = f"training {n} models" if n > 1 else "training"
    start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{what}: {share:.0f} %{left}", end=end, file=sys.stderr, flush=True)


def show_download(what: str, done: int, of: int) -> None:
    """One line on stderr per tenth of a download."""
    if not of or done >= of or done * 10 // of != max(0, done - (1 << 16)) * 10 // of:
        share = f" of {of / 1e6:.1f}" if of else ""
        print(f"downloading {what}: {done / 1e6:.1f}{share} MB", file=sys.stderr, flush=True)


# -- the other commands


def fetch(args: argparse.Namespace) -> int:
    """Download a published data set into the cache, if it is not here."""
    datasets.fetch(args.dataset, data_dir(args), show_download)
    print(f"{args.dataset} is here.")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Audit predictions in a CSV file."""
    report = audit.audit(
        Path(args.file), args.target, args.prediction, audit.names(args.sensitive), args.score, args.positive
    )
    print_json(report) if args.json else print_result(report)
    return 0


def reproduce(args: argparse.Namespace) -> int:
    """A table of a paper, run with our code beside the printed figures."""
    from fairness_core.reproduce import run

    report = run(args.table, args.quick, data_dir(args), args.only)
    if args.json:
        print_json(report)
    else:
        for row in report["rows"]:
            print(", ".join(f"{name}: {value}" for name, value in row.items()))
    return 0


def bench(args: argparse.Namespace) -> int:
    """A script of benchmarks/: ratios from one run."""
    names = sorted(p.stem for p in BENCHMARKS.glob("*.py") if not p.stem.startswith("_"))
    if args.name not in names:
        raise UserError(f"There is no benchmark {args.name!r}; choose one of {', '.join(names) or 'none'}.")
    spec = importlib.util.spec_from_file_location(f"benchmarks.{args.name}", BENCHMARKS / f"{args.name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = module.run(args.quick)
    if args.json:
        print_json(report)
    else:
        for name, value in report.items():
            print(f"{name}: {value}")
    return 0


def run_runner(args: argparse.Namespace) -> int:
    """Serve a store until nobody needs it."""
    runner.serve(args.store, data_dir(args), slots=args.slots, idle=args.idle, lock_fd=args.lock_fd)
    return 0
