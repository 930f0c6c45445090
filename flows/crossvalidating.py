"""`losda crossvalidate`: are analyses closer than their backgrounds to what they have not seen?

    DIRECTORY/all        the experiment with all observations
    DIRECTORY/part-K     the same without those of part K of the stations, for each K

Each is an experiment like any other, by the flow of `losda run`, and goes on where it was killed.
Every station is withheld in one of them; parts without a station are not run, so with many more parts
than stations each of these is left out alone. What they show: O-B and O-A of the withheld
observations, and the errors of background and analysis against the reference.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from configs import Config
from flows import server
from flows.running import run_experiment
from flows.tables import print_rows
from models.observations.quality.withholding import part_of_stations
from models.verification.withheld import fit_of_withheld, withheld_rows
from tasks.experiment import Experiment, cycle_name
from tasks.store import join
from tasks.tables import read_table

__all__ = ["crossvalidate", "print_crossvalidation"]

WHOLE = "all"
SOURCES = ("background", "analysis")


def crossvalidate(config: Config, root: str, parts: int) -> dict[str, Any]:
    """Run the experiments that are not done and return the JSON document.

    Args:
        config: The experiment; what it withholds is set here.
        root: Directory or s3:// address of the experiments.
        parts: Number of parts of the stations.

    Raises:
        ValueError: The input is wrong, or nothing is observed.
    """
    whole = Experiment(root=join(root, WHOLE), config=withholding(config, None))
    counted = whole.cycle_times()[config.spin_up :]
    if not counted:
        text = f"spin_up: {config.spin_up}; of {config.cycles} cycles none is left to count"
        raise ValueError(f"{text}; allowed: less than cycles")
    api = server.start()
    try:
        api.wait()
        run_experiment(whole)
        separate = [
            Experiment(
                root=join(root, f"part-{part}"),
                config=withholding(config, {"parts": parts, "part": part}),
            )
            for part in parts_of(whole, parts)
        ]
        for number, experiment in enumerate(separate, 1):
            sys.stderr.write(f"losda: part {number} of {len(separate)}: {experiment.root}\n")
            run_experiment(experiment, report=False)
    finally:
        api.stop()
    return {
        "experiments": root,
        "method": config.method.kind,
        "parts": len(separate),
        "cycles": len(counted),
        "withheld": fit_of_withheld(withheld_of(separate, counted)).to_dict("records"),
        "reference": [
            *errors_of([whole], counted, WHOLE),
            *errors_of(separate, counted, "parts"),
        ],
    }


def parts_of(whole: Experiment, parts: int) -> list[int]:
    """Return the parts that have a station which is compared with a background."""
    found: set[int] = set()
    for time in whole.cycle_times():
        feedback = feedback_of(whole, time)
        compared = feedback[feedback["o_minus_b"].notna()]
        found |= set(part_of_stations(compared, parts, whole.config.seed).tolist())
    if not found:
        raise ValueError(
            f"{whole.root}: no observation is compared with a background; needed: some"
        )
    return sorted(found)


def withholding(config: Config, case: Mapping[str, int] | None) -> Config:
    """Return the configuration that withholds some observations, or none."""
    document = config.model_dump(mode="json")
    document["observations"]["withhold"] = case
    return Config.model_validate(document)


def feedback_of(experiment: Experiment, time: pd.Timestamp) -> pd.DataFrame:
    """Return what became of each observation of a cycle."""
    return read_table(join(experiment.root, "feedback", f"{cycle_name(time)}.parquet"))


def withheld_of(experiments: Sequence[Experiment], times: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """Return the withheld observations of all experiments."""
    tables = (feedback_of(one, time) for one in experiments for time in times)
    return pd.concat([withheld_rows(table) for table in tables], ignore_index=True)


def errors_of(
    experiments: Sequence[Experiment], times: Sequence[pd.Timestamp], name: str
) -> Iterator[dict[str, Any]]:
    """Yield the root-mean-square errors against the reference, by variable and level [SI]."""
    tables = [
        read_table(join(one.root, "scores", f"{cycle_name(time)}.parquet"))
        for one in experiments
        for time in times
    ]
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[(rows["metric"] == "rmse") & (rows["lead_time"] == pd.Timedelta(0))]
    rows = rows.assign(square=rows["value"] ** 2)
    keys = ["variable", "level", "source"]
    means = rows.groupby(keys, dropna=False, sort=False)["square"].mean().unstack("source")
    for row in means.reset_index().to_dict("records"):
        yield {
            "experiments": name,
            "variable": str(row["variable"]),
            "level": None if np.isnan(row["level"]) else float(row["level"]),
            **{source: float(np.sqrt(row[source])) for source in SOURCES},
        }


def print_crossvalidation(document: Mapping[str, Any]) -> None:
    """Print both comparisons for people."""
    cycles = f"{document['method']}, {document['cycles']} cycles, {document['parts']} parts"
    rows = [
        {
            "withheld": f"{row['type']} {row['variable']}",
            "values": str(row["count"]),
            "stations": str(row["stations"]),
            "RMS O-B": f"{row['background']:.4g}",
            "RMS O-A": f"{row['analysis']:.4g}",
            "difference, 95 %": f"{row['low']:+.3g} to {row['high']:+.3g}",
        }
        for row in document["withheld"]
    ]
    print_rows(rows, f"{cycles}: observations that the analysis has not seen [SI]")
    sys.stdout.write("\n")
    errors = [
        {
            "experiments": row["experiments"],
            "variable": _field(row),
            "background": f"{row['background']:.4g}",
            "analysis": f"{row['analysis']:.4g}",
        }
        for row in document["reference"]
    ]
    print_rows(errors, "root-mean-square error against the reference [SI]")
    sys.stdout.write(f"\nexperiments  {document['experiments']}\n")


def _field(row: Mapping[str, Any]) -> str:
    return f"{row['variable']}" + ("" if row["level"] is None else f" {row['level']:g}")
