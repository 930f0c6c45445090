"""One case of a benchmark, a method on a network with a seed, and its files.

    DIRECTORY/case.json                  what is run, and the digest of the code that runs it
    DIRECTORY/scores-NUMBER.parquet      rows of the steps up to NUMBER
    DIRECTORY/state-NUMBER.safetensors   from what the case goes on after step NUMBER

A directory holds one configuration, another is refused. A case goes on with the code that began
it; one that is whole keeps its rows, whatever the code has become, and the results name its code.
"""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import Tensor

from configs import Config
from tasks.source_digest import code_digest
from tasks.store import write_bytes

__all__ = [
    "KEEP_EVERY",
    "Case",
    "case_rows",
    "claim",
    "keep",
    "last_number",
    "read_case",
    "to_parquet",
]

KEEP_EVERY = 20


class Case(BaseModel):
    """What is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cycled", "uncycled"]
    """Whether the method cycles, or analyzes forecasts from the truth."""
    method: str
    """Label of the method."""
    network: str
    """Label of the network."""
    seed: int
    """Seed of networks and errors."""
    lead: timedelta = timedelta(0)
    """Length of the forecast of an uncycled background."""
    every: timedelta
    """Time between the analyses."""
    steps: int
    """Number of analyses."""
    config: Config
    """The configuration, with the method and the network."""

    @property
    def name(self) -> str:
        """Name of the case, and of its directory."""
        hours = f"-{self.lead // timedelta(hours=1)}h" if self.lead else ""
        return f"{self.kind}{hours}-{self.method}-{self.network}-{self.seed}"

    @property
    def labels(self) -> dict[str, Any]:
        """What the rows of the case have in common."""
        lead = self.lead // timedelta(hours=1)
        names = {"kind": self.kind, "lead_hours": lead, "method": self.method}
        return {**names, "network": self.network, "seed": self.seed}


def claim(case: Case, folder: Path) -> int:
    """Bind a directory to a case and return how many analyses are done.

    Raises:
        ValueError: The directory holds another case, or the part of one that other code made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content, code = case.model_dump(mode="json", exclude={"steps"}), code_digest()
    if not (folder / "case.json").exists():
        text = json.dumps({"code": code, **content}, indent=1)
        write_bytes(str(folder / "case.json"), text.encode())
    made, other = read_case(folder, case.steps)
    if changed := [key for key in content if other[key] != content[key]]:
        raise ValueError(
            f"{folder / 'case.json'}: made with another {changed[0]}; use another --out"
        )
    if last_number(folder, "scores") >= case.steps:
        return case.steps
    if made != code:
        raise ValueError(f"{folder / 'case.json'}: made with another code; use another --out")
    done = last_number(folder, "state")
    for file in folder.glob("scores-*.parquet"):
        if number_of(file) > done:
            file.unlink()
    return done


def read_case(folder: Path, steps: int) -> tuple[str, dict[str, Any]]:
    """Return the code's digest and the configuration of a directory, with what is new in it.

    A setting that came later has its default there, as it had when the case was made.

    Raises:
        ValueError: The configuration is not one of this version.
    """
    made = json.loads((folder / "case.json").read_text())
    code: str = made.pop("code")
    try:
        case = Case.model_validate(made | {"steps": steps})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(
            f"{folder / 'case.json'}: made with another {where}; use another --out"
        ) from None
    return code, case.model_dump(mode="json", exclude={"steps"})


def last_number(folder: Path, kind: str) -> int:
    """Return the largest number of the files of a kind, 0 if there are none."""
    return max((number_of(file) for file in folder.glob(f"{kind}-*")), default=0)


def number_of(file: Path) -> int:
    """Return the number in a file's name."""
    return int(file.stem.split("-")[1])


def keep(folder: Path, number: int, rows: pd.DataFrame, state: dict[str, Tensor]) -> None:
    """Write the rows of the last steps, then the state from which the case goes on."""
    write_bytes(str(folder / f"scores-{number:05d}.parquet"), to_parquet(rows), durable=False)
    write_bytes(str(folder / f"state-{number:05d}.safetensors"), save(state), durable=False)
    for old in folder.glob("state-*.safetensors"):
        if old.stem != f"state-{number:05d}":
            old.unlink()


def case_rows(case: Case, directory: str) -> pd.DataFrame:
    """Return the rows of a case so far, with the columns that say which case it is."""
    files = sorted(Path(directory).glob("scores-*.parquet"))
    if not files:
        return pd.DataFrame()
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return table.assign(**case.labels)


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
