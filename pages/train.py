"""What is happening while it learns? One run: its settings on the left, its course and its outcome on the right."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

import pages
from fairness_core import costs, regression_results
from fairness_core.config import Control, Option, RunConfig, UserError, resolve
from fairness_core.store import ACTIVE, Run
from pages import choices, course, curves, gaps
from pages.controls import draw_controls, heading
from pages.sections import SECTIONS

TICK = 0.5  # seconds between two looks at a run that is being trained
PATIENCE = 0.5  # seconds that charts of a run that has just been asked for wait for its first figures

Form = Sequence[tuple[str, list[Control]]]  # (prefix of the widgets, controls)


def main() -> None:
    st.title("What is happening while it learns?", anchor=False)
    catalogue = pages.catalogue()
    run = _asked_run(catalogue)
    with st.container(horizontal=True, gap="large", vertical_alignment="top"):
        with st.container(width=280, key="settings"):
            chosen = _form(catalogue, run)
        with st.container(width="stretch", key="course"):
            _right(catalogue, run, chosen)


def _asked_run(catalogue: dict[str, Any]) -> Run | None:
    """The run named in the address, else the last one this session looked at; a sentence if it cannot be shown."""
    asked = st.query_params.get("run") or st.session_state.get("train:last")
    run = pages.store().run(asked) if asked else None
    if run is None and "run" in st.query_params:
        st.warning(
            f"There is no run {str(asked)[:40]!r} here; it may have been deleted or belong to another computer. "
            "Press Train to make one, or open one from the history.",
            icon=":material/search_off:",
        )
    if run is not None and (reason := course.outdated(catalogue, run.config)):
        st.warning(f"Run {run.id} was made by other code and cannot be shown: {reason}", icon=":material/history:")
        return None
    if run is not None and catalogue["methods"][run.config.method]["family"] == "experiment":
        st.info(
            f"Run {run.id} is an experiment that tells groups apart, so there is no decision to follow here; the page "
            "Explain shows it.",
            icon=":material/science:",
        )
        st.page_link("explain.py", label="Explain", query_params={"run": run.id}, icon=":material/troubleshoot:")
        st.query_params.pop("run", None)
        return None
    if run is not None:
        st.session_state["train:last"] = st.query_params["run"] = run.id
    return run


# ---------------------------------------------------------------------------------------------------------------- form


def _form(catalogue: dict[str, Any], run: Run | None) -> RunConfig | None:
    """Draw the settings; the configuration they make, or None if they make none."""
    config = run.config if run else None
    _follow(catalogue, config)
    button = st.container()  # drawn last, shown first: always in sight
    with st.container(gap="small"):
        dataset = _pick(catalogue, "dataset", "Data")
        options = {"dataset": _part(catalogue, "dataset", dataset, config, "method")}
        method = _pick(catalogue, "method", "Method", _debiasers(catalogue, dataset))
        st.caption(catalogue["methods"][method]["doc"].partition("\n\n")[0])
    with heading("method") if _controls(catalogue, "method", method) else st.container():
        options["method"] = _part(catalogue, "method", method, config, "method")
    with heading("training"):
        model = _pick(catalogue, "model", "Network", _networks(catalogue, dataset))
        options["model"] = _part(catalogue, "model", model, config, "method", "training")
        if catalogue["methods"][method]["reads_codes"]:
            st.caption("This method reads codes, not rows: its own hidden layers count (below), not this network.")
        options["training"] = _part(catalogue, "training", "training", config, "training")
        seed = st.number_input(
            "Seed (default 0)", 0, 2**31 - 1, key="train-seed", help=SEED_HELP, persist_state="session"
        )
    with heading("advanced"):
        for kind, name in (("method", method), ("training", "training"), ("model", model), ("dataset", dataset)):
            options[kind] = _part(catalogue, kind, name, config, "advanced")
    made = _resolved(catalogue, dataset, method, model, seed, options)
    ready = made is not None
    if (
        button.button(
            "Train", key="train", type="primary", icon=":material/play_arrow:", width="stretch", disabled=not ready
        )
        and made
    ):
        _train(made)
    if made and (told := _cost(catalogue, made)):
        button.caption(told)
    return made


def _cost(catalogue: dict[str, Any], config: RunConfig) -> str:
    """What the method costs, for those who are about to press Train; empty where that is about plain training."""
    times = costs.relative(config.method, config.method_options)
    if times is None:
        return ""
    text = f"About {times:.1f} × plain training"
    plain = _plain_seconds(course.untreated(catalogue, config))
    return f"{text}, {pages.duration(plain * times)} here" if plain else text


def _plain_seconds(untreated: RunConfig) -> float:
    """How long plain training with these settings takes here, by a finished untreated run with the same data and
    network, scaled by epochs; 0 if there is none."""
    store = pages.store()
    table = store.runs(limit=500)
    alike = table[
        (table["method"] == untreated.method) & (table["dataset"] == untreated.dataset)
        & (table["model"] == untreated.model) & (table["status"] == "done")
    ]  # fmt: skip
    for run in filter(None, map(store.run, alike["id"].head(20))):
        known = run.config
        same = (known.dataset_options, known.model_options) == (untreated.dataset_options, untreated.model_options)
        if same and not known.training["max_steps"] and not untreated.training["max_steps"]:
            epochs = float(untreated.training["epochs"]) / float(known.training["epochs"])
            return float(run.info.get("seconds", 0.0)) * epochs
    return 0.0


EXPLAIN_HELP = "What the method made, what the model learned from it, and what came of it; also while it trains."
CUT_HELP = "Every threshold of this model, for everybody or per group, and what a treatment would change."
SEED_HELP = "Draws the starting weights and the order of the rows. The same seed gives the same result."


def _follow(catalogue: dict[str, Any], config: RunConfig | None) -> None:
    """When the address names another run than before, the choices of the form become that run's."""
    start = {"dataset": next(iter(catalogue["datasets"])), "method": "adversarial", "model": "mlp", "seed": 0}
    given = {name: getattr(config, name) for name in start} if config else start
    moved = config is not None and st.session_state.get("train:given") != config.id
    if config is not None:
        st.session_state["train:given"] = config.id
    for name, value in given.items():
        if moved or f"train-{name}" not in st.session_state:
            st.session_state[f"train-{name}"] = value


