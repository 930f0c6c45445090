import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import Tensor

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.observations.batch import to_observations
from models.observations.networks import Network, draw_network
from models.observations.table import background_check, screen
from models.state import StateSpec, Variable
from models.verification.scoring import score_observations, score_state
from tasks import archive, report_runs, report_scores, report_states, store
from tasks.journal import Entry, Journal
from tasks.ledger import Attempt, Ledger, StageResult, open_experiment, run_stage
from tasks.report import write_report
from tasks.report_data import read_material
from tasks.report_fields import INCREMENT, choose_fields, maps_of, ranks_of
from tasks.report_numbers import summary
from tasks.report_style import digits

START, STEP, NOW = pd.Timestamp("2005-01-01"), pd.Timedelta(hours=6), pd.Timedelta(0)
MEANS = {"u": 8.0, "v": 0.0, "t": 260.0, "q": 4e-3, "sp": 98500.0, "msl": 1.013e5, "z": 5.5e4}
SPREADS = {"u": 8.0, "v": 7.0, "t": 3.0, "q": 1e-3, "sp": 750.0, "msl": 800.0, "z": 1000.0}


COLUMNS = Network("columns", fraction=0.1)


@dataclass(frozen=True)
class Recipe:
    """What a synthetic experiment has."""

    spec: StateSpec
    cycles: int = 6
    spin_up: int = 2
    members: int = 1
    free: bool = True
    forecasts: bool = True
    trace: bool = True
    keep_truth: bool = True
    network: Network = COLUMNS


def small_spec() -> StateSpec:
    levels = (0.2, 0.51, 0.95)
    return StateSpec(
        (
            Variable("u", "eastward_wind", "m s-1", levels, "eastward wind"),
            Variable("t", "air_temperature", "K", levels, "temperature"),
            Variable("q", "specific_humidity", "kg kg-1", levels[1:], "specific humidity", True),
            Variable("sp", "surface_air_pressure", "Pa", None, "surface pressure"),
        ),
        LatLonGrid.gaussian(8, 16),
        "sigma",
    )


def regional_spec() -> StateSpec:
    """The layout of the reanalysis over Europe: north first, longitudes across Greenwich."""
    variables = (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa", None, "sea-level pressure"),
        Variable("z", "geopotential", "m2 s-2", (500.0,), "geopotential"),
        Variable("t", "air_temperature", "K", (850.0,), "temperature"),
    )
    latitude = tuple(np.linspace(55, 30, 11).tolist())
    longitude = tuple(np.linspace(-15, 15, 13).tolist())
    return StateSpec(variables, LatLonGrid(latitude, longitude), "pressure")


