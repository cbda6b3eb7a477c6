"""The autoencoder of DVGE: its losses while it trains, and afterwards what its code says and what it keeps of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import latent_figures
from fairness_core.store import Run
from pages import explorer, latent_course, latent_viewer, latent_words
from pages.latent_course import METHOD, Shown

WIDE = 1080  # pixels of a paragraph
TALL = 340  # pixels of the losses


def training(catalogue: dict[str, Any], run: Run, losses: pd.DataFrame) -> None:
    """While the autoencoder trains: how far it is, and both losses."""
    st.subheader("The autoencoder is being trained", anchor=False)
    of = int(run.config.method_options["vae_steps"])
    st.progress(min(1.0, losses["step"].iloc[-1] / of), text=f"Step {losses['step'].iloc[-1]:,.0f} of {of:,}")
    st.markdown(
        "Its reconstruction loss should fall and level off. The KL term says how much its codes tell about a row: near "
        "0 they say nothing. Both are nats per training row.",
        width=WIDE,
    )
    colour = pages.method_colour(catalogue, METHOD)
    figure = latent_figures.losses(losses, colour=colour, of=of)
    explorer.explorer([_losses(figure, "vae-live")], key="explain-vae", revision=run.id,
                      stamp=f"{run.id}{len(losses)}")  # fmt: skip


def _losses(figure: Any, name: str) -> explorer.Block:
    return explorer.chart(
        name, figure, area="right" if name == "vae-losses" else "top", height=TALL,
        heading="The autoencoder's losses (training rows)",
        alt="Reconstruction loss and KL term of the autoencoder over its steps; the table Losses holds the same "
        "numbers",
    )  # fmt: skip


def part(catalogue: dict[str, Any], run: Run, found: Shown) -> dict[str, pd.DataFrame]:
    """The code itself, in an expander; what is drawn as tables."""
    kept = latent_course.encoder(found.arrays)
    with st.expander("The code itself", icon=":material/data_array:"):
        st.markdown(latent_words.CODE, width=WIDE)
        if not kept:
            st.caption(
                "The autoencoder of this run is not here any more, so its traversals and losses cannot be shown; train "
                "again to have a new one."
            )
            return {}
        stamp = bytes(found.arrays["encoder"]).decode()
        tables = {"Code": latent_course.nats_table(kept), "Losses": latent_course.losses_table(kept)}
        colour = pages.method_colour(catalogue, METHOD)
        explorer.explorer(_blocks(stamp, tables["Code"], tables["Losses"], colour), key="explain-code",
                          revision=run.id, stamp=stamp)  # fmt: skip
        if "reconstructions" in kept:
            _pictures(kept, stamp)
        elif "explained" in kept:
            tables["Explained"] = _columns(run, found, kept, colour, stamp)
        return tables


@st.cache_data(max_entries=16, show_spinner=False)
def _blocks(stamp: str, _code: pd.DataFrame, _losses_table: pd.DataFrame, colour: str) -> list[explorer.Block]:
    """`stamp` stands for all that the charts show."""
    most = min(len(_code), latent_figures.MOST)
    some = f", the {most} largest of {len(_code)}" if most < len(_code) else ""
    return [
        explorer.chart(
            "vae-kl", latent_figures.nats(_code, colour=colour), area="left", height=latent_figures.height(len(_code)),
            heading=f"What each number says (training rows{some})",
            alt="KL term of every number of the code, unused ones hatched; the table Code holds the same numbers",
        ),
        _losses(latent_figures.losses(_losses_table, colour=colour), "vae-losses"),
    ]  # fmt: skip


def _pictures(kept: latent_course.Arrays, stamp: str) -> None:
    st.html(latent_viewer.drawn("reconstructions", stamp, kept))
    st.markdown(
        "In each strip one number of a code takes −3 to 3 standard deviations of the prior while the others stay. Look "
        "for numbers that change one thing alone; most change several, and foci do not need it. Numbers that say most "
        "come first.",
        width=WIDE,
    )
    st.html(latent_viewer.drawn("traversals", stamp, kept))


def _columns(run: Run, found: Shown, kept: latent_course.Arrays, colour: str, stamp: str) -> pd.DataFrame:
    names = latent_course.columns(found.arrays) if "columns" in found.arrays else []
    table = latent_course.explained_table(kept, names)
    well = int((table["explained"] > 0.5).sum())
    overall = float(np.nanmean(table["explained"]))
    st.markdown(
        f"The share of every column's variance (validation split) that is left after code and decoder: {well} of "
        f"{len(table)} columns keep more than half, {pages.percent(overall)} on average. What the code does not hold, "
        "neither classifier can use.",
        width=WIDE,
    )
    shown = min(len(table.dropna()), latent_figures.MOST)
    half = f", the {shown // 2} best and the {shown // 2} worst of {len(table)}" if shown < len(table) else ""
    block = explorer.chart(
        "vae-explained", latent_figures.explained(table, colour=colour), area="top",
        height=latent_figures.height(shown), heading=f"Variance explained per column (validation split{half})",
        alt="Share of the variance of columns that the reconstruction explains; the table Explained holds the same "
        "numbers",
    )  # fmt: skip
    explorer.explorer([block], key="explain-explained", revision=run.id, stamp=stamp)
    return table
