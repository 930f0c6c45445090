import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks import store
from tasks.registry import (
    Card,
    ComponentNotFoundError,
    Registry,
    RegistryChain,
    check_parents,
    packaged_registry,
)

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([True, False])}


def card(component: str = "denoiser", **changes: object) -> Card:
    values = {
        "component": component,
        "architecture": {"latent": 64, "grid": (8, 16)},
        "training": {"days": 3650},
        "scores": {"loss": 0.1},
    }
    return Card.model_validate(values | changes)


def replace_byte(address: str, position: int) -> None:
    content = bytearray(store.read_bytes(address))
    content[position] ^= 1
    store.write_bytes(address, bytes(content))


def test_what_is_published_is_loaded(root: str) -> None:
    registry = Registry(root)
    digest = registry.publish("denoiser", TENSORS, card())
    registry.alias("denoiser", "best", digest)
    for ref in ("best", digest, digest[:8]):
        loaded = registry.load("denoiser", ref)
        assert loaded.digest == digest
        assert loaded.card.architecture == {"latent": 64, "grid": [8, 16]}
        assert {name: t.tolist() for name, t in loaded.tensors.items()} == {
            name: t.tolist() for name, t in TENSORS.items()
        }


def test_the_digest_fixes_both_files(tmp_path: Path) -> None:
    digest = Registry(str(tmp_path)).publish("denoiser", TENSORS, card())
    folder = tmp_path / "denoiser" / digest
    names = ("card.json", "weights.safetensors")
    found = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    assert found == [digest, json.loads((folder / names[0]).read_text())["weights"]]


def test_publishing_again_changes_nothing(root: str) -> None:
    registry = Registry(root)
    digest = registry.publish("denoiser", TENSORS, card())
    before = store.digests(root)
    other_order = dict(reversed(TENSORS.items()))
    other_strides = other_order | {"b": TENSORS["b"].t().contiguous().t()}
    assert registry.publish("denoiser", other_strides, card()) == digest
    assert store.digests(root) == before


def test_a_copy_in_another_registry_has_the_same_digest(root: str) -> None:
    first, second = Registry(store.join(root, "first")), Registry(store.join(root, "second"))
    loaded = first.load("denoiser", first.publish("denoiser", TENSORS, card()))
    assert second.publish("denoiser", loaded.tensors, loaded.card) == loaded.digest
    assert store.digests(first.root) == store.digests(second.root)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: (tensors | {"b": tensors["b"] + 1}, card()),
        lambda tensors: (tensors | {"c": tensors["a"]}, card()),
        lambda tensors: (tensors, card(scores={"loss": 0.2})),
        lambda tensors: (tensors, card(parents={"autoencoder": "0" * 64})),
    ],
)
def test_other_content_has_another_digest(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], tuple[dict[str, Tensor], Card]]
) -> None:
    registry = Registry(str(tmp_path))
    digest = registry.publish("denoiser", TENSORS, card())
    tensors = {name: tensor.clone() for name, tensor in TENSORS.items()}
    assert registry.publish("denoiser", *change(tensors)) != digest
    assert len(registry.list()) == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "card.json"])
@pytest.mark.parametrize("position", [0, 20, -2])
def test_one_altered_byte_is_refused(tmp_path: Path, name: str, position: int) -> None:
    registry = Registry(str(tmp_path))
    digest = registry.publish("denoiser", TENSORS, card())
    replace_byte(store.join(str(tmp_path), "denoiser", digest, name), position)
    with pytest.raises(ValueError, match=rf"{name} was altered: digest \w+, expected \w+$"):
        registry.load("denoiser", digest)
    with pytest.raises(ValueError, match=f"{name} was altered"):
        registry.publish("denoiser", TENSORS, card())


