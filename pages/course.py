"""How one run went: its curves, its groups and the sentence about its result, drawn live or afterwards."""

from __future__ import annotations

import datetime
import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import figures, metrics, outcomes, regression_results
from fairness_core.config import RunConfig, UserError, resolve
from fairness_core.store import ACTIVE, Run
from pages import curves, errors_by_bin, explorer, gaps


def untreated(catalogue: dict[str, Any], config: RunConfig) -> RunConfig:
    """The run with the same data, network, training and seed but no debiaser and no balancing of groups."""
    return resolve(
        catalogue,
        dataset=config.dataset,
        method="erm",
        model=config.model,
        seed=config.seed,
        dataset_options=config.dataset_options,
        model_options=config.model_options,
        training={**config.training, "prepare": "none"},
    )


def outdated(catalogue: dict[str, Any], config: RunConfig) -> str | None:
    """Why a stored run's settings mean nothing to the present code, or None if they do."""
    try:
        resolve(catalogue, **{k: v for k, v in config.to_json().items() if k not in ("data_hash", "format", "base")})
    except UserError as error:
        return str(error)
    return None


def listed(catalogue: Mapping[str, Any], row: Mapping[Any, Any], setting: str, about: str = "") -> str:
    """A run as a picker lists it, from its row in Store.runs: method and setting, data (and what `about` adds), seed,
    when it was asked for (an age would change meanwhile), the beginning of its id."""
    method = pages.title(catalogue["methods"].get(row["method"], {"name": row["method"]}))
    data = pages.title(catalogue["datasets"].get(row["dataset"], {"name": row["dataset"]}))
    made = datetime.datetime.fromtimestamp(row["created"]).strftime("%d %b %H:%M")
    return f"{method}{setting} · {data}{about} · seed {row['seed']} · {made} · {row['id'][:6]}"


def offer_comparison(untreated: RunConfig, config: RunConfig, key: str) -> None:
    """A button that trains the untreated twin of `config`, or a word that it is being trained; nothing where there is
    one or the run is one itself."""
    if config.id == untreated.id:
        return
    stored = pages.store().run(untreated.id)
    if stored is not None and stored.status in ACTIVE:
        st.caption(f"The untreated model is {'next' if stored.status == 'queued' else 'training'} …")
        return
    known = stored is not None and stored.status == "done"
    if not known and st.button("Compare with the untreated model", key=key, icon=":material/compare_arrows:"):
        pages.store().submit([untreated])
        pages.wake_runner()
        st.rerun()


def waiting(run: Run, now: float) -> str:
    """What an unfinished run is doing, how far it is and how long it will take; and whether nobody trains it."""
    return _stage(run, now) + pages.tend_runner()


def stop_or_again(run: Run, prefix: str = "") -> bool:
    """One place for two buttons that take turns: stop a run that trains, or True if an ended one shall train again.
    prefix: of their keys."""
    if run.status == "done":
        return False
    with pages.turns(f"{prefix}act"):
        if run.status in ACTIVE and st.button("Stop", key=f"{prefix}stop", icon=":material/stop:"):
            pages.store().cancel([run.id])
        return run.status not in ACTIVE and st.button("Train again", key=f"{prefix}again", icon=":material/replay:")


def _stage(run: Run, now: float) -> str:
    if run.status == "queued":
        ahead = run.position - 1
        return "Next in the queue" if ahead <= 0 else f"Waiting: {ahead} job{'s' if ahead > 1 else ''} ahead"
    if run.status == "starting" or not run.step or not run.started:
        return "Starting"
    left = (now - run.started) * (run.of - run.step) / run.step
    return f"Step {run.step:,} of {run.of:,}, about {pages.duration(left)} left"


# -------------------------------------------------------------------------------------------------------------- screen


def draw(catalogue: dict[str, Any], run: Run, measure: str) -> None:
    """The sentence, the curves, the groups and the confusion matrices, as far as they are known."""
    live = curves.live_events(run)
    final = pages.store().confusions([run.id], "test").get(run.id)
    known = live["confusion"].dropna()
    newest = final if final is not None else (known.iloc[-1] if len(known) else None)
    if live.empty and run.status in ("failed", "cancelled"):
        return
    if regression_results.is_regression(run):
        _draw_numbers(catalogue, run, live)
        return
    before = _before(catalogue, run) if final is not None else None
    blocks = [curves.block(catalogue, run, measure), *curves.gauge_words(catalogue, run)]
    if newest is None:
        blocks.append(
            explorer.text("wait", ["Accuracy per group appears here with the first numbers."], area="right", muted=True)
        )
    else:
        groups = group_names(run, len(newest))
        if final is not None:
            blocks.insert(0, explorer.text("sentence", [sentence(catalogue, run, before, final, groups, measure)]))
        blocks += _groups(catalogue, run, newest, before, groups, "test split" if final is not None else curves.LIVE)
    explorer.explorer(blocks, key="curves", revision=run.id)
    if targets := run.info.get("targets"):
        st.caption(f":material/info: {len(targets)} targets added up: {', '.join(targets)}.".replace("_", " "))
    if final is not None:
        for flag in metrics.flags(final, groups, run.info.get("classes")):
            st.caption(f":material/warning: {metrics.explain(flag)}")