class World:
    """Smooth random states about a climatology: truth, background, analysis and free run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.spec = recipe, recipe.spec
        self.generator = np.random.default_rng(1)
        names = [field.variable for field in self.spec.fields]
        self.mean = np.array([MEANS[n] for n in names])[:, None, None]
        self.std = np.array([SPREADS[n] for n in names])[:, None, None]
        shape = (5, *self.spec.shape)
        coefficients = torch.zeros(shape)
        coefficients[0] = torch.as_tensor(np.broadcast_to(self.mean, shape[1:]).copy())
        std = torch.as_tensor(self.std.ravel(), dtype=torch.float32)
        error = torch.full_like(std, 0.3)
        self.statistics = Statistics(coefficients, std, error, torch.ones_like(std, dtype=bool))
        self.anomaly = self.noise()
        self.error = 0.9 * self.noise(recipe.members)

    def noise(self, count: int | None = None) -> np.ndarray:
        """Fields of unit variance whose power falls with the wavenumber."""
        shape = (*(() if count is None else (count,)), *self.spec.shape)
        wave = [np.fft.fftfreq(n) * n for n in shape[-2:]]
        k = np.hypot(wave[0][:, None] * (1 if self.spec.grid.wraps else 2), wave[1])
        white = np.fft.fft2(self.generator.standard_normal(shape))
        smooth = np.fft.ifft2(white / (1 + (k / 4) ** 2) ** 1.2).real
        return smooth / smooth.std((-1, -2), keepdims=True)

    def state(self, anomaly: np.ndarray) -> Tensor:
        return torch.as_tensor(self.mean + self.std * anomaly, dtype=torch.float32)

    def step(self) -> dict[str, Tensor]:
        """Advance the truth, spoil the background, and mend it in the analysis."""
        self.anomaly = 0.95 * self.anomaly + 0.31 * self.noise()
        self.error = 0.92 * self.error + 0.12 * self.noise(self.recipe.members)
        background = self.error
        self.error = 0.8 * self.error + 0.06 * self.noise(self.recipe.members)
        states = {
            "truth": self.anomaly,
            "background": self.anomaly + background,
            "analysis": self.anomaly + self.error,
            "free": (0.3 * self.anomaly + 0.9 * self.noise())[None],
        }
        return {name: self.state(anomaly) for name, anomaly in states.items()}


def make_experiment(root: str, recipe: Recipe) -> World:
    """Write what a run leaves: configuration, commits, attempts, archive, feedback, scores."""
    world = World(recipe)
    settings = {
        "name": "synthetic", "seed": 0, "start": START.isoformat(), "step": "PT6H",
        "spin_up": recipe.spin_up,
        "forecast_model": {"kind": "embedded"},
        "observations": {"network": {"kind": recipe.network.kind, "fraction": 0.1, "noise": 0.1}},
        "method": {"kind": "losda", "preset": "fast", "members": recipe.members},
    }  # fmt: skip
    components = {"autoencoder": "a1" * 32, "denoiser": "b2" * 32, "statistics": "c3" * 32}
    open_experiment(root, settings | {"components": components})
    for number in range(recipe.cycles):
        write_cycle(root, world, START + number * STEP, number)
    return world


def write_cycle(root: str, world: World, time: pd.Timestamp, number: int) -> None:
    recipe, spec, states = world.recipe, world.spec, world.step()
    feedback = make_feedback(world, time, states)
    scores = make_scores(world, time, states, feedback)
    noise = 1 + 0.1 * world.generator.random()

    def work(stage: str) -> Callable[[Attempt], StageResult]:
        def write(attempt: Attempt) -> StageResult:
            if stage == "verification" and recipe.keep_truth:
                address = store.join(attempt.address, "truth")
                archive.write_fields(address, spec, states["truth"][None], time)
            if stage == "analysis":
                trace = make_trace(number, len(feedback)) if recipe.trace else []
                document = json.dumps({"trace": trace}).encode()
                store.write_bytes(store.join(attempt.address, "trace.json"), document)
            parts = {"read": 0.01, "model": 1.5, "write": 0.05}
            return StageResult({name: value * noise for name, value in parts.items()})

        return write

    for stage in ("forecast", "observations", "analysis", "verification"):
        run_stage(Ledger(root), time, stage, fingerprint="f", inputs={}, work=work(stage))
    for name in ("background", "analysis"):
        archive.publish(root, name, spec, START, STEP, time, states[name])
    for folder, table in (("feedback", feedback), ("scores", scores)):
        archive.write_table(store.join(root, folder, f"{time:%Y%m%dT%H}.parquet"), table)


def make_trace(number: int, count: int) -> list[dict[str, float]]:
    start = count * (3 + 20 / (1 + number))
    rows = [{"step": 0, "sigma": 10.0, "J_o_before": start, "J_b": count / 6, "J_o": count / 1.6}]
    return [
        *rows,
        {"step": 1, "sigma": 1.0, "J_o_before": count / 1.6, "J_b": 9.0, "J_o": count / 2},
    ]


def make_feedback(world: World, time: pd.Timestamp, states: dict[str, Tensor]) -> pd.DataFrame:
    spec = world.spec
    table = draw_network(
        world.recipe.network, spec, world.statistics.std, states["truth"], time, 0
    )
    table.loc[table.index[:2], "observation"] = [np.inf, 1e9]
    table = screen(table, spec)
    observations = to_observations(table, spec)
    used = table["used"].to_numpy(bool)
    for letter, name in (("b", "background"), ("a", "analysis")):
        column = np.full(len(table), np.nan)
        equivalent = observations.operator(states[name]).mean(0)
        column[used] = (observations.y - equivalent).double().numpy()
        table[f"o_minus_{letter}"] = column
    table["background_error"] = 5 * table["error"]
    return background_check(table, table["o_minus_b"], table["background_error"], 4.0)


def make_scores(
    world: World, time: pd.Timestamp, states: dict[str, Tensor], feedback: pd.DataFrame
) -> pd.DataFrame:
    def score(x: Tensor, lead: pd.Timedelta, source: str) -> pd.DataFrame:
        truth, valid = states["truth"], time + lead
        return score_state(x, truth, world.spec, world.statistics, valid, time, lead, source)

    names = ["background", "analysis", *(["free"] if world.recipe.free else [])]
    tables = [score(states[name], NOW, name) for name in names]
    if world.recipe.forecasts and time.hour == 0:
        for day in (1, 2, 5):
            worse = world.state(world.anomaly + 0.25 * day * world.noise())[None]
            tables.append(score(worse, day * pd.Timedelta(days=1), "forecast"))
    return pd.concat([*tables, score_observations(feedback)], ignore_index=True)


class Reader(HTMLParser):
    """Takes a page apart: tables as text, addresses, identifiers, headings and tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.addresses += [v or "" for k, v in attrs if k.endswith(("src", "href", "action"))]
        self.identifiers += [found["id"] or ""] if "id" in found else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        self.cell = tag in ("td", "th")
        if self.cell:
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def rows(self, heading: str) -> dict[str, list[str]]:
        """Rows of the table whose header has a heading, by their first cell."""
        (table,) = [table for table in self.tables if heading in table[0]]
        return {row[0]: row[1:] for row in table[1:]}