@pytest.mark.s3
def test_one_altered_byte_on_s3_is_refused(s3_root: str) -> None:
    registry = Registry(s3_root)
    digest = registry.publish("denoiser", TENSORS, card())
    replace_byte(store.join(s3_root, "denoiser", digest, "weights.safetensors"), -1)
    with pytest.raises(ValueError, match="altered"):
        registry.load("denoiser", digest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    digest = registry.publish("denoiser", TENSORS, card())
    (tmp_path / "denoiser" / digest / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing"):
        registry.load("denoiser", digest)


def test_a_publication_killed_between_its_files_is_not_listed_and_can_be_finished(
    tmp_path: Path,
) -> None:
    registry = Registry(str(tmp_path))
    digest = registry.publish("denoiser", TENSORS, card())
    (tmp_path / "denoiser" / digest / "card.json").unlink()
    assert registry.list() == ()
    with pytest.raises(ComponentNotFoundError):
        registry.resolve("denoiser", digest)
    assert registry.publish("denoiser", TENSORS, card()) == digest
    assert registry.load("denoiser", digest).digest == digest


@pytest.mark.parametrize("ref", ["other", "0" * 64, "0123456789", "abc", "../denoiser", ""])
def test_a_missing_reference_says_what_there_is(root: str, ref: str) -> None:
    registry = Registry(root)
    digest = registry.publish("denoiser", TENSORS, card())
    registry.alias("denoiser", "best", digest)
    with pytest.raises(
        ComponentNotFoundError, match=rf"no denoiser .*best, {digest[:12]}"
    ) as info:
        registry.resolve("denoiser", ref)
    assert "\n" not in str(info.value)


def test_a_missing_component_is_refused(root: str) -> None:
    with pytest.raises(ComponentNotFoundError, match="no denoiser 'best'; allowed: nothing"):
        Registry(root).load("denoiser", "best")


def test_an_alias_moves(root: str) -> None:
    registry = Registry(root)
    first = registry.publish("denoiser", TENSORS, card())
    second = registry.publish("denoiser", TENSORS, card(scores={"loss": 0.05}))
    registry.alias("denoiser", "best", first)
    registry.alias("denoiser", "best", second)
    assert registry.resolve("denoiser", "best") == second
    entries = {entry.digest: entry.aliases for entry in registry.list()}
    assert entries == {first: (), second: ("best",)}


@pytest.mark.parametrize("name", ["deadbeef", "a/b", "", ".hidden"])
def test_an_alias_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    registry = Registry(str(tmp_path))
    digest = registry.publish("denoiser", TENSORS, card())
    with pytest.raises(ValueError, match="allowed are letters"):
        registry.alias("denoiser", name, digest)


def test_an_alias_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComponentNotFoundError, match="no denoiser"):
        Registry(str(tmp_path)).alias("denoiser", "best", "0" * 64)


def test_a_broken_alias_is_named(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.alias("denoiser", "best", registry.publish("denoiser", TENSORS, card()))
    (tmp_path / "denoiser" / "aliases" / "best").write_text("torn")
    with pytest.raises(ValueError, match=r"aliases/best holds 'torn'"):
        registry.load("denoiser", "best")


def test_the_card_must_be_the_components(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="component 'autoencoder': its card is of 'denoiser'"):
        Registry(str(tmp_path)).publish("autoencoder", TENSORS, card())


def test_another_parent_is_refused(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    good, bad = (
        registry.load("autoencoder", registry.publish("autoencoder", tensors, card("autoencoder")))
        for tensors in (TENSORS, {"a": torch.zeros(1)})
    )
    child = card(parents={"autoencoder": good.digest})
    denoiser = registry.load("denoiser", registry.publish("denoiser", TENSORS, child))
    check_parents(denoiser, [good])
    with pytest.raises(ValueError, match=f"autoencoder {good.digest[:12]}, not with"):
        check_parents(denoiser, [good, bad])


def test_a_chain_asks_its_registries_in_order(tmp_path: Path) -> None:
    user, packaged = Registry(str(tmp_path / "user")), Registry(str(tmp_path / "packaged"))
    chain = RegistryChain([user, packaged])
    old = packaged.publish("denoiser", TENSORS, card())
    packaged.alias("denoiser", "best", old)
    assert chain.load("denoiser", "best").digest == old
    new = user.publish("denoiser", TENSORS, card(scores={"loss": 0.05}))
    user.alias("denoiser", "best", new)
    assert chain.load("denoiser", "best").digest == new
    assert chain.load("denoiser", old[:10]).digest == old
    assert [entry.digest for entry in chain.list()] == [new, old]
    with pytest.raises(ComponentNotFoundError, match=r"user: no .*packaged: no "):
        chain.resolve("denoiser", "worst")


def test_a_chain_does_not_hide_an_altered_component(tmp_path: Path) -> None:
    user, packaged = Registry(str(tmp_path / "user")), Registry(str(tmp_path / "packaged"))
    for registry in (user, packaged):
        registry.alias("denoiser", "best", registry.publish("denoiser", TENSORS, card()))
    digest = user.resolve("denoiser", "best")
    replace_byte(store.join(user.root, "denoiser", digest, "weights.safetensors"), -1)
    with pytest.raises(ValueError, match="altered"):
        RegistryChain([user, packaged]).load("denoiser", "best")


def test_the_packaged_registry_is_whole_and_read_only() -> None:
    registry = packaged_registry()
    for entry in registry.list():
        assert registry.load(entry.component, entry.digest).digest == entry.digest
    with pytest.raises(ValueError, match="read-only"):
        registry.publish("denoiser", TENSORS, card())
    with pytest.raises(ValueError, match="read-only"):
        registry.alias("denoiser", "best", "0" * 64)
