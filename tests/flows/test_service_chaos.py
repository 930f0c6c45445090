"""Short tortures of the whole service; the long one is `make chaos`."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.service_chaos import ROOT, Wish, chaos


@pytest.fixture
def no_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """No S3 server is known: that of the services comes in its place, and goes at the end."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "")


def torture(cycles: int, kills: int, gap: float) -> dict[str, Any]:
    """Torture a service on SQLite; return what came of it."""
    with tempfile.TemporaryDirectory(prefix="losda-chaos-") as folder:
        out = Path(folder) / "out"
        short: dict[str, Any] = {"events": False, "database": "sqlite", "wakes": True}
        return chaos(Wish(cycles=cycles, kills=kills, seed=0, out=out, gap=gap, **short))


@pytest.mark.s3
@pytest.mark.usefixtures("no_storage")
def test_a_service_whose_parts_are_killed_makes_the_cycle_once_and_the_same() -> None:
    summary = torture(cycles=1, kills=3, gap=3.0)
    assert summary["ok"], summary
    assert summary["kills"] == {"server": 1, "s3": 1, "worker": 1}


@pytest.mark.s3
@pytest.mark.services
@pytest.mark.usefixtures("no_storage")
def test_a_service_of_which_each_part_is_killed_makes_each_cycle_once_and_the_same() -> None:
    summary = torture(cycles=2, kills=7, gap=5.0)
    assert summary["ok"], summary
    assert summary["cycles"] == 2 and ROOT.startswith("s3://")
    assert sum(summary["kills"].values()) >= 4
