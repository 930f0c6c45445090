"""The page of a report: it stands alone, is complete, and says what an experiment lacks."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.observations.networks import Network
from tasks import report_runs, report_scores, report_states, store
from tasks.journal import Entry, Journal
from tasks.report import write_report
from tasks.report_data import read_material
from tasks.report_style import digits
from tests.page_reader import Reader
from tests.synthetic_run import all_scores, copy_without, make_experiment
from tests.synthetic_states import NOW, START, STEP, Recipe, World, regional_spec, small_spec

SECTIONS = [
    "summary", "time", "maps", "levels", "spectra", "cost", "forecasts", "observations",
    "timings", "configuration",
]  # fmt: skip


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, World]:
    root = str(tmp_path_factory.mktemp("report") / "full")
    return root, make_experiment(root, Recipe(small_spec()))


@pytest.fixture(scope="module")
def page(experiment: tuple[str, World]) -> str:
    return store.read_bytes(write_report(experiment[0])).decode()


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("\u202f", "").replace(" %", ""))


def test_the_page_asks_nothing_of_anyone(page: str) -> None:
    reader = Reader(page)
    assert reader.addresses
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in reader.addresses)
    assert not {"script", "link", "iframe", "object", "base"} & set(reader.tags)
    assert "@import" not in page
    assert page.count("url(") == page.count("url(#")
    assert len(page) < 3_000_000


def test_every_section_is_there_with_figures_and_tables(page: str) -> None:
    reader = Reader(page)
    assert [name for name in reader.identifiers if name in SECTIONS] == SECTIONS
    assert reader.tags.count("svg") == 8
    assert reader.tags.count("img") == 3
    assert len(reader.tables) == 7
    assert 'class="missing"' not in page
    assert "ensemble" not in reader.identifiers


def test_references_inside_the_page_lead_to_one_place(page: str) -> None:
    reader = Reader(page)
    inside = [address[1:] for address in reader.addresses if address.startswith("#")]
    assert set(inside) <= set(reader.identifiers)
    assert len(reader.identifiers) == len(set(reader.identifiers))


def test_numbers_of_the_table_are_those_of_the_scores(
    page: str, experiment: tuple[str, World]
) -> None:
    rows, scores = Reader(page).rows("95 % interval"), all_scores(experiment[0])
    late = scores[(scores["cycle_time"] >= START + 2 * STEP) & (scores["lead_time"] == NOW)]

    def mean(variable: str, metric: str, source: str, power: int = 1) -> float:
        chosen = (late["variable"] == variable) & (late["metric"] == metric)
        return float((late[chosen & (late["source"] == source)]["value"] ** power).mean())

    titles = {"u": "eastward wind u", "q": "specific humidity q", "all": "all variables"}
    factors = {"u": 1.0, "q": 1000.0}
    for name, title in titles.items():
        errors = [mean(name, "mse_climatology", s) for s in ("analysis", "background", "free")]
        assert rows[title][:3] == [digits(error) for error in errors]
        assert number(rows[title][3]) == pytest.approx(errors[0] - errors[1], rel=0.05)
        change = 100 * (errors[0] / errors[1] - 1)
        assert number(rows[title][5]) == pytest.approx(change, abs=0.6)
        for cell, source in zip(rows[title][6:9], ("analysis", "background", "free"), strict=True):
            expected = mean(name, "rmse", source, 2) ** 0.5 * factors.get(name, np.nan)
            assert cell == digits(expected)
    relative = mean("all", "mse_background_24h", "analysis")
    assert rows["all, 24 h background units"][0] == digits(relative)


def test_the_same_experiment_gives_the_same_page(page: str, experiment: tuple[str, World]) -> None:
    assert store.read_bytes(write_report(experiment[0])).decode() == page


LACKING = {
    "scores": (report_scores.time_series, "No cycle has been verified"),
    "feedback": (report_runs.observations, "No feedback"),
    "analysis.zarr": (report_states.spectra, "No cycle has been published"),
    "background.zarr": (report_states.maps, "No cycle has been published"),
    "attempts": (report_runs.cost, "no trace"),
    "ledger": (report_runs.timings, "No stage"),
}


@pytest.mark.parametrize("gone", LACKING)
def test_what_an_experiment_lacks_is_said(
    experiment: tuple[str, World], tmp_path: Path, gone: str
) -> None:
    section, text = LACKING[gone]
    assert section(read_material(experiment[0])).missing == ""
    without = section(read_material(copy_without(experiment[0], tmp_path / "copy", {gone})))
    assert text in without.missing
    assert not without.figures


def test_an_experiment_that_has_not_begun_has_a_report(
    experiment: tuple[str, World], tmp_path: Path
) -> None:
    root = copy_without(experiment[0], tmp_path / "copy", set(LACKING))
    reader = Reader(store.read_bytes(write_report(root)).decode())
    assert [name for name in reader.identifiers if name in SECTIONS] == SECTIONS
    assert all(text in reader.text for _, text in LACKING.values())
    assert not {"svg", "img"} & set(reader.tags)


def test_an_experiment_without_free_run_forecasts_and_trace_has_a_report(tmp_path: Path) -> None:
    recipe = Recipe(
        regional_spec(), cycles=2, spin_up=5, free=False, forecasts=False, trace=False,
        keep_truth=False, network=Network("points", fraction=0.2),
    )  # fmt: skip
    make_experiment(str(tmp_path), recipe)
    reader = Reader(store.read_bytes(write_report(str(tmp_path))).decode())
    rows = reader.rows("95 % interval")
    assert rows["sea-level pressure msl"][2] == "–"
    assert rows["sea-level pressure msl"][4] == "too few cycles"
    assert "No forecast from an analysis" in reader.text
    assert "no trace of a cost function" in reader.text
    assert "Geopotential z at 500 hPa" in reader.text
    assert "none is past the spin-up" in reader.text


def test_late_files_are_listed_until_a_rerun_has_read_them(
    experiment: tuple[str, World], page: str, tmp_path: Path
) -> None:
    assert 'id="late"' not in page
    root = str(tmp_path / "e")
    shutil.copytree(experiment[0], root)
    journal, cycle = Journal(root), "20040101T00"
    files = ("/data/obs/a&b.bufr", "/data/obs/c.bufr")
    journal.write(Entry(kind="late", text="2 files", cycle=cycle, files=files))
    late = Path(write_report(root)).read_text()
    section = late[late.index('id="late"') :]
    assert "2 files of 1 cycle came after the cutoff" in section
    assert "/data/obs/a&amp;b.bufr" in section and "/data/obs/c.bufr" in section
    journal.write(Entry(kind="rerun", text="read", cycle=cycle))
    assert 'id="late"' not in Path(write_report(root)).read_text()


def test_a_directory_without_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no experiment there"):
        write_report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_a_report_is_written_on_s3(s3_root: str, page: str) -> None:
    make_experiment(s3_root, Recipe(small_spec(), cycles=2, spin_up=0, forecasts=False))
    address = write_report(s3_root)
    assert address == f"{s3_root}/report.html"
    reader = Reader(store.read_bytes(address).decode())
    assert [name for name in reader.identifiers if name in SECTIONS] == SECTIONS
    assert reader.tags.count("img") == 3
