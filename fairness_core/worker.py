"""One job: train the runs of one claim and write down what happens; in a process of its own or in the foreground."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairness_core import datasets, metrics, regression, scores
from fairness_core.config import Event, RunConfig, UserError
from fairness_core.records import Progress
from fairness_core.store import Store, keep_catalogue

if TYPE_CHECKING:
    from torch import nn

    Training = Generator[list[tuple[int, Event]], None, list[nn.Module]]
    Fit = Callable[..., Training]

PERIOD = 0.1  # seconds between two writes of events: quick enough to look live, rare enough to cost nothing
NICENESS = 10  # the pages' process goes first
PRELOAD = ("safetensors.torch", "fairness_core.experiment")
PRELOAD_FOR = "EQUIPOISE_PRELOAD"  # variable by which the runner tells its forkserver store and data folder, as JSON

Rows = list[tuple[str, Event]]
Newest = dict[str, dict[str, Event]]  # of each run the last event of every stage


class Reporter:
    """Writes a job's events from a thread of its own, the first at once and then ten times a second, and sees there
    which runs were cancelled or deleted meanwhile. `on_stop` is called once when no run of the job is wanted any more.
    """

    def __init__(self, store: Store, job: str, run_ids: Sequence[str], on_stop: Callable[[], None]) -> None:
        self.stopped = False
        self._store, self._job, self._unwanted = store, job, set[str]()
        self._run_ids, self._on_stop = list(run_ids), on_stop
        self._rows: Rows = []
        self._lock = threading.Lock()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._thread.start()

    def add(self, rows: Rows) -> None:
        with self._lock:
            self._rows += rows
        self._news.set()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        self._news.set()
        self._thread.join()
        self._flush()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._news.wait(PERIOD)
            self._news.clear()
            self._flush()
            self._drop_unwanted()
            self._closing.wait(PERIOD)

    def _flush(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        if rows:
            self._store.append(rows, job=self._job)

    def _drop_unwanted(self) -> None:
        wanted = self._store.wanted(self._job)
        for run_id in set(self._run_ids) - wanted - self._unwanted:
            self._unwanted.add(run_id)
            self._store.finish(run_id, "cancelled", job=self._job)
        if not wanted and not self.stopped:
            self.stopped = True
            self._on_stop()


def work(root: Path, job: str, configs: Sequence[RunConfig], data_dir: Path | None) -> None:
    """The target of the runner's child process. It ends itself when the runner dies or nobody wants its runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the runner's affair
    os.nice(NICENESS)
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    train(Store(root), job, configs, data_dir=data_dir, on_stop=lambda: os._exit(0))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def train(
    store: Store,
    job: str,
    configs: Sequence[RunConfig],
    *,
    data_dir: Path | None = None,
    fit: Fit | None = None,
    on_stop: Callable[[], None] = lambda: None,
    on_event: Callable[[], None] = lambda: None,
) -> None:
    """Train the claimed runs of `job`; afterwards each is done, failed with one sentence, or cancelled."""
    ids = [c.id for c in configs]
    store.mark_running(ids, os.getpid(), job=job)
    reporter = Reporter(store, job, ids, on_stop)
    began = time.time()
    try:
        newest: Newest = {}
        first = configs[0]  # the others differ in seed and λ
        data = _judged(first, datasets.load(first.dataset, first.dataset_options, data_dir, store.tables))
        store.describe(ids, _names(data), job=job)
        where = {
            "data_dir": data_dir,
            "tables": store.tables,
            "weights": store.weights_path,
            "encoders": store.encoders,
        }
        modules = _train(reporter, configs, newest, where, fit, on_event)
        reporter.close()
        if not reporter.stopped:
            _finish(store, job, configs, modules, newest, data_dir, time.time() - began)
    except Exception as error:
        if not isinstance(error, UserError):  # whose sentence says all
            traceback.print_exc()
        reporter.close()
        _fail(store, job, error)
    finally:
        reporter.close()


def _train(
    reporter: Reporter,
    configs: Sequence[RunConfig],
    newest: Newest,
    where: dict[str, Any],
    fit: Fit | None,
    on_event: Callable[[], None],
) -> list[nn.Module]:
    """Run the training to its end, or until nobody wants it; `newest` receives the last events."""
    ids = [c.id for c in configs]
    with contextlib.closing((fit or _fit())(configs, **where)) as training:
        while not reporter.stopped:
            try:
                batch = next(training)
            except StopIteration as end:
                modules: list[nn.Module] = end.value
                return modules
            rows = [(ids[i], event) for i, event in batch]
            for run_id, event in rows:
                newest.setdefault(run_id, {})[event.stage] = event
            reporter.add(rows)
            on_event()
    return []


def _fit() -> Fit:
    from fairness_core.experiment import fit

    return fit


def _finish(
    store: Store,
    job: str,
    configs: Sequence[RunConfig],
    modules: Sequence[nn.Module],
    newest: Newest,
    data_dir: Path | None,
    seconds: float,
) -> None:
    """Weights and answers, then what a page needs to know, then "done": a run that is done has everything."""
    wanted = store.wanted(job)
    for config, module in zip(configs, modules, strict=True):
        if config.id in wanted:
            _save(module, store.weights_path(config.id))
            info: dict[str, Any] = {"seconds": seconds / len(configs), "job_seconds": seconds, "job_runs": len(configs)}
            data = _judged(config, datasets.load(config.dataset, config.dataset_options, data_dir, store.tables))
            _keep_answers(store, config.id, newest[config.id], data)
            info |= {**_info(newest[config.id]["test"], data), "device": _device(config)}
            if not store.finish(config.id, "done", job=job, info=info) and store.run(config.id) is None:
                store.delete([config.id])  # it was deleted this very moment: its files go, too


