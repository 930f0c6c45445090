"""No secret where it does not belong, and no pickle."""

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

from configs import ConfigError, load
from configs.hiding import hide, hiding
from tasks import store, work
from tasks.journal import Entry

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "pl4nted-Passw0rd"
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "allow_pickle"}


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Return every node of every module, with where it is."""
    found = []
    for layer in ("configs", "flows", "models", "tasks"):
        for path in (ROOT / layer).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.Import, ast.ImportFrom, ast.Attribute, ast.keyword)):
                    found.append((f"{name}:{node.lineno}", node))
    return found


def test_nothing_imports_a_pickler() -> None:
    for where, node in nodes():
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        found = PICKLERS & {part for name in names for part in name.split(".")}
        assert not found, f"{where} imports {found}"


def test_nothing_calls_what_reads_a_pickle() -> None:
    assert len(nodes()) > 10_000
    for where, node in nodes():
        if isinstance(node, ast.Attribute):
            assert node.attr not in UNSAFE, where
            if isinstance(node.value, ast.Name) and node.value.id == "torch":
                assert node.attr not in {"load", "save"}, where
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, where


def test_numpy_refuses_pickles_where_nothing_is_said(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(tmp_path / "a.npy")


def test_results_of_tasks_are_addresses_and_prefect_keeps_none() -> None:
    for name in work.__all__:
        task = getattr(work, name)
        assert inspect.signature(task.fn).return_annotation in (str, None), name
        assert task.persist_result is False and task.cache_key_fn is None, name


def test_what_the_environment_calls_secret_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", f"losda:auth-{PASSWORD}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:url-{PASSWORD}@host:1")
    text = f"key {PASSWORD}, auth-{PASSWORD}, url-{PASSWORD}, http://user:x@host:1/b, s3://b/e"
    assert hide(text) == "key ***, ***, ***, http://***@host:1/b, s3://b/e"
    assert Entry(kind="failure", text=f"refused {PASSWORD}").text == "refused ***"


def test_an_error_keeps_its_kind_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    with pytest.raises(OSError, match=r"PermissionError: refused \*\*\*") as found, hiding():
        raise PermissionError(f"refused {PASSWORD}")
    assert found.value.__suppress_context__
    same = ValueError("nothing secret")
    with pytest.raises(ValueError) as kept, hiding():
        raise same
    assert kept.value is same


@pytest.mark.parametrize(
    "setting",
    [f"registry=s3://key:{PASSWORD}@bucket/r", f"reference.address=s3://key:{PASSWORD}@b/d"],
)
def test_credentials_in_a_configuration_are_refused_and_not_shown(setting: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("era-interim-europe", [setting])
    assert "credentials" in str(error.value) and "AWS_SECRET_ACCESS_KEY" in str(error.value)
    assert PASSWORD not in str(error.value)


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="holds credentials") as error:
        store.exists(f"s3://key:{PASSWORD}@bucket/e")
    assert PASSWORD not in str(error.value)
