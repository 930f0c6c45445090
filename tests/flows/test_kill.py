import random
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import archive_of, repeated, torture

if TYPE_CHECKING:
    from conftest import Tiny


def test_a_run_that_is_killed_at_random_instants_equals_an_uninterrupted_one(
    tiny: "Tiny", finished: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    arguments = ["run", str(tiny.config), "--out", str(root), "--no-report"]
    kills = torture(arguments, root, 3, environment, random.Random(1), longest=0.3)
    assert kills >= 2
    assert archive_of(root) == archive_of(finished)
    assert not repeated(root)