def _judged(config: RunConfig, data: datasets.Dataset) -> datasets.Dataset:
    """The rows as the run's events count them; an experiment may tell groups apart instead of classes."""
    from fairness_core.methods import judged

    return judged(config.method, data)


def _keep_answers(store: Store, run_id: str, last: dict[str, Event], data: datasets.Dataset) -> None:
    """Write down what the model said about the rows of the validation and the test split, where the events carry it."""
    splits = {name: split for name, split in _splits(data) if name in scores.SPLITS and name in last}
    if data.task == "regression":
        numbers = {name: scores.numbers_of_event(last[name], split) for name, split in splits.items()}
        if kept := {name: own for name, own in numbers.items() if own is not None}:
            scores.save_numbers(store.numbers_path(run_id), kept)
        return
    found = {name: scores.of_event(last[name], split) for name, split in splits.items()}
    if answers := {name: own for name, own in found.items() if own is not None}:
        scores.save(store.scores_path(run_id), answers)


def _save(module: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    written = path.with_suffix(".part")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, written)
    written.replace(path)


def _info(last: Event, data: datasets.Dataset) -> dict[str, Any]:
    import torch

    names, counts = _names(data), last.confusion
    if counts is not None and counts.ndim == 4:
        counts = counts.sum(0)
    flags = [] if counts is None else metrics.flags(counts, names["groups"], names["classes"])
    if data.task == "regression" and last.scores is not None:
        flags = regression.flags(regression.of_split(last.scores, data, "test"), names["groups"])
    diverged = last.values.get("diverged_at_step")
    if diverged is not None:
        flags = [f"diverged:{diverged:.0f}", *flags]
    return {**names, "flags": flags, "torch": torch.__version__}


def _device(config: RunConfig) -> str:
    from fairness_core import devices, experiment

    return devices.title(experiment.place(config.method))


def _names(data: datasets.Dataset) -> dict[str, Any]:
    """What the data set says by itself: task, names of groups, classes and targets, sizes of splits."""
    sizes = {f"n_{name}": len(split.y) for name, split in _splits(data)}
    names = {"groups": list(data.groups), "classes": list(data.classes), "targets": list(data.targets)}
    number = {"edges": list(data.edges), "unit": data.unit, "tolerance": data.tolerance}
    return {"task": data.task, **names, **sizes, **(number if data.task == "regression" else {})}


def _splits(data: datasets.Dataset) -> Iterator[tuple[str, datasets.Split]]:
    yield from (("train", data.train), ("validation", data.validation), ("test", data.test))


def _fail(store: Store, job: str, error: Exception) -> None:
    if isinstance(error, UserError):
        sentence = str(error)
    else:
        first_line = (str(error).splitlines() or [""])[0]
        sentence = f"{type(error).__name__}: {first_line}"
    for run_id in store.wanted(job):
        store.finish(run_id, "failed", job=job, error=sentence)
    store.abandon(job, "")  # what is left was cancelled


def run_inline(
    configs: Sequence[RunConfig],
    store: Store,
    *,
    vary: Sequence[str] = (),
    data_dir: Path | None = None,
    on_event: Callable[[Progress], None] = lambda progress: None,
    fit: Fit | None = None,
) -> list[str]:
    """Train `configs`, and the runs they start from, in this process by the same way a runner takes; returns the ids of
    `configs` when none is unfinished.

    Runs that are done are not repeated; those that another process trains already are waited for. On Ctrl-C they are
    all cancelled and KeyboardInterrupt goes on.
    """
    ids = store.submit(configs, vary=vary)
    ids = [*dict.fromkeys(c.start.id for c in configs if c.start), *ids]
    shown = 0.0

    def show() -> None:
        nonlocal shown
        if time.time() - shown >= 0.2:
            shown = time.time()
            on_event(store.progress(ids))

    job: str | None = None
    try:
        while True:
            claimed = store.claim(os.getpid(), among=ids)
            if claimed:
                job = claimed[0].job
                assert job is not None
                train(store, job, [run.config for run in claimed], data_dir=data_dir, fit=fit, on_event=show)
                continue
            store.reap()
            counts = store.progress(ids).counts
            if not counts["queued"] + counts["starting"] + counts["running"]:
                return [c.id for c in configs]
            show()
            time.sleep(PERIOD)
    except KeyboardInterrupt:
        store.cancel(ids)
        if job is not None:
            store.abandon(job, "The command ended")
        raise


def preload(root: Path, data_dir: Path | None) -> None:
    """Load in the forkserver what every job needs, so that a job starts in hundredths of a second, and tell the pages
    of store `root` what exists as soon as that is known.

    No gradient is computed here: autograd's threads do not survive a fork. A method file that cannot be imported must
    not take the forkserver with it; the job that needs it will say what is wrong.
    """
    try:
        catalogue = importlib.import_module("fairness_core.catalogue").build(data_dir)
        with contextlib.closing(Store(root)) as store:
            store.publish_catalogue(catalogue)
            tables = store.tables
        keep_catalogue(catalogue)
        for name in PRELOAD:
            importlib.import_module(name)
        importlib.import_module("fairness_core.kernels").prepare()
        datasets.preload(data_dir, tables)
    except Exception:
        traceback.print_exc()