def _networks(catalogue: dict[str, Any], dataset: str) -> list[str]:
    """The networks that can read the data set, the usual one first; the form moves to it when its own cannot."""
    entry = catalogue["datasets"][dataset]
    able = [name for name, model in catalogue["models"].items() if model["takes"] == entry["kind"]]
    if st.session_state["train-model"] not in able:
        st.session_state["train-model"] = entry["model"]
    return able


def _debiasers(catalogue: dict[str, Any], dataset: str) -> list[str]:
    """The methods that can predict what the data set asks for; the form moves to the first with a frontier when its own
    cannot."""
    able = choices.debiasers(catalogue, dataset)
    if st.session_state["train-method"] not in able:
        st.session_state["train-method"] = next(name for name in choices.treated(catalogue, dataset) if name in able)
    return able


def _pick(catalogue: dict[str, Any], kind: str, label: str, names: Sequence[str] = ()) -> str:
    """Choose one of the catalogue's entries, or of `names`."""
    entries = catalogue[f"{kind}s"]

    def called(name: str) -> str:
        return pages.title(entries[name])

    return str(
        st.selectbox(label, list(names or entries), key=f"train-{kind}", format_func=called, persist_state="session")
    )


def _controls(catalogue: dict[str, Any], kind: str, name: str) -> list[Control]:
    entry = catalogue["training"] if kind == "training" else catalogue[f"{kind}s"][name]
    return [Control.from_json(c) for c in entry["controls"]]


def _part(catalogue: dict[str, Any], kind: str, name: str, config: RunConfig | None, *groups: str) -> dict[str, Option]:
    """Draw the settings of one catalogue entry that belong to `groups`; returns all of them."""
    values: Mapping[str, Option] | None = None
    if kind == "training":
        dataset = st.session_state["train-dataset"]
        same = config is not None and config.dataset == dataset
        values = config.training if config and same else pages.usual_training(catalogue, dataset)
    elif config and getattr(config, kind) == name:
        values = getattr(config, f"{kind}_options")
    prefix = f"train-{name}"
    return draw_controls(_controls(catalogue, kind, name), prefix=prefix, groups=groups, values=values, headings=False)


def _resolved(
    catalogue: dict[str, Any], dataset: str, method: str, model: str, seed: int, options: dict[str, dict[str, Option]]
) -> RunConfig | None:
    try:
        return resolve(
            catalogue,
            dataset=dataset,
            method=method,
            model=model,
            seed=seed,
            dataset_options=options["dataset"],
            method_options=options["method"],
            model_options=options["model"],
            training=options["training"],
        )
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _train(config: RunConfig) -> None:
    """Submit the run and go on with it in the address; a finished one is simply shown."""
    run_id = pages.store().submit([config])[0]
    st.query_params["run"] = st.session_state["train:begun"] = run_id
    pages.wake_runner()
    st.rerun()


# --------------------------------------------------------------------------------------------------------------- right


def _right(catalogue: dict[str, Any], run: Run | None, chosen: RunConfig | None) -> None:
    if run is None:
        _empty()
        return
    if chosen is not None and chosen.id != run.id:
        st.caption(":material/history: These results are from an earlier setting. Press Train for the one on the left.")
    number = regression_results.is_regression(run)
    measure = "" if number else gaps.picker(width=360)
    if st.session_state.pop("train:begun", None) == run.id:
        _wait_for_figures(run.id)
    unfinished = _unfinished(catalogue, run)
    st.fragment(_live, run_every=TICK if unfinished else None)(catalogue, run.id, measure, unfinished)


