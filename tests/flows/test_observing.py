"""Real observations in the cycle and on the command line: judged, accounted for, never lost."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from configs import load
from flows.running import run_experiment
from models.observations.quality.reasons import Reason
from tasks.experiment import Experiment
from tasks.ingest import missing_sources, unread_files
from tasks.ingest_files import read_window
from tasks.runtime import open_runtime
from tasks.tables import read_table, write_table
from tests.flows.conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
DATA = Path(__file__).parents[1] / "data"
START = pd.Timestamp("2001-01-03T00")


def reports(time: pd.Timestamp, count: int = 60, seed: int = 0) -> pd.DataFrame:
    """Soundings and sea-level pressures around a time, every tenth with a gross error."""
    random = np.random.default_rng(seed)
    names = random.choice(["t", "msl"], count)
    values = np.where(names == "t", 270.0, 101_000.0) + random.standard_normal(count)
    values[::10] += np.where(names[::10] == "t", 60.0, 7_000.0)
    minutes = random.integers(-170, 180, count)
    return pd.DataFrame(
        {
            "time": time + pd.to_timedelta(minutes, unit="min"),
            "lat": np.degrees(np.arcsin(random.uniform(-0.9, 0.9, count))),
            "lon": random.uniform(0, 360, count),
            "elev": np.nan,
            "pres": np.where(names == "t", 60_000.0, np.nan),
            "variable": names,
            "observation": values,
            "error": np.nan,
            "type": np.where(names == "t", "temp", "ship"),
            "station": [f"{i:05d}" for i in range(count)],
            "source": "test",
            "quality": 0,
            "level": np.nan,
        }
    )


def configuration(tiny: Tiny) -> Callable[..., Path]:
    """Return what writes a configuration of the tiny experiment that reads files."""

    def configure(tmp_path: Path, **source: object) -> Path:
        folder = tmp_path / "obs"
        for name, time in (("00", START), ("06", START + pd.Timedelta(hours=6))):
            write_table(str(folder / f"20010103{name}.parquet"), reports(time))
        (folder / "2001010301.bufr").write_bytes(b"BUFR but not really")
        (folder / "2001010302.txt").write_text("nothing that is known")
        files = {"kind": "files", "address": [f"{folder}/%Y%m%d%H.*"], **source}
        document = tiny.document() | {"observations": {"source": files}, "cycles": 4}
        path = tmp_path / "observed.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return configure


@pytest.fixture
def observed(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration of the tiny experiment that reads files."""
    return partial(configuration(tiny), tmp_path)


@pytest.fixture(scope="module")
def cycled(
    tiny: Tiny, api: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Experiment, str]:
    """An experiment of four cycles on files, and what it said on standard error."""
    folder = tmp_path_factory.mktemp("cycled")
    with redirect_stderr(io.StringIO()) as said:
        experiment = run(configuration(tiny)(folder), folder / "e")
    return experiment, said.getvalue()


def run(config: Path, root: Path) -> Experiment:
    experiment = Experiment(root=str(root), config=load(str(config)))
    run_experiment(experiment, report=False)
    return experiment


def test_cycles_on_files_account_for_every_report(cycled: tuple[Experiment, str]) -> None:
    experiment, said = cycled
    assert "cycle 20010103T00: 1 of 3 files could not be read, such as" in said
    assert "format is not known; 1 damaged messages or lines were left out" in said
    assert "cycle 20010103T12: nothing at" in said  # and it went on
    counts = []
    for time in experiment.cycle_times():
        table = read_table(f"{experiment.root}/feedback/{time:%Y%m%dT%H}.parquet")
        assert ((table["reason"] == "") == table["used"]).all()
        counts.append((len(table), int(table["used"].sum())))
        gross = (table["observation"] > 320) & (table["observation"] < 1000)
        gross |= table["observation"] > 106_000
        assert not (gross & table["used"]).any()
        assert table.loc[table["used"], ["o_minus_b", "o_minus_a"]].notna().all(axis=None)
    read, used = zip(*counts, strict=True)
    assert read == (60, 60, 0, 0) and used[0] > 40 and used[2:] == (0, 0)
    first = read_table(f"{experiment.root}/feedback/20010103T00.parquet")
    assert set(first.loc[first["type"] == "temp", "error"].round(3)) == {0.8}


def test_a_window_takes_its_own_times_only(observed: Callable[..., Path], api: object) -> None:
    config = observed(before="PT1H", after="PT0S")
    runtime = open_runtime(Experiment(root="/nowhere/e", config=load(str(config))))
    assert runtime.observing is not None
    moment = runtime.observing.moment(START)
    assert (moment.after, moment.until) == (START - pd.Timedelta(hours=1), START)
    found = read_window(runtime.observing, moment)
    assert len(found.table) == 60 and list(found.unread) == []


