"""What the pages share: the store and the catalogue, numbers as text, and the small popovers every page carries.

Nothing here, and nothing the pages import, loads torch: what exists is read from the catalogue the runner publishes.
"""

from __future__ import annotations

import math
import os
import pprint
import shlex
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from fairness_core import datasets, palette, runner
from fairness_core.config import Control, Option, RunConfig
from fairness_core.metrics import METRICS
from fairness_core.preparation import INAPPLICABLE
from fairness_core.store import Store

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PLOTLY_ROUTE = "/assets/plotly.min.js"
RETRY = 30.0  # seconds between two attempts to start a runner that is gone


def joined(*names: str) -> str:
    """Files of assets/ as one text: a live component is given its module, and its style, in one piece."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


def store_root() -> Path:
    """The folder of runs: EQUIPOISE_STORE, or runs/ beside app.py."""
    return Path(os.environ.get("EQUIPOISE_STORE") or Path(__file__).resolve().parent.parent / "runs")


def data_dir() -> str | None:
    """Where data sets that are not bundled lie: FAIRNESS_DATA_DIR."""
    return os.environ.get("FAIRNESS_DATA_DIR") or None


def store() -> Store:
    """The store of this server (one handle per process; safe from every session's thread)."""
    return _open(store_root())


@cache
def _open(root: Path) -> Store:
    return Store(root)


def wake_runner() -> None:
    """Make sure somebody trains what is submitted; costs nothing while the runner is alive."""
    runner.ensure_running(store_root(), data_dir())


def tend_runner() -> str:
    """What to add where somebody waits for a run: nothing while a runner is there. One that is gone is started again,
    at most every RETRY seconds; one that is gone again by then does not start, and that is said."""
    if runner.alive(store_root()):
        return ""
    if time.time() - st.session_state.get("engine:woken", 0.0) < RETRY:
        return "; the engine does not start, its log is runner.log in the store folder"
    st.session_state["engine:woken"] = time.time()
    wake_runner()
    return ""


def catalogue() -> dict[str, Any]:
    """What exists (methods, data sets, models). Shows the waiting state and ends this run until the engine tells."""
    found = store().catalogue()
    if found is None:
        load_chart_library()
        _wait_for_engine()
        st.stop()
    return {**found, "datasets": {**_published(found["version"], data_dir()), **datasets.entries(store().tables)}}


@st.cache_data(ttl=20, show_spinner=False)
def _published(version: str, folder: str | None) -> dict[str, Any]:
    """The published data sets, and whether their files are here: looked up anew now and then, since files may come."""
    found = store().catalogue()
    assert found is not None
    known: dict[str, Any] = datasets.present(found, folder, None)["datasets"]
    return known


def load_chart_library() -> None:
    """Use the time without a chart: an explorer without blocks shows nothing but has the browser load plotly."""
    from pages.explorer import explorer

    explorer([], key="warm-up", revision="")


@st.fragment(run_every=0.5)
def _wait_for_engine() -> None:
    if store().catalogue() is not None:
        st.session_state.pop("engine_asked", None)
        st.rerun()
    waited = time.time() - st.session_state.setdefault("engine_asked", time.time())
    if waited < 45:
        st.info(
            f"The engine is starting (first start takes about 5 s); {waited:.0f} s so far.",
            icon=":material/hourglass_top:",
        )
        return
    st.warning(f"The engine has not answered for {waited:.0f} s; its log is runner.log in the store folder.")
    if st.button("Start it again"):
        st.session_state.pop("engine_asked", None)
        wake_runner()


def look_again() -> None:
    """Forget which files were here: some have come."""
    _published.clear()


# ------------------------------------------------------------------------------------------------------ numbers as text


def percent(share: float, digits: int = 1) -> str:
    """0.8412 -> "84.1 %"; a dash where there is no number."""
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else "–"


def interval(low: float, high: float) -> str:
    """(0.80, 0.85) -> "80.0 to 85.0 %"; a dash where there is none."""
    return f"{100 * low:.1f} to {100 * high:.1f} %" if math.isfinite(low) and math.isfinite(high) else "–"


def duration(seconds: float) -> str:
    """Seconds as people say them: "6 s", "2 min 5 s", "1 h 3 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def title(entry: Mapping[str, Any]) -> str:
    """How a catalogue entry is called on the screen."""
    return str(entry.get("title") or entry["name"])


# ------------------------------------------------------------------------------------------------------------ catalogue


def declared(entry: Mapping[str, Any]) -> list[Control]:
    """The declared settings of a catalogue entry (a method, model, data set, or "training")."""
    return [Control.from_json(c) for c in entry["controls"]]


def method_index(catalogue: Mapping[str, Any], method: str) -> int:
    """A method's place in the palette: its place among the methods with a trade-off, so that adding one moves none
    before it. Untreated models have no place: they are grey."""
    treated = [name for name, entry in catalogue["methods"].items() if entry.get("tradeoff")]
    return treated.index(method) if method in treated else 0


def method_colour(catalogue: Mapping[str, Any], method: str) -> str:
    """The one colour of a method, on light ground; grey for a model without a debiaser."""
    if not catalogue["methods"].get(method, {}).get("tradeoff"):
        return palette.UNTREATED
    return palette.method_colour(method_index(catalogue, method))


def tradeoff_symbol(catalogue: Mapping[str, Any], method: str) -> str:
    """How the control that a method's frontier runs over is written; the ε a method aims at is not the page's own."""
    entry = catalogue["methods"][method]
    symbol = next((c.symbol for c in declared(entry) if c.name == entry["tradeoff"]), "") or "λ"
    return "target ε" if symbol == "ε" else symbol


def tradeoffs(catalogue: Mapping[str, Any]) -> dict[str, str]:
    """{method: the name of its trade-off}, of the methods that have one; for Store.runs(over=...)."""
    return {name: entry["tradeoff"] for name, entry in catalogue["methods"].items() if entry["tradeoff"]}


def setting(catalogue: Mapping[str, Any], method: str, value: float) -> str:
    """Where a run stands on its method's trade-off: "λ = 2"; empty for a method without one."""
    if method not in tradeoffs(catalogue) or not math.isfinite(value):
        return ""
    return f"{tradeoff_symbol(catalogue, method)} = {value:g}"


def favourable(catalogue: Mapping[str, Any], config: RunConfig) -> str:
    """What the positive decision means: "predicted to earn more"; data sets with a choice of target name it."""
    words = str(catalogue["datasets"][config.dataset]["favourable"])
    for name, value in config.dataset_options.items():
        words = words.replace(f"{{{name}}}", str(value))
    return words


# -------------------------------------------------------------------------------------------------------- small widgets


def measure_popover(*names: str) -> None:
    """An (i) with formula, meaning, range, direction and source of each measure."""
    directions = {"higher": "higher is better", "lower": "lower is better", "zero": "zero is best"}
    with st.popover("Formula", icon=":material/function:", type="tertiary"):
        for name in names:
            metric = METRICS[name]
            st.markdown(f"**{metric.title}** · `{metric.name}`")
            st.latex(metric.formula)
            st.markdown(metric.definition)
            highest = "the number of classes" if metric.high is None else f"{metric.high:g}"
            st.caption(f"From {metric.low:g} to {highest}, {directions[metric.better]}. Source: {metric.source}")
        st.caption(
            "A measure of a gap is a number about decisions; whether a gap is acceptable is a judgement of people."
        )


def table_twin(table: pd.DataFrame, *, label: str = "Table", name: str = "equipoise") -> None:
    """The numbers of a chart as a table, with CSV and JSON downloads: for screen readers, spreadsheets and doubt."""
    with st.popover(label, icon=":material/table:", type="tertiary"):
        st.dataframe(table, hide_index=True, width=900, height=min(440, 38 + 35 * len(table)))
        left, right, _ = st.columns([1, 1, 3])
        csv, text = table.to_csv(index=False), table.to_json(orient="records", indent=1)
        left.download_button("CSV", csv, f"{name}.csv", "text/csv", on_click="ignore", icon=":material/download:")
        right.download_button(
            "JSON", text, f"{name}.json", "application/json", on_click="ignore", icon=":material/download:"
        )


def reproduce_popover(command: str, python: str, sweep: str = "") -> None:
    """The exact command line and Python lines that make what is on the screen; sweep: the command for the runs beside
    it."""
    with st.popover("Reproduce", icon=":material/terminal:", type="tertiary"):
        st.markdown("On the command line")
        st.code(command, language="bash", wrap_lines=True)
        if sweep:
            st.markdown("And its neighbours, with seeds from 0")
            st.code(sweep, language="bash", wrap_lines=True)
        st.markdown("In Python")
        st.code(python, language="python")


def turns(key: str) -> DeltaGenerator:
    """A place for widgets that take turns. For a moment of every change Streamlit has the new one and the old one on
    the page; here the old one is hidden (style.css), so the new one appears where it stays and is not missed."""
    return st.container(width="content", key=f"turns-{key}")


def failure(error: str | None, otherwise: str = "The training failed.") -> None:
    """Why a run has no result. A method that has no answer on these data did not go wrong: a dash and its reason."""
    if error and error.startswith(INAPPLICABLE):
        st.info(f"**–** {error}", icon=":material/do_not_disturb_on:")
    else:
        st.error(error or otherwise, icon=":material/error:")


def link_popover() -> None:
    """How to pass on what is on the screen: its address says everything."""
    with st.popover("Link", icon=":material/link:", type="tertiary"):
        st.markdown("The address of this page brings back exactly this view, also after a restart.")
        st.code(st.context.url or "/", language=None, wrap_lines=True)


def command_line(verb: str, config: RunConfig, catalogue: Mapping[str, Any], *extra: str) -> str:
    """`python -m fairness_core <verb> ...` with every setting that is not at its default."""
    words = ["python", "-m", "fairness_core", verb, "--dataset", config.dataset, "--method", config.method]
    if config.model != catalogue["datasets"][config.dataset]["model"]:
        words += ["--model", config.model]
    flags = {"batch_size": "--batch-size", "epochs": "--epochs", "lr": "--lr", "sensitive": "--sensitive"}
    sections = (
        (config.dataset_options, catalogue["datasets"][config.dataset]),
        (config.training, catalogue["training"]),
        (config.model_options, catalogue["models"][config.model]),
        (config.method_options, catalogue["methods"][config.method]),
    )
    for options, entry in sections:
        usual = usual_training(catalogue, config.dataset) if entry is catalogue["training"] else defaults(entry)
        for name, value in options.items():
            if value == usual.get(name) or ("--over" in extra and name == entry.get("tradeoff")):
                continue
            words += [flags[name], str(value)] if name in flags else ["--set", f"{name}={value}"]
    return shlex.join([*words, *extra])


def usual_training(catalogue: Mapping[str, Any], dataset: str) -> dict[str, Option]:
    """How a data set is trained unless somebody says otherwise."""
    return {**defaults(catalogue["training"]), **catalogue["datasets"][dataset]["training"]}


def defaults(entry: Mapping[str, Any]) -> dict[str, Option]:
    """The declared default of every setting of a catalogue entry."""
    return {c.name: c.default for c in declared(entry)}


def changed(options: Mapping[str, Option], entry: Mapping[str, Any]) -> dict[str, Option]:
    """The options that are not at their declared default."""
    usual = defaults(entry)
    return {name: value for name, value in options.items() if value != usual.get(name)}


def python_lines(
    config: RunConfig, over: str, values: Sequence[float], seeds: Sequence[int], *, number: bool = False
) -> str:
    """The sweep as Python: configurations in, confusion tensors out, or the measures where the target is a number."""
    told = "event.values" if number else "metrics.evaluate(event.confusion)"
    return "\n".join(
        [
            "from dataclasses import replace",
            "",
            "from fairness_core import metrics",
            "from fairness_core.config import RunConfig",
            "from fairness_core.experiment import fit",
            "",
            f"base = RunConfig.from_json({_python(config.to_json())})",
            f"values, seeds = {list(values)}, {list(seeds)}",
            f"configs = [replace(base.with_option({over!r}, v), seed=s) for v in values for s in seeds]",
            "for events in fit(configs, live=False):",
            "    for index, event in events:",
            '        if event.stage == "test":',
            f"            print(configs[index].id, {told})",
        ]
    )


def _python(value: Any) -> str:
    """JSON data as a Python literal over several lines."""
    return pprint.pformat(value, width=88, sort_dicts=False)
