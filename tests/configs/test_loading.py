import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from configs import Config, ConfigError, load, presets
from configs.loading import merge, nest

MISTAKES = [
    # override, field that the line names, value, what was allowed
    ("metod.preset=paper", "metod", "paper", "method"),
    ("observations.netwrok=3", "observations.netwrok", "3", "network"),
    ("method.kind=4dvar", "method.kind", "4dvar", "'losda'"),
    ("method.preset=quick", "method.preset", "quick", "'paper' or 'fast'"),
    ("method.members=0", "method.members", "0", "greater than or equal to 1"),
    ("method.start=.nan", "method.start", "nan", "finite"),
    ("observations.network.fraction=1.5", "observations.network.fraction", "1.5", "equal to 1"),
    ("observations.network.noise=-0.1", "observations.network.noise", "-0.1", "equal to 0"),
    ("observations.network.variables=[]", "observations.network.variables", "[]", "at least 1"),
    ("observations.network={kind: swath, width: 0}", "network.width", "0", "greater than 0"),
    ("observations.network={kind: radar}", "observations.network.kind", "radar", "'swath'"),
    ("observations.slots=0", "observations.slots", "0", "greater than or equal to 1"),
    ("observations.slots=2", "observations.slots", "2", "1, 3"),
    ("observations.slots=6", "observations.slots", "6", "1, 3"),
    ("observations.at_own_time=maybe", "observations.at_own_time", "maybe", "boolean"),
    ("observations.network=3", "observations.network", "3", "mapping"),
    ("step=PT90M", "step", "PT90M", "hours"),
    ("step=-PT6H", "step", "-PT6H", "positive"),
    ("start=yesterday", "start", "yesterday", "ISO 8601"),
    ("start=2005-01-01T00:30", "start", "00:30", "whole hour"),
    ("first_guess.lead=P1DT1H", "first_guess.lead", "P1DT1H", "PT6H"),
    ("verification.forecast_lead=P5DT6H", "forecast_lead", "P5DT6H", "P1D"),
    ("seed=-1", "seed", "-1", "greater than or equal to 0"),
    ("cycles=many", "cycles", "many", "integer"),
    ("name=a b", "name", "a b", "pattern"),
    ("reference.kind=zarr", "reference.address", "missing", "no default"),
    ("reference={kind: grib}", "reference.kind", "grib", "'zarr'"),
    ("seed=x: [", "seed", "x: [", "YAML"),
    ("cycles", "--set", "cycles", "key=value"),
]


@pytest.mark.parametrize(("override", "field", "value", "allowed"), MISTAKES)
def test_a_mistake_is_one_line_with_field_value_and_what_is_allowed(
    override: str, field: str, value: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load("embedded", [override])
    line = str(error.value)
    assert "\n" not in line
    assert field in line and value in line and allowed in line


def test_an_unknown_name_lists_the_presets() -> None:
    with pytest.raises(ConfigError, match=r"'embeded'.*embedded"):
        load("embeded")


@pytest.mark.parametrize("text", ["a: [", "3", "- a"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load(str(path))


def test_set_wins_over_environment_over_yaml_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("name: e\nstart: 2005-01-01\nseed: 1\ncycles: 1\nspin_up: 1\n")
    monkeypatch.setenv("LOSDA_SEED", "2")
    monkeypatch.setenv("LOSDA_CYCLES", "2")
    monkeypatch.setenv("LOSDA_OBSERVATIONS__NETWORK__NOISE", "0.2")
    config = load(str(path), ["seed=3"])
    assert (config.seed, config.cycles, config.spin_up) == (3, 2, 1)
    assert config.observations.network.noise == 0.2
    assert config.step == timedelta(hours=6)


def test_an_autoencoder_is_given_with_its_statistics_or_not() -> None:
    with pytest.raises(ConfigError, match="statistics, which must be given too"):
        load("embedded", ['train.given=["autoencoder"]'])
    given = load("embedded-emulator").train.given
    assert given == ("world", "statistics", "autoencoder")


def test_an_unknown_key_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSDA_METHOD__STEPZ", "2")
    with pytest.raises(ConfigError, match=r"method\.stepz"):
        load("embedded")


def test_another_kind_drops_the_settings_of_the_first() -> None:
    settings = ["method.preset=paper", "observations.network.stations=9"]
    config = load("embedded", ["observations.network.kind=stations", *settings])
    assert config.method.kind == "losda"
    assert load("embedded", ["method.kind=free"]).method.kind == "free"
    assert merge({"m": {"kind": "a", "x": 1}}, {"m": {"kind": "b"}}) == {"m": {"kind": "b"}}
    assert merge({"m": {"kind": "a", "x": 1}}, {"m": {"y": 2}})["m"]["x"] == 1


def test_dotted_keys_nest_and_the_last_wins() -> None:
    assert nest([("a.b", 1), ("a.c", 2), ("a.b", 3)]) == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize(
    ("hours", "allowed"), [(1, [1]), (6, [1, 3]), (12, [1, 2, 3, 6]), (24, [1, 2, 3, 4, 6, 12])]
)
def test_slots_are_allowed_where_their_centers_are_whole_hours(
    hours: int, allowed: list[int]
) -> None:
    settings = [f"step=PT{hours}H", "verification.forecast_step=P1D"]
    for slots in range(1, hours + 1):
        centers = [(2 * k + 1 - slots) * hours / (2 * slots) for k in range(slots)]
        assert (slots in allowed) == all(center == int(center) for center in centers)
        override = [*settings, f"observations.slots={slots}"]
        if slots in allowed:
            assert load("embedded", override).observations.slots == slots
        else:
            with pytest.raises(ConfigError, match="whole hours"):
                load("embedded", override)


def test_networks_have_their_own_settings() -> None:
    network = ["observations.network.kind=swath", "observations.network.variables=[t, wind_speed]"]
    config = load("embedded", network)
    assert config.observations.network.model_dump() == {
        "kind": "swath", "width": 2000.0, "fraction": 0.05, "noise": 0.1,
        "variables": ("t", "wind_speed"),
    }  # fmt: skip
    assert load("embedded", ["observations.network.noise=0"]).observations.network.noise == 0
    with pytest.raises(ConfigError, match="variables"):
        load("embedded", ["observations.network={kind: stations, variables: [t]}"])


def test_times_are_utc_without_a_zone() -> None:
    assert load("embedded", ["start=2005-01-01T02:00+02:00"]).start == datetime(2005, 1, 1)


def test_the_identity_leaves_out_what_does_not_change_the_result() -> None:
    identity = load("embedded").identity()
    elsewhere = ("registry=/somewhere", "checkpoints.denoiser=old")
    for same in ("cycles=7", "train.seed=5", "operations.attempts=1", *elsewhere):
        assert load("embedded", [same]).identity() == identity, same
    for other in ("seed=1", "method.preset=paper", "step=PT12H", "first_guess.lead=P4D"):
        assert load("embedded", [other]).identity() != identity, other
    json.dumps(identity)


@pytest.mark.parametrize("name", presets())
def test_presets_load_and_survive_a_round_trip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(name, [] if "era" not in name else ["reference.address=/data"])
    assert config.name == name
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert hash(config) == hash(Config.model_validate(config.model_dump()))


def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    from configs.describe import _models

    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for inner in _models(field.annotation):
                models(inner, seen)
    return seen


def test_every_field_is_described_and_every_model_frozen_and_closed() -> None:
    for model in models(Config, set()):
        assert model.model_config["frozen"] and model.model_config["extra"] == "forbid", model
        for name, field in model.model_fields.items():
            assert name == "kind" or field.description, (model, name)
