"""A short torture of the whole service; the long one is `make chaos`."""

import tempfile
from pathlib import Path

import pytest

from tests.service_chaos import ROOT, Wish, chaos


@pytest.mark.s3
@pytest.mark.services
def test_a_service_of_which_each_part_is_killed_makes_each_cycle_once_and_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "")  # those of the services come in its place, and go at the end
    with tempfile.TemporaryDirectory(prefix="losda-chaos-") as folder:
        out = Path(folder) / "out"
        short = {"gap": 5.0, "events": False, "database": "sqlite", "wakes": True}
        summary = chaos(Wish(cycles=2, kills=7, seed=0, out=out, **short))
    assert summary["ok"], summary
    assert summary["cycles"] == 2 and ROOT.startswith("s3://")
    assert sum(summary["kills"].values()) >= 4