def _wait_for_figures(run_id: str) -> None:
    """A moment's patience with a run that has just been asked for: by now the settings are drawn and its training
    begins, and with the first figures at hand the charts need not be drawn empty first."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        run = pages.store().run(run_id)
        if run is None or run.status not in ACTIVE or run.step:
            return
        time.sleep(0.02)


def _unfinished(catalogue: dict[str, Any], run: Run) -> set[str]:
    """The ids among this run and its untreated twin that are still to be waited for."""
    ids = [run.id, course.untreated(catalogue, run.config).id]
    found = filter(None, map(pages.store().run, ids))
    return {r.id for r in found if r.status in ACTIVE}


def _empty() -> None:
    with st.container(border=True):
        st.markdown("**Nothing is training here yet.**")
        st.markdown(
            "Choose the settings on the left and press *Train*: loss, gaps and accuracy per group appear within "
            "a second and move while the network learns."
        )
        st.page_link("runs.py", label="Open one of the earlier runs", icon=":material/history:")
    pages.load_chart_library()


def _live(catalogue: dict[str, Any], run_id: str, measure: str, unfinished: set[str]) -> None:
    """Everything about the run that can change while it trains; the whole page follows once something has ended."""
    run = pages.store().run(run_id)
    if run is None or _unfinished(catalogue, run) != unfinished:
        st.rerun()
    _status(run)
    course.draw(catalogue, run, measure)
    _onward(catalogue, run, measure)


def _status(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.status == "failed":
            pages.failure(run.error)
        elif run.status == "cancelled":
            st.warning(f"Stopped at step {run.step:,} of {run.of:,}." if run.of else "Stopped before its first step.")
        elif run.status == "done":
            ago = pages.duration(time.time() - (run.finished or run.created))
            spent = run.info.get("seconds", math.nan)
            where = run.info.get("device", "cpu").replace("cpu", "the processor")
            st.badge("done", icon=":material/check:", color="green")
            st.caption(f"trained in {spent:.1f} s on {where}, {ago} ago · run `{run.id}`")
        else:
            st.progress(run.step / run.of if run.of else 0.0, text=course.waiting(run, time.time()))
        if course.stop_or_again(run):
            _train(run.config)


# -------------------------------------------------------------------------------------------------------------- onward


def _onward(catalogue: dict[str, Any], run: Run, measure: str) -> None:
    """What to do next: compare with the untreated model, sweep the trade-off, read the numbers, repeat the run."""
    config = run.config
    tradeoff = catalogue["methods"][config.method]["tradeoff"]
    with st.container(horizontal=True, vertical_alignment="center", key="onward"):
        if run.status == "done":
            course.offer_comparison(course.untreated(catalogue, config), config, "compare")
        if run.status == "done" and tradeoff and st.button("Sweep this control", key="sweep", icon=":material/tune:"):
            _sweep(catalogue, config, tradeoff)
        if run.status == "done" and pages.store().scores_path(run.id).exists():
            pressed = st.button("Draw the line", key="cut", icon=":material/splitscreen_right:", help=CUT_HELP)
            if pressed:
                st.switch_page("thresholds.py", query_params={"run": run.id})
        if config.method in SECTIONS:
            _explain(run)
        if run.status not in ACTIVE:
            pages.table_twin(curves.table(run, measure), name=f"run-{run.id}")
        number = regression_results.is_regression(run)
        if not number:
            pages.measure_popover(measure, curves.EVERY)
        command = pages.command_line("train", config, catalogue, "--seed", str(config.seed))
        pages.reproduce_popover(command, course.python_lines(config, number=number))
        pages.link_popover()


def _explain(run: Run) -> None:
    """The way to what the method did. While this page polls it is a link: a page that is changed by the server in
    between two looks can reach the browser in pieces of both."""
    words: dict[str, Any] = {"icon": ":material/troubleshoot:", "help": EXPLAIN_HELP}
    if run.status in ACTIVE:
        st.page_link("explain.py", label="Explain", query_params={"run": run.id}, **words)
    elif st.button("Explain", key="explain", **words):
        st.switch_page("explain.py", query_params={"run": run.id})


def _sweep(catalogue: dict[str, Any], config: RunConfig, tradeoff: str) -> None:
    """Train every position of the trade-off with the settings of this run, and show its frontier."""
    rest = {name: value for name, value in config.method_options.items() if name != tradeoff}
    usual = choices.usual_spec(catalogue, config.method, config.dataset)
    wanted = choices.plan(
        catalogue,
        dataset=config.dataset,
        method=config.method,
        model=config.model,
        values=usual["values"],
        seeds=len(usual["seeds"]),
        options={
            "dataset": config.dataset_options,
            "model": config.model_options,
            "method": rest,
            "training": config.training,
        },
    )
    st.switch_page("frontier.py", query_params={"sweep": choices.submit(pages.store(), wanted)})


main()
