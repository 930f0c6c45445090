import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
import yaml

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
Change = Callable[["Tiny", dict[str, object], Path], None]


def run_with(losda: Losda, tiny: "Tiny", folder: Path, change: Change) -> tuple[int, str]:
    """Run on copies of data and registry that were changed; nothing must be written."""
    document = tiny.document()
    data, registry = folder / "data.zarr", folder / "registry"
    shutil.copytree(tiny.data, data)
    shutil.copytree(tiny.registry, registry)
    reference = document["reference"]
    assert isinstance(reference, dict)
    reference["address"], document["registry"] = str(data), str(registry)
    change(tiny, document, folder)
    config = folder / "bad.yaml"
    config.write_text(yaml.safe_dump(document))
    code, out, err = losda("run", config, "--out", folder / "e", "--json")
    assert out == ""
    assert not (folder / "e").exists()
    return code, err


def data_change(change: Callable[[xr.Dataset], xr.Dataset]) -> Change:
    def apply(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
        ds = change(xr.open_zarr(tiny.data, consolidated=False).load())
        for variable in ds.variables.values():
            variable.encoding = {}
        shutil.rmtree(folder / "data.zarr")
        ds.to_zarr(folder / "data.zarr", zarr_format=3, consolidated=False)

    return apply


def not_a_number(ds: xr.Dataset) -> xr.Dataset:
    t = ds["t"].copy()
    t[10, 1, 2, 3] = np.nan
    return ds.assign(t=t)


def wrong_unit(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign(t=ds["t"].assign_attrs(units="degC"))


def other_autoencoder(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    from tasks.registry import Registry

    registry = Registry(str(folder / "registry"))
    loaded = registry.load("autoencoder", "tiny")
    tensors = {name: tensor + 0.5 for name, tensor in loaded.tensors.items()}
    digest = registry.publish("autoencoder", tensors, loaded.card)
    registry.alias("autoencoder", "tiny", digest)


def one_byte(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    weights = next((folder / "registry" / "denoiser").glob("*/weights.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def no_checkpoint(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    shutil.rmtree(folder / "registry" / "denoiser")


def unknown_key(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    document["metod"] = {"kind": "free"}


def unknown_method(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    document["method"] = {"kind": "4dvar"}


def embedded_model(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    document["forecast_model"] = {"kind": "embedded"}


def too_long(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
    document["cycles"] = 100


def observing(**settings: object) -> Change:
    def apply(tiny: "Tiny", document: dict[str, object], folder: Path) -> None:
        observations = document["observations"]
        assert isinstance(observations, dict)
        document["observations"] = observations | settings

    return apply


CASES = {
    "NaN in the reference": (data_change(not_a_number), ["t@850", "nan"]),
    "wrong unit": (data_change(wrong_unit), ["'t@500'", "'degC' taken as 'K'"]),
    "missing variable": (data_change(lambda ds: ds.drop_vars("msl")), ["msl", "missing"]),
    "missing times": (too_long, ["2001", "present"]),
    "another autoencoder": (other_autoencoder, ["denoiser", "autoencoder", "trained with"]),
    "one byte of a checkpoint": (one_byte, ["weights.safetensors", "altered", "expected"]),
    "missing checkpoint": (no_checkpoint, ["denoiser", "tiny"]),
    "unknown key": (unknown_key, ["metod", "allowed"]),
    "unknown method": (unknown_method, ["4dvar", "losda"]),
    "no states at the slots": (
        observing(slots=3),
        ["observations.slots: 3", "-2 h", "data.zarr", "lacks", "2001-01-02 22:00:00"],
    ),
    "slots between the hours": (observing(slots=4), ["observations.slots", "4", "1, 3"]),
    "unknown observed variable": (
        observing(network={"kind": "columns", "variables": ["t", "wind_speed"]}),
        ["observations.network.variables", "'wind_speed'", "t, msl"],
    ),
    "model without its states": (embedded_model, ["embedded", "emulator"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    losda: Losda, tiny: "Tiny", tmp_path: Path, name: str
) -> None:
    change, words = CASES[name]
    code, line = run_with(losda, tiny, tmp_path, change)
    assert code == 2, line
    assert line.strip().count("\n") == 0, line
    for word in words:
        assert word in line, line


def test_check_reports_every_finding_on_a_line(losda: Losda, tiny: "Tiny") -> None:
    code, out, _ = losda("check", tiny.config)
    assert code == 0
    assert all(line.startswith("ok") for line in out.splitlines())
    code, out, _ = losda("check", tiny.config, "--set", "checkpoints.denoiser=none")
    assert code == 2
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert failed and "denoiser" in failed[0] and "'none'" in failed[0]


def test_unknown_options_and_commands_exit_with_2(losda: Losda) -> None:
    assert losda("run", "embedded", "--cycels", "3")[0] == 2
    assert losda("walk")[0] == 2
    assert losda("status", "/nowhere")[0] == 2
    assert losda("report", "/nowhere")[0] == 2