def _draw_numbers(catalogue: dict[str, Any], run: Run, live: pd.DataFrame) -> None:
    """The same of a regression: errors by bin of the true value instead of confusion matrices."""
    known = errors_by_bin.errors(run)
    learning = [curves.block(catalogue, run, ""), *curves.gauge_words(catalogue, run)]
    if known is None:
        explorer.explorer(learning + _live_errors(run, live), key="curves", revision=run.id)
        if run.status == "done":
            errors_by_bin.absent(run)
        return
    twin = pages.store().run(untreated(catalogue, run.config).id) if run.config.method != "erm" else None
    before = errors_by_bin.errors(twin) if twin else None
    over = catalogue["methods"][run.config.method]["tradeoff"]
    at = pages.setting(catalogue, run.config.method, float(run.config.method_options[over])) if over else ""
    said = errors_by_bin.sentence(known, run, before, at and f"At {at}")
    blocks = [explorer.text("sentence", [said]), *learning, *errors_by_bin.blocks(known, before)]
    explorer.explorer(blocks, key="curves", revision=run.id)
    errors_by_bin.section(known, run)


def _live_errors(run: Run, live: pd.DataFrame) -> list[explorer.Block]:
    """Errors by bin as they are now, on the validation sample; a word while nothing is known yet."""
    newest = live["errors"].dropna()
    if len(newest):
        return errors_by_bin.live_blocks(newest.iloc[-1], run, group_names(run, len(newest.iloc[-1])), curves.LIVE)
    if run.status in ACTIVE:
        return [explorer.text("wait", [errors_by_bin.WAIT], area="right", muted=True)]
    return []


FAVOURABLE = -1  # the last class


def sentence(
    catalogue: dict[str, Any], run: Run, before: np.ndarray | None, after: np.ndarray, groups: list[str], measure: str
) -> str:
    """The result in words: against the untreated model where that is known, else by itself."""
    if before is None:
        return own_sentence(after, run, measure)
    method, seed = run.config.method, run.config.seed
    over = catalogue["methods"][method]["tradeoff"]
    lam = float(run.config.method_options[over]) if over else None
    symbol = pages.tradeoff_symbol(catalogue, method)
    return outcomes.sentence({seed: before}, {seed: after}, lam=lam, groups=groups, fairness=measure, symbol=symbol)


def own_sentence(C: np.ndarray, run: Run, measure: str) -> str:
    """Gap and accuracy of one model with their intervals, n and split, and nothing to compare them with."""
    values, ranges = metrics.evaluate(C, [measure, curves.EVERY]), metrics.bootstrap(C, [measure, curves.EVERY])
    name = outcomes.GAP_NAMES.get(measure, f"the {gaps.title(measure)}")
    low, high = ranges[measure]
    gap = f"is {100 * values[measure]:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    if np.isnan(values[measure]):
        gap = "is not defined on these rows"
    return (
        f"{name[0].upper()}{name[1:]} {gap}, accuracy {pages.percent(values[curves.EVERY])} "
        f"({pages.interval(*ranges[curves.EVERY])}); test split, n = {C.sum():,}, seed {run.config.seed}, 95% "
        "intervals from resampling the rows."
    )


def _before(catalogue: dict[str, Any], run: Run) -> np.ndarray | None:
    """The untreated model's test tensor, if it is trained and this run is not that model itself."""
    if run.config.method == "erm":
        return None
    twin = untreated(catalogue, run.config).id
    return pages.store().confusions([twin], "test").get(twin)


def group_names(run: Run, n: int) -> list[str]:
    """The groups' names: the run's own once it is done, else those of a finished run on the same groups."""
    if groups := run.info.get("groups"):
        return list(groups)
    table = pages.store().runs(limit=500)
    sensitive = run.config.dataset_options.get("sensitive")
    alike = table[
        (table["dataset"] == run.config.dataset) & (table["sensitive"] == sensitive) & (table["status"] == "done")
    ]
    known = pages.store().info(alike["id"].head(1)).values()
    return next((list(info["groups"]) for info in known), [f"group {i}" for i in range(n)])


@dataclass(frozen=True)
class Names:
    """What the numbers of an exhibit stand for; classes are bins of the true value where the target is a number."""

    classes: tuple[str, ...]
    groups: tuple[str, ...]
    attribute: str