def test_sources_are_awaited_until_they_say_that_all_is_there(
    observed: Callable[..., Path], api: object, tmp_path: Path
) -> None:
    said = [{"source": n, "address": f"{tmp_path}/%Y%m%d%H.{n}"} for n in ("temp", "ship")]
    config = load(str(observed(complete=said)), ["operations.cutoffs.ship=PT9H"])
    runtime = open_runtime(Experiment(root=str(tmp_path / "f"), config=config))
    assert missing_sources(runtime, START) == ("temp", "ship")
    (tmp_path / "2001010300.temp").touch()
    assert missing_sources(runtime, START) == ("ship",)
    (tmp_path / "2001010300.ship").touch()
    assert missing_sources(runtime, START) == ()
    assert missing_sources(runtime, START + pd.Timedelta(hours=6)) == ("temp", "ship")


def test_files_without_a_sign_are_awaited_until_the_cutoff(
    observed: Callable[..., Path], api: object, tmp_path: Path
) -> None:
    config = load(str(observed()))
    runtime = open_runtime(Experiment(root=str(tmp_path / "h"), config=config))
    assert missing_sources(runtime, START) == config.observations.sources == ("files",)


def test_a_file_is_another_one_if_its_size_is(observed: Callable[..., Path], api: object) -> None:
    config = observed()
    root = config.parent / "u"
    experiment = run(config, root)
    runtime = open_runtime(experiment)
    commit = runtime.plan.committed(START, "observations")
    assert unread_files(runtime, commit) == ()
    grown, new = (config.parent / "obs" / f"200101030{n}.txt" for n in (2, 3))
    grown.write_text("nothing that is known, and more of it")
    new.write_text("new")
    assert unread_files(runtime, commit) == (str(grown), str(new))
    Path(commit.address, "files.json").unlink()  # clean-up
    assert unread_files(runtime, commit) == ()


def test_a_drive_reads_what_came_before_the_cutoff_and_names_what_came_after(
    observed: Callable[..., Path], losda: Losda, tmp_path: Path
) -> None:
    said = [{"source": "all", "address": f"{tmp_path}/%Y%m%d%H.done"}]
    config, root = observed(complete=said), tmp_path / "d"
    (tmp_path / "2001010300.done").touch()

    def drive(hours: int) -> str:
        """Drive with a clock that shows so many hours after the first cycle."""
        at = pd.Timestamp.now("UTC") - pd.Timedelta(hours=hours)
        clock = (f"operations.clock.at={at.isoformat()}", "operations.clock.kind=mapped")
        options = [word for one in clock for word in ("--set", one)]
        code, _, err = losda("drive", config, "--out", root, "--cycles", 1, "--once", *options)
        assert code == 0, err
        return err

    def read() -> int:
        return len(read_table(str(root / "feedback" / "20010103T00.parquet")))

    drive(4)
    assert read() == 60
    write_table(str(tmp_path / "obs" / "2001010303.parquet"), reports(START, 20, seed=1))
    assert "1 file came after the ingest" in drive(5)
    assert read() == 80
    late = tmp_path / "obs" / "2001010301.parquet"
    write_table(str(late), reports(START, 10, seed=2))
    assert "1 file came after the cutoff" in drive(10) and "came after" not in drive(11)
    assert read() == 80
    _, text, _ = losda("status", root, "--json")
    assert json.loads(text)["late"] == {"20010103T00": [str(late)]}
    code, text, _ = losda("status", root)
    assert code == 0 and f"cycle 20010103T00: 1 file came late, such as {late}" in text
    assert losda("rerun", root, "20010103T00", "--stage", "observations")[0] == 0
    drive(12)
    assert read() == 90
    _, text, _ = losda("status", root, "--json")
    assert json.loads(text)["late"] == {}


def test_simulated_values_are_those_of_the_reference(
    observed: Callable[..., Path], api: object, tmp_path: Path
) -> None:
    rules = [{"type": "*", "error": 0.001}, {"variable": "msl", "error": 0.1}]
    config = observed(
        simulation={"gross": 0.2},
        errors={"rules": rules},
        address=[f"{tmp_path}/obs/2001010300.parquet"],
        quality={"buddies": None, "thinning": {"kind": "none"}},
    )
    experiment = run(config, tmp_path / "s")
    for time in experiment.cycle_times()[:2]:  # times are moved into every window
        table = read_table(f"{experiment.root}/feedback/{time:%Y%m%dT%H}.parquet")
        assert (abs(table["time"] - time) <= pd.Timedelta(hours=3)).all()
        t = table[table["variable"] == "t"]
        assert t["observation"].between(240, 300).all() and t["observation"].std() > 1.0
        assert 2 <= table["planted"].sum() <= 25 and len(table) == 60


