"""The drawing of the architecture: what is there, under names that can be typed, and open where nothing is stated."""

from dataclasses import replace
from pathlib import Path

import pytest

from tdsp.config.charter import Charter, read_charter
from tdsp.core.record import Run
from tdsp.reporting.architecture import OPEN, plot_architecture, schedule, stations
from tdsp.stats.plotting import description_of
from tests.support.sample_run import write_run

CHARTER = Path(__file__).parents[2] / "parameters/flights.charter.yaml"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A whole run."""
    return Run(write_run(tmp_path), "4_deployment")


def test_each_station_names_what_the_run_has(run: Run) -> None:
    """Sources and table from the record, commands with the project's name, owners from the charter."""
    found = {box.station: box for box in stations(run, read_charter(CHARTER))}
    assert found["Sources"].what == ", ".join(entry.name for entry in run.record.inputs)
    assert found["Model"].what == "ROC-AUC: 0.679"
    assert found["Service"].where == "tdsp serve flights@champion"
    assert found["Monitoring"].owner == "Project lead and the duty managers"


def test_what_nobody_stated_is_open(run: Run) -> None:
    """No owner, place or rhythm is made up."""
    found = {box.station: box for box in stations(run, Charter())}
    assert {found[name].owner for name in found} == {OPEN}
    assert schedule(run, Charter()).set_index("what").loc["support", "as stated"] == OPEN


def test_the_drawing_shows_every_station_once_and_keeps_hostile_text_as_text(run: Run) -> None:
    """Markup and formulas of Matplotlib in a name are letters; the data behind it hold the whole."""
    renamed = replace(run.record.inputs[0], name="<b>$x^2$</b>" + "y" * 80)
    run.update(lambda record: replace(record, inputs=(renamed, *record.inputs[1:])))
    ax = plot_architecture(stations(run, Charter()))
    assert [text.get_text() for text in ax.texts[::2]][:1] == ["Sources"]
    ax.figure.canvas.draw()
    data = description_of(ax).data
    assert data["station"].tolist() == ["Sources", "Lake", "Features", "Model", "Service", "Monitoring"]
    assert "y" * 80 in data.loc[0, "what"]