def names_of(catalogue: Mapping[str, Any], run: Run) -> Names:
    groups = tuple(run.info.get("groups") or group_names(run, 2))
    classes = tuple(run.info.get("classes") or catalogue["datasets"][run.config.dataset]["classes"])
    attribute = str(run.config.dataset_options.get("sensitive") or "group").replace("_", " ")
    return Names(classes, groups, "group" if attribute in groups else attribute)


def twins(run: Run, tables: Mapping[str, pd.DataFrame | None]) -> None:
    """A download of every table, by its label, that has rows."""
    for label, table in tables.items():
        if table is not None and len(table):
            pages.table_twin(table, label=label, name=f"{label.lower().replace(', ', '-')}-{run.id}")


def _groups(
    catalogue: dict[str, Any], run: Run, C: np.ndarray, before: np.ndarray | None, groups: list[str], where: str
) -> list[explorer.Block]:
    """Favourable decisions, accuracy and confusion matrix of every group."""
    colour = pages.method_colour(catalogue, run.config.method)
    rates, old = (None if tensor is None else metrics.group_rates(tensor, FAVOURABLE) for tensor in (C, before))
    assert rates is not None
    low, high = metrics.wilson(rates["accuracy"] * rates["n"], rates["n"])
    then = np.full(len(groups), np.nan) if old is None else old["accuracy"]
    bars = pd.DataFrame({"group": groups, "value": rates["accuracy"], "low": low, "high": high, "before": then})
    people = [
        {
            "group": g,
            "before": None if old is None else 1000 * old["selection_rate"][i],
            "now": 1000 * rates["selection_rate"][i],
        }
        for i, g in enumerate(groups)
    ]
    classes = run.info.get("classes") or catalogue["datasets"][run.config.dataset]["classes"]
    height = 44 + 40 * len(groups)
    favourable = pages.favourable(catalogue, run.config)
    favourable = favourable[:1].upper() + favourable[1:]
    accuracy = explorer.chart(
        "groups",
        figures.group_accuracy(bars, colour=colour),
        alt="Accuracy of each group with its interval",
        height=height,
        area="right",
        heading=f"Accuracy per group ({where})",
    )
    heading = "Confusion matrices, % of the true class"
    decided = f"{favourable}, per 1,000 ({where})"
    return [
        explorer.people("people", [people], heading=decided, colour=colour, area="right"),
        accuracy,
        explorer.matrices("matrices", [_matrices(C, before, groups)], heading=heading, classes=classes, area="right"),
    ]


def _matrices(C: np.ndarray, before: np.ndarray | None, groups: list[str]) -> list[dict[str, Any]]:
    """Per group the cells in reading order: people, share of the true class and, after the end, its change."""
    share = _share(C)
    change = None if before is None else share - _share(before)
    return [
        {
            "title": f"{group}, n = {C[i].sum():,}",
            "kind": "group",
            "counts": C[i].ravel(),
            "shares": share[i].ravel(),
            "changes": None if change is None else change[i].ravel(),
        }
        for i, group in enumerate(groups)
    ]


def _share(C: np.ndarray) -> np.ndarray:
    rows = C.sum(-1, keepdims=True)
    return np.asarray(C / np.where(rows > 0, rows, np.nan))


def gauges_popover(entry: dict[str, Any], label: str, more: str = "") -> None:
    """What is minimised and what the gauges of a method are, in its own words; `more` stands between the two."""
    with st.popover(label, icon=":material/function:", type="tertiary"):
        st.latex(entry["formula"])
        if more:
            st.markdown(more)
        for name, text in entry["gauges"].items():
            st.markdown(f"**{name.replace('_', ' ').capitalize()}**: {text}")
        st.caption(f"Source: {entry['paper']}")


def again(catalogue: dict[str, Any], run: Run, *, number: bool = False, sweep: str = "") -> None:
    """How to have a run again: its command, its Python lines, its link. number: its target is one; sweep: the command
    that trains what the page shows beside the run."""
    command = pages.command_line("train", run.config, catalogue, "--seed", str(run.config.seed))
    pages.reproduce_popover(command, python_lines(run.config, number=number), sweep)
    pages.link_popover()


def python_lines(config: RunConfig, *, number: bool = False) -> str:
    """The run as Python: a configuration in, a confusion tensor out, or the measures where the target is a number."""
    told = "event.values" if number else "metrics.evaluate(event.confusion)"
    return "\n".join(
        [
            "from fairness_core import experiment, metrics",
            "from fairness_core.config import RunConfig",
            "",
            f"config = RunConfig.from_json({pprint.pformat(config.to_json(), width=88, sort_dicts=False)})",
            "for events in experiment.fit([config]):",
            "    for _, event in events:",
            '        if event.stage == "test":',
            f"            print(config.id, {told})",
        ]
    )