SECTIONS = [
    "summary", "time", "maps", "levels", "spectra", "cost", "forecasts", "observations",
    "timings", "configuration",
]  # fmt: skip


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, World]:
    root = str(tmp_path_factory.mktemp("report") / "full")
    return root, make_experiment(root, Recipe(small_spec()))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("report") / "ensemble")
    make_experiment(root, Recipe(small_spec(), cycles=3, spin_up=1, members=3, forecasts=False))
    return root


@pytest.fixture(scope="module")
def page(experiment: tuple[str, World]) -> str:
    return store.read_bytes(write_report(experiment[0])).decode()


def all_scores(root: str) -> pd.DataFrame:
    return archive.read_tables(store.join(root, "scores"))


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


def test_truth_given_and_truth_stored_give_the_same_maps(
    experiment: tuple[str, World], tmp_path: Path
) -> None:
    root = copy_without(experiment[0], tmp_path / "copy", {"truth"})
    truth = read_material(experiment[0]).truth
    assert truth is not None
    time = START + 5 * STEP
    field = choose_fields(read_material(root).layout)[0]
    assert list(maps_of(read_material(root), field, time).maps) == [INCREMENT]
    given = maps_of(read_material(root, truth), field, time)
    kept = maps_of(read_material(experiment[0]), field, time)
    assert len(given.maps) == 3
    for title, values in given.maps.items():
        np.testing.assert_array_equal(values, kept.maps[title])


def test_background_error_and_increment_add_up_to_the_analysis_error(
    experiment: tuple[str, World],
) -> None:
    material = read_material(experiment[0])
    for field in choose_fields(material.layout):
        before, increment, after = maps_of(material, field, START + 3 * STEP).maps.values()
        np.testing.assert_allclose(
            before + increment, after, atol=1e-9 + 1e-6 * np.abs(before).max()
        )
        assert np.abs(after).mean() < np.abs(before).mean()