def test_errors_are_estimated_from_the_feedback(
    cycled: tuple[Experiment, str], observed: Callable[..., Path], losda: Losda, tmp_path: Path
) -> None:
    experiment, _ = cycled
    out = tmp_path / "errors.csv"
    code, text, _ = losda("errors", experiment.root, "--out", out, "--least", 5, "--json")
    document = json.loads(text)
    assert code == 0 and document["cycles"] == 3
    kinds = {(row["type"], row["variable"]) for row in document["estimates"]}
    assert kinds == {("temp", "t"), ("ship", "msl")}
    assert list(pd.read_csv(out).columns) == ["type", "variable", "pressure", "error", "source"]
    again = load(str(observed(errors={"table": str(out)})))
    runtime = open_runtime(Experiment(root=str(tmp_path / "g"), config=again))
    assert runtime.observing is not None and "errors" in runtime.plan.checkpoints
    code, text, _ = losda("errors", experiment.root, "--out", out, "--least", 5)
    assert code == 0 and "observation errors from 3 cycles [SI]" in text


def test_files_are_judged_for_a_configuration(losda: Losda, tmp_path: Path) -> None:
    out, picture = tmp_path / "table.parquet", tmp_path / "map.png"
    files = [DATA / "madis" / f"2005082600_{name}.nc.gz" for name in ("acars", "metar", "rawin")]
    options = ("--config", "embedded", "--out", out, "--map", picture, "--json")
    code, text, _ = losda("ingest", *files, *options)
    document = json.loads(text)
    found, table = document["judged"], read_table(str(out))
    assert code == 0 and found["read"] == document["kept"] == len(table) > 1000
    assert found["read"] == found["used"] + sum(found["rejected"].values())
    for variables in found["by_type"].values():
        for own in variables.values():
            assert own["read"] == own["used"] + sum(own["rejected"].values())
    assert found["used"] == table["used"].sum() > 500
    assert found["rejected"][Reason.FLAG] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, text, _ = losda("ingest", *files, "--config", "embedded", "--time", "20050826T00")
    assert code == 0 and f"{found['read']} values read = " in text
    assert "rejected, by reason" in text
    code, text, _ = losda("ingest", *files, *options, "--time", "20050827T00")
    later = json.loads(text)["judged"]
    assert later["used"] == 0 and later["rejected"][Reason.WINDOW] > 500


def test_the_map_is_a_page_with_its_counts(losda: Losda, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    file = DATA / "madis" / "2005082600_metar.nc.gz"
    code, _, _ = losda("ingest", file, "--config", "embedded", "--map", page)
    text = page.read_text()
    assert code == 0 and "rejected by the provider" in text and "<svg" in text
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--map", "x.png"), "--map: needs --config, the configuration to judge for"),
        (("--config", "embedded", "--time", "noon"), "--time: 'noon'; allowed: YYYYMMDDTHH"),
        (
            ("--config", "embedded", "--set", 'observations.source={"kind": "fils"}'),
            "observations.source",
        ),
        (
            (
                *("--config", "embedded", "--set", "observations.source.kind=files"),
                *("--set", 'observations.source.address=["a"]'),
                *("--set", "observations.source.errors.table=/no/such.csv"),
            ),
            "observations.source.errors.table: /no/such.csv: there is no such file",
        ),
        (
            (
                *("--config", "embedded", "--set", "observations.source.kind=files"),
                *("--set", 'observations.source.address=["a"]'),
                *("--set", "observations.source.quality.blocklist=[{}]"),
            ),
            "must name a type, a variable, a station or a source",
        ),
    ],
)
def test_wrong_settings_are_one_line(losda: Losda, arguments: tuple[str, ...], line: str) -> None:
    code, out, err = losda("ingest", DATA / "metar" / "metars.csv", *arguments, "--json")
    assert (code, out) == (2, "")
    assert line in err and len(err.splitlines()) == 1


def test_an_experiment_without_feedback_has_no_errors(losda: Losda, tmp_path: Path) -> None:
    code, _, err = losda("errors", tmp_path, "--out", tmp_path / "x.csv")
    assert code == 2 and "no experiment there" in err
