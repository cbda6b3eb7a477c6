"""AEDA's table: what a line says, what has no answer, and that every configuration can be resolved."""

import numpy as np
import pytest

from fairness_core import aeda_tables, catalogue
from fairness_core.aeda_tables import ROWS, Row, aeda_table1, spread, tell
from fairness_core.config import Event, RunConfig
from fairness_core.preparation import NotApplicable


def tensor(red: int, brown: int) -> np.ndarray:
    """Two classes of 100 rows per colour, of which so many are right."""
    cells = [[[right, 100 - right], [100 - right, right]] for right in (red, brown)]
    return np.array(cells)


def test_bacc_and_bias_are_read_off_the_counts() -> None:
    told = tell(tensor(90, 60))
    assert told["bacc"] == pytest.approx(0.75)
    assert told["bias_sum"] == pytest.approx(0.6)
    assert told["bias_mean"] == pytest.approx(0.3)


def test_seeds_are_spread_with_their_interval() -> None:
    told = spread([tell(tensor(90, 60)), tell(tensor(92, 66))])
    assert told["bacc"]["mean"] == pytest.approx(77)
    assert told["bacc"]["high"] - 77 == pytest.approx(12.7062 * np.std([75, 79], ddof=1) / np.sqrt(2), rel=1e-4)
    assert told["bias_sum"]["by_seed"] == [0.6, 0.52]
    assert told["seeds"] == 2


def test_every_line_can_be_trained_and_says_what_the_paper_prints() -> None:
    known = catalogue.build()
    configs = {name: row.config(known, {"digits": "5000"}, 3) for name, row in ROWS.items()}
    assert {c.seed for c in configs.values()} == {3}
    assert configs["AEDA robust"].method_options["variant"] == "robust"
    assert configs["AEDA robust"].training["lr_decay"] == "linear"
    assert ROWS["AEDA robust"].paper == (91.80, 0.53)
    assert [name for name, row in ROWS.items() if row.paper is None] == ["Undersampling", "Reweighing", "AEDA once"]


def test_the_table_has_a_dash_where_a_method_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(config: RunConfig, data_dir: object) -> dict[str, Event]:
        if config.method == "undersampling":
            raise NotApplicable("The cell is empty.")
        C = tensor(95, 95 if config.method == "aeda" else 20)
        return {stage: Event(stage, 1, 1, {}, C) for stage in ("validation", "test")}

    monkeypatch.setattr(aeda_tables, "last_events", trained)
    monkeypatch.setattr(
        aeda_tables, "ROWS", {"a": Row("undersampling"), "b": Row("erm", paper=(50, 5)), "c": Row("aeda")}
    )
    table = aeda_table1(True)
    assert "The cell is empty" in table["rows"][0]["ours"]["not_applicable"]
    assert table["rows"][1]["paper"] == {"bacc": 50, "bias_sum": 5}
    assert table["metrics"] == {"bacc": pytest.approx(95), "bias_sum": pytest.approx(0)}
