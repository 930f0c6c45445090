"""The images, the compose file and the Kubernetes template; no container engine is needed.

What an engine would do is not tried here: that the images build and the services start.
"""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from compose_spec import PyCompose
from prefect.utilities.templating import apply_values

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose.schema.json"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, its anchors resolved and its variables at their defaults."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DOCKER / "compose.yaml").read_text())
    return dict(yaml.safe_load(text))


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        (hadolint, DOCKER / "Dockerfile"), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_images_are_pinned_run_as_a_user_and_have_a_health_check() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    stages = text.split("\nFROM ")[1:]
    named = {stage.split(" AS ")[1].split()[0]: stage for stage in stages}
    assert "ARG PYTHON=3." in text and ":latest" not in text
    assert {"cpu", "gpu", "s3"} <= set(named)
    assert "USER 10001:10001" in named["base"] and "USER 10001:10001" in named["s3"]
    assert "HEALTHCHECK" in named["base"] and "HEALTHCHECK" in named["s3"]
    assert named["cpu"].startswith("base") and named["gpu"].startswith("base")
    weed = next(
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if "seaweed" in line
    )
    assert weed in named["s3"]


def test_the_compose_file_fits_the_schema_and_the_specification(compose: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(compose)
    services = PyCompose.from_yaml(yaml.safe_dump(compose)).service_names()
    assert set(services) >= {"database", "s3", "server", "deploy", "worker-cpu", "worker-gpu"}


def test_the_schema_finds_mistakes(compose: dict[str, Any]) -> None:
    wrong = compose | {"services": {"a": {"image": "x", "healthcheck": {"intervall": "3s"}}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(wrong)
    with pytest.raises(ValueError, match="intervall"):
        PyCompose.from_yaml(yaml.safe_dump(wrong))


def test_ports_of_the_host_are_on_loopback_and_passwords_are_asked_for(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:4200:4200"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in services["server"]["environment"]
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if any(word in key for word in ("PASSWORD", "AUTH_STRING", "ACCESS_KEY")):
                assert ":?" in value, f"{name}.{key} has a default"


def test_services_wait_for_those_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, name
            if how["condition"] == "service_healthy":
                has_check = "healthcheck" in services[other] or "build" in services[other]
                assert has_check, f"{name} waits for the health of {other}, which has no check"
    workers = [s for n, s in services.items() if n.startswith("worker-")]
    assert len(workers) == 3
    for worker in workers:
        assert "deploy" in worker["depends_on"]


def test_the_passwords_are_made_once_and_only_for_the_owner(tmp_path: Path) -> None:
    script = tmp_path / "passwords.py"
    script.write_text((DOCKER / "passwords.py").read_text())
    assert subprocess.run((sys.executable, script), check=False).returncode == 0
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o777 == 0o600
    text = made.read_text()
    assert subprocess.run((sys.executable, script), check=False).returncode == 2
    assert made.read_text() == text
    names = {line.partition("=")[0] for line in text.splitlines()}
    used = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert names == used


def test_the_kubernetes_template_asks_for_devices_and_holds_no_secret() -> None:
    template = json.loads((DOCKER / "kubernetes" / "gpu-pool.json").read_text())
    variables = template["variables"]["properties"]
    defaults = {k: v["default"] for k, v in variables.items() if v.get("default") is not None}
    job = apply_values(
        template["job_configuration"], defaults | {"gpus": 2, "name": "run"}, remove_notset=True
    )["job_manifest"]
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["name"] == "prefect-job"  # Prefect's Kubernetes worker insists
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["envFrom"] == [{"secretRef": {"name": "losda"}}]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert "{{" not in json.dumps(job), "a variable without a default"