def test_maps_show_the_truth_of_their_own_field_and_time(experiment: tuple[str, World]) -> None:
    root, world = experiment
    material, time = read_material(root), START + 5 * STEP
    sp = maps_of(material, choose_fields(material.layout)[2], time)
    scores = all_scores(root).query(
        "metric == 'rmse' and variable == 'sp' and source == 'background'"
    )
    expected = scores.set_index("cycle_time")["value"][time] / 100
    area = world.spec.grid.area_fractions[:, None] / world.spec.grid.shape[1]
    error = next(iter(sp.maps.values()))
    assert sp.unit == "hPa"
    assert np.sqrt((error**2 * area).sum()) == pytest.approx(expected, rel=1e-3)


LACKING = {
    "scores": (report_scores.time_series, "No cycle has been verified"),
    "feedback": (report_runs.observations, "No feedback"),
    "analysis.zarr": (report_states.spectra, "No cycle has been published"),
    "background.zarr": (report_states.maps, "No cycle has been published"),
    "attempts": (report_runs.cost, "no trace"),
    "ledger": (report_runs.timings, "No stage"),
}


def copy_without(root: str, target: Path, names: set[str]) -> str:
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(*names))
    return str(target)


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


def test_an_ensemble_has_its_section(ensemble: str, experiment: tuple[str, World]) -> None:
    section = report_states.ensemble(read_material(ensemble))
    assert section is not None
    spread, ranks = (figure.picture for figure in section.figures)
    assert "spread of the members" in spread
    assert "rank of the truth among the members" in ranks
    assert report_states.ensemble(read_material(experiment[0])) is None


def test_a_truth_below_all_members_has_the_lowest_rank(ensemble: str) -> None:
    material = read_material(ensemble)
    truth = material.truth
    assert truth is not None

    def low(time: pd.Timestamp) -> xr.Dataset:
        return truth(time) - 1e6

    field, times = choose_fields(material.layout)[0], material.counted_times
    ranks = ranks_of(replace(material, truth=low), field, times)
    np.testing.assert_allclose(ranks, [1, 0, 0, 0])
    ranks = ranks_of(material, field, times)
    assert ranks is not None
    assert 0 < ranks[0] < 1
    assert ranks.sum() == pytest.approx(1)


def test_departures_of_all_cycles_are_pooled_exactly(experiment: tuple[str, World]) -> None:
    feedback = archive.read_tables(store.join(experiment[0], "feedback"))
    found = read_material(experiment[0]).departures
    rejected = feedback[~feedback["used"]]
    assert found.rejected.sum() == len(rejected) > 0
    assert found.rejected["u", "value is not finite"] == 6
    for variable, rows in feedback.groupby("variable"):
        used = rows[rows["used"]]
        statistics = found.by_variable(None).loc[variable]
        assert statistics["used"] == len(used)
        assert statistics["rejected"] == len(rows) - len(used)
        assert statistics["o_minus_b_mean"] == pytest.approx(used["o_minus_b"].mean())
        assert statistics["o_minus_a_std"] == pytest.approx(used["o_minus_a"].std(ddof=0))
        chi2 = used["o_minus_b"] ** 2 / (used["error"] ** 2 + used["background_error"] ** 2)
        assert statistics["chi2"] == pytest.approx(chi2.mean())


def test_a_free_run_is_neither_better_nor_worse_than_itself(experiment: tuple[str, World]) -> None:
    scores = all_scores(experiment[0]).query("source == 'background'")
    same = pd.concat([scores, scores.assign(source="analysis")])
    assert [row.difference for row in summary(same)] == [0.0] * 6
    assert {row.interval for row in summary(same)} == {(0.0, 0.0)}


@pytest.mark.s3
def test_a_report_is_written_on_s3(s3_root: str, page: str) -> None:
    make_experiment(s3_root, Recipe(small_spec(), cycles=2, spin_up=0, forecasts=False))
    address = write_report(s3_root)
    assert address == f"{s3_root}/report.html"
    reader = Reader(store.read_bytes(address).decode())
    assert [name for name in reader.identifiers if name in SECTIONS] == SECTIONS
    assert reader.tags.count("img") == 3
