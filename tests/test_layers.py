"""Imports go down only: flows → tasks → models, and configs stands alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "models": {"flows", "tasks", "prefect", "fsspec", "s3fs", "zarr"},
    "tasks": {"flows"},
    "configs": {"flows", "models", "tasks", "prefect", "torch"},
}
WITHOUT_PREFECT = (
    *("reference", "registry", "archive", "ledger", "store", "report", "plan", "clock"),
    *("journal", "orders", "due", "overview", "failures", "driver", "late_files"),
    *("streams", "promote", "overlaps"),
)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_imports_go_down_only(layer: str) -> None:
    modules = list((ROOT / layer).rglob("*.py"))
    assert modules
    for path in modules:
        up = imported(path) & FORBIDDEN[layer]
        assert not up, f"{path.relative_to(ROOT)} imports {sorted(up)}"


def test_storage_does_not_know_prefect() -> None:
    modules = [p for p in (ROOT / "tasks").rglob("*.py") if p.stem.startswith(WITHOUT_PREFECT)]
    assert len(modules) >= len(WITHOUT_PREFECT) - 1
    for path in modules:
        assert "prefect" not in imported(path), path.name


def test_no_module_shadows_a_dependency_or_the_standard_library() -> None:
    import sys

    taken = set(sys.stdlib_module_names) | {"scores", "zarr", "docker", "torch", "prefect"}
    for layer in ("flows", "tasks"):
        names = {path.stem for path in (ROOT / layer).glob("*.py")} - {"__init__"}
        assert not names & taken, names & taken
