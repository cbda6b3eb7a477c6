"""Before and after: a trained model, what a treatment or another training makes of it, and who gains or loses by that.

Shown under the threshold of one run. The pair of models is in the address: ?run= is the model, ?after= what it is
compared with; a run that is itself a treatment is compared with the model it started from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

import pages
from fairness_core import figures_after
from fairness_core.config import Option, RunConfig, UserError, read_method, resolve
from fairness_core.store import ACTIVE, Run
from pages import before_after, course, explorer
from pages.anatomy import markdown
from pages.controls import draw_controls

TICK = 0.5  # seconds between two looks at a treatment that is going on
NEWEST = 500  # runs looked through for some to compare with
FAMILIES = ("intra", "post")


def section(catalogue: dict[str, Any], run: Run, measure: str, epsilon: float) -> None:
    """Everything under the heading. run: finished and binary; measure: one of thresholds.MEASURES."""
    st.subheader("Before and after: what does a treatment change, and for whom?", anchor=False)
    pair: tuple[Run | None, Run | None]
    if run.config.start is None:
        _forget_other_pairs(run)
        pair = run, _chosen(catalogue, run, measure, epsilon)
    else:
        pair = _started_from(catalogue, run), run
    before, after = pair
    if before is not None and after is not None:
        active = after.status in ACTIVE
        follow = st.fragment(_follow, run_every=TICK if active else None)
        follow(catalogue, before, after.id, measure, epsilon, active)


def _forget_other_pairs(run: Run) -> None:
    """Another run above, with the address of the old comparison still in place: that was not asked for."""
    asked = st.query_params.get("after")
    of, last = st.session_state.get("treatment:pair", (run.id, None))
    if of != run.id and asked and asked == last:
        st.query_params.pop("after")
        asked = None
    st.session_state["treatment:pair"] = (run.id, asked)


def _started_from(catalogue: dict[str, Any], run: Run) -> Run | None:
    """The trained model that a treatment started from; a sentence if it is no longer here."""
    start = run.config.start
    assert start is not None
    st.session_state["treatment:pair"] = (run.id, None)
    st.query_params.pop("after", None)
    before = pages.store().run(start.id)
    if before is None or before.status != "done":
        st.info("The model that was treated is not in this store (any more); train it to see who gained and lost.")
        if st.button("Train it", key="treatment-start", icon=":material/play_arrow:"):
            _submit(start)
        return None
    if st.button("Treat the same model in another way", key="treatment-other", icon=":material/alt_route:"):
        st.query_params.update(run=start.id, after=run.id)
        st.rerun()
    return before


# ------------------------------------------------------------------------------------------------------- what to show


def _chosen(catalogue: dict[str, Any], run: Run, measure: str, epsilon: float) -> Run | None:
    """Draw the form of a new treatment and the list of what there is; the run that is compared with, if any."""
    starts = {
        c for e in catalogue["methods"].values() for k in pages.declared(e) if k.name == "start" for c in k.choices
    }
    method = None
    with st.container(horizontal=True, vertical_alignment="bottom", key="treatment-choice"):
        if run.config.method in starts:
            method = _form(catalogue, run, measure, epsilon)
        after = _pick(catalogue, run)
    if method is None:
        title = pages.title(catalogue["methods"][run.config.method])
        named = ", ".join(pages.title(catalogue["methods"][name]) for name in sorted(starts))
        st.caption(
            f"A model of {title} cannot be treated; those of these can be: "
            f"{named}. It can be compared with other models of the same data and seed."
        )
    else:
        entry = catalogue["methods"][method]
        idea = entry["doc"].partition("\n\n")[0].replace("\n", " ")
        st.caption(f"{pages.title(entry)}: {idea} {before_after.NEEDS[entry['needs_sensitive_at_test']]}")
    if after is None and "after" not in st.query_params:
        st.markdown(
            "Nothing is compared yet. Choose a treatment and press *Treat this model*: what it changes, and for whom, "
            "appears here within seconds, person by person."
        )
    return after


def _form(catalogue: dict[str, Any], run: Run, measure: str, epsilon: float) -> str:
    """Choose a treatment and its settings; the method that is chosen."""
    methods = catalogue["methods"]
    names = [name for name, entry in methods.items() if entry["family"] in FAMILIES and "binary" in entry["tasks"]]
    shown = pages.store().run(st.query_params.get("after", ""))
    if "treatment-method" not in st.session_state and shown is not None and shown.config.method in names:
        st.session_state["treatment-method"] = shown.config.method
    method = st.selectbox(
        "Treatment", names, key="treatment-method", format_func=lambda n: pages.title(methods[n]), width=240,
        persist_state="session",
    )  # fmt: skip
    controls = [c for c in pages.declared(methods[method]) if c.name != "start"]
    # an ε without a measure beside it is another quantity than the page's
    aims: dict[str, Option] = {}
    if any(c.name == "measure" for c in controls):
        aims = {"epsilon": epsilon, "measure": measure}
    with st.popover("Settings", icon=":material/tune:"):
        options = draw_controls(controls, prefix=f"treat-{method}", groups=("method", "advanced"), values=aims)
    problem = config = None
    try:
        config = treating(catalogue, run, method, options)
    except UserError as error:
        problem = str(error)
    pressed = st.button(
        "Treat this model", key="treat", type="primary", icon=":material/healing:", disabled=config is None
    )
    if problem:
        st.error(markdown(problem), icon=":material/error:")
    if pressed and config:
        st.query_params["after"] = config.id
        _submit(config)
    return str(method)


def treating(catalogue: Mapping[str, Any], run: Run, method: str, options: Mapping[str, Option]) -> RunConfig:
    """The run that treats the model of `run`; UserError if there cannot be one."""
    own = run.config
    given = [f"{k}={v}" for k, v in pages.changed(own.method_options, catalogue["methods"][own.method]).items()]
    start = read_method(catalogue, " ".join([own.method, *given]))[2]
    config = resolve(
        catalogue, dataset=own.dataset, model=own.model, seed=own.seed, dataset_options=own.dataset_options,
        model_options=own.model_options, training=own.training, method=method,
        method_options={**options, "start": start},
    )  # fmt: skip
    if config.start is None or config.start.id != run.id:
        raise UserError(
            "This model was trained on other data or by other code, so it cannot be treated; train it anew."
        )
    return config


def _submit(config: RunConfig) -> None:
    pages.store().submit([config])
    pages.wake_runner()
    st.rerun(scope="app")


def _pick(catalogue: dict[str, Any], run: Run) -> Run | None:
    """Choose what to compare with: treatments of this model first, then other models that judged the same people."""
    offered = {r.id: before_after.label(catalogue, r.config, run) for r in _comparable(run)}
    asked = st.query_params.get("after")
    after = pages.store().run(asked) if asked else None
    if after is not None:
        offered.setdefault(after.id, before_after.label(catalogue, after.config, run))
    key = "treatment-after"
    st.session_state[key] = after.id if after else None

    def follow() -> None:
        st.query_params["after"] = st.session_state[key]

    if offered:
        st.selectbox(
            "Compare with", list(offered), key=key, format_func=offered.__getitem__, on_change=follow, width=330,
            placeholder="treated or trained already",
            help="Treatments of this model that exist already, and other finished models of the same data and seed.",
        )  # fmt: skip
    if asked and after is None:
        st.warning(f"There is no run {asked[:40]!r} here to compare with.", icon=":material/search_off:")
    return after


def _comparable(run: Run) -> list[Run]:
    """Finished runs on the same rows: treatments of this model, then the others, newest first."""
    store, own = pages.store(), run.config
    table = store.runs(limit=NEWEST)
    alike = (table["dataset"] == own.dataset) & (table["seed"] == own.seed) & (table["status"] == "done")
    found = list(filter(None, map(store.run, table.loc[alike & (table["id"] != run.id), "id"])))
    rows = (own.dataset_options, own.data_hash)
    same = [r for r in found if (r.config.dataset_options, r.config.data_hash) == rows]
    treated = [r for r in same if r.config.start and r.config.start.id == run.id]
    return treated + [r for r in same if r not in treated and store.scores_path(r.id).exists()]


# -------------------------------------------------------------------------------------------------------------- drawing


def _follow(
    catalogue: dict[str, Any], before: Run, after_id: str, measure: str, epsilon: float, was_active: bool
) -> None:
    """The comparison, or how far the treatment is; the whole page follows once it has ended."""
    after = pages.store().run(after_id)
    if after is None or (after.status in ACTIVE) != was_active:
        st.rerun()
    if after.status == "done":
        before_after.compare(catalogue, before, after, measure, epsilon)
        return
    _status(after)
    tried = figures_after.searched(pages.store().history(after.id))
    if len(tried):
        blocks = [before_after.search(catalogue, after, tried)]
        explorer.explorer(blocks, key="treatment-search", revision=after.id, stamp=f"{after.id}{len(tried)}")


def _status(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="treatment-status"):
        if run.status == "failed":
            pages.failure(markdown(run.error) if run.error else None, "The treatment failed.")
        elif run.status == "cancelled":
            st.warning(f"Stopped at step {run.step:,} of {run.of:,}." if run.of else "Stopped before its first step.")
        else:
            st.progress(run.step / run.of if run.of else 0.0, text=course.waiting(run, time.time()))
        if course.stop_or_again(run, "treatment-"):
            _submit(run.config)
