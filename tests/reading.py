"""What a page under AppTest says and draws, taken apart."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest


def blocks(at: AppTest) -> dict[str, dict[str, Any]]:
    """The blocks of every live component by their names."""
    assert not at.exception
    payloads = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return {block["id"]: block for payload in payloads for block in payload["blocks"]}


def sentence(at: AppTest) -> str:
    return blocks(at)["sentence"]["frames"][0]


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption", "warning", "error", "info") for e in getattr(at, kind))


def markup(at: AppTest) -> str:
    return "\n".join(e.proto.body for e in at.get("html"))


def traces(block: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["meta"]: trace for trace in block["figure"]["data"]}


def decoded(values: Any) -> list[float]:
    """Numbers of a figure in JSON, where plotly packs long arrays."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def notes(block: dict[str, Any]) -> list[str]:
    return [a["text"] for a in block["figure"]["layout"]["annotations"]]
