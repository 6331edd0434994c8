"""docker-compose.yaml and Dockerfile, as far as they can be judged without an engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crossdock.app.alert_sender import ALIVE
from crossdock.cli.prepare import NETWORKS, PASSWORDS_FILE, PLACES, SECRETS
from crossdock.core.settings import RENAMED, Settings
from crossdock.stack.postgres import COMMON_OPTIONS, HUB_OPTIONS
from tests.deploy.compose import FILE, NO_COMPOSE, PROGRAM, PROJECT, REQUIRED, compose, declared, filled_in

needs_compose = pytest.mark.skipif(not PROGRAM.exists(), reason=NO_COMPOSE)
pytestmark = needs_compose

EXAMPLE = (PROJECT / ".env.example").read_text()
#: Not a secret, though as required as one.
PLACE = "HUB_COMMERCETOOLS_URL"
#: Read by Airflow's and Great Expectations' own parts, or by Python.
OTHERS_SETTINGS = {"AIRFLOW_HOME", "SCARF_ANALYTICS", "DO_NOT_TRACK", "GX_ANALYTICS_ENABLED"}


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    return declared(filled_in())


@pytest.fixture(scope="module")
def services(file: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = file["services"]
    return found


def test_compose_accepts_the_file_without_a_word() -> None:
    """`config -q` exits 0 whatever it finds: what it has to say is on standard error."""
    checked = compose(filled_in(), "-q")

    assert (checked.stdout, checked.stderr) == ("", "")


def test_the_file_is_what_the_compose_specification_allows() -> None:
    """Compose passes over some keys that it does not know; the specification's schema does not."""
    program = Path(sys.executable).parent / "check-jsonschema"
    checked = subprocess.run(
        [str(program), "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("empty", [False, True], ids=["unset", "empty"])
def test_a_missing_answer_stops_the_start_and_says_which(name: str, empty: bool) -> None:
    """`.env.example` copied and half filled in must not start something with a blank password."""
    answers = {key: value for key, value in filled_in().items() if key != name} | ({name: ""} if empty else {})
    message = compose(answers, "-q").stderr

    assert f"required variable {name} is missing a value" in message
    assert name == PLACE or "ake it with: openssl rand" in message


def test_no_secret_has_a_default(services: dict[str, Any]) -> None:
    """Whatever looks like a secret in any service comes whole from an answer, and each answer is used."""
    answers = filled_in()
    secrets = {name: value for name, value in answers.items() if name != PLACE}
    settings = [(key, value) for service in services.values() for key, value in service.get("environment", {}).items()]
    secretive = re.compile(r"PASSWORD$|SECRET|_KEY$|CONN$|CONN_ASYNC|BROKER_URL|RESULT_BACKEND|AUTH$")

    assert len(secrets) >= 8
    for key, value in settings:
        # When one expires is no secret.
        is_secretive = secretive.search(key) and key != "HUB_SECRET_EXPIRES_DAYS"
        assert not is_secretive or any(secret in value for secret in secrets.values()), key
    everything = str(services) + str(declared(answers)["configs"])
    assert [name for name, value in secrets.items() if value not in everything] == []


def test_secrets_reach_only_who_needs_them(services: dict[str, Any]) -> None:
    """The passwords of the hub and of the sandbox are in Airflow's connections, encrypted; no task has them in its environment."""
    answers = filled_in()
    where = {
        name: {service for service, its in services.items() if answers[name] in str(its.get("environment"))}
        for name in ("HUB_DB_PASSWORD", "HUB_COMMERCETOOLS_SECRET", "HUB_ADMIN_PASSWORD")
    }

    assert where == {
        "HUB_DB_PASSWORD": {"prepare", "postgres-hub"},
        "HUB_COMMERCETOOLS_SECRET": {"prepare", "sandbox"},
        "HUB_ADMIN_PASSWORD": {"prepare"},
    }


def test_env_example_names_every_answer_and_gives_no_value() -> None:
    """A value in it would be a default secret for everybody who copies it."""
    lines = EXAMPLE.splitlines()

    assert sorted(line.removesuffix("=") for line in lines if line and not line.startswith("#")) == REQUIRED
    optional = set(re.findall(r"^#(\w+)=", EXAMPLE, re.MULTILINE))
    assert optional == set(re.findall(r"\$\{(\w+)(?::?-)", FILE.read_text()))


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != PLACE])
def test_env_example_says_how_to_make_each_secret(name: str) -> None:
    """The command stands in the comment right above, and its output can stand inside an address."""
    above = EXAMPLE.split(f"\n{name}=\n")[0].rsplit("\n\n", 1)[1]
    made = re.search(r"openssl rand .*", above)

    assert made, above
    value = subprocess.run(made.group(), shell=True, capture_output=True, text=True, check=True).stdout  # noqa: S602
    assert re.fullmatch(r"[\w=-]{32,}", value.replace("\n", "")), value


def test_every_image_has_a_version(services: dict[str, Any]) -> None:
    """`latest` is another program tomorrow."""
    for name, service in services.items():
        assert re.search(r":\d+\.\d+(\.\d+)?(-\w+)?$", service["image"]), name


def test_every_service_has_a_health_check_and_limits_and_none_runs_as_root(services: dict[str, Any]) -> None:
    """A health check, limits, a restart policy, a user, no capability; the job ends instead of being healthy."""
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["cpus"], name
        assert int(limits["memory"]) > 0, name
        assert service["user"].split(":")[0] not in {"", "0", "root"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["restart"] == ("on-failure:3" if name == "prepare" else "unless-stopped"), name
        assert service["healthcheck"].get("test") or name == "prepare", name


def test_only_the_api_server_has_a_port_and_only_on_loopback(services: dict[str, Any]) -> None:
    """A database or a broker on every interface is found within the hour."""
    published = {name: [port["host_ip"] for port in its["ports"]] for name, its in services.items() if "ports" in its}

    assert published == {"api-server": ["127.0.0.1"]}


def test_databases_and_broker_have_no_way_out(file: dict[str, Any]) -> None:
    assert file["networks"]["data"]["internal"]
    for name in ("postgres-airflow", "postgres-hub", "valkey"):
        assert list(file["services"][name]["networks"]) == ["data"]


def test_nothing_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    """Databases, then `prepare` to its end, then the api-server, then who speaks to it."""
    conditions = {
        name: {other: needed["condition"] for other, needed in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    healthy = "service_healthy"

    assert conditions["prepare"] == {"postgres-airflow": healthy, "postgres-hub": healthy}
    assert conditions["api-server"] == {"prepare": "service_completed_successfully"}
    for name in ("scheduler", "dag-processor", "triggerer", "worker"):
        assert conditions[name] == {"api-server": healthy, "valkey": healthy}


def test_alerts_are_sent_while_airflow_is_down(services: dict[str, Any]) -> None:
    """Its one condition is that the databases are migrated, and only it knows the secret of the last resort."""
    sender = services["alert-sender"]

    assert list(sender["depends_on"]) == ["prepare"]
    own = set(sender["environment"]) - set(services["scheduler"]["environment"])
    assert own == {"HUB_ALERT_ROUTES", "HUB_ALERT_LAST_RESORT", "HUB_MAIL_FROM", "HUB_AIRFLOW_URL"}
    in_container = f"/tmp/{ALIVE.name}"  # noqa: S108  the container's own
    assert in_container in " ".join(sender["healthcheck"]["test"])


def test_persistent_data_is_on_a_volume(services: dict[str, Any]) -> None:
    """PostgreSQL 18's image keeps its data one folder higher than its elders: at the old place they would be lost."""
    mounted = {name: {volume["target"] for volume in its.get("volumes", [])} for name, its in services.items()}

    assert mounted["postgres-hub"] == mounted["postgres-airflow"] == {"/var/lib/postgresql"}
    assert mounted["valkey"] == {"/data"}
    for name in ("scheduler", "worker", "triggerer", "dag-processor"):
        assert mounted[name] == {"/opt/airflow/logs", "/var/lib/crossdock"}


def test_the_hub_s_server_is_set_as_it_is_tested(services: dict[str, Any]) -> None:
    """The same options as of the servers in every test; what is about this machine alone is left out."""
    command = services["postgres-hub"]["command"]
    options = dict(word.split("=", 1) for word in command if "=" in word)
    local = {"listen_addresses", "unix_socket_directories", "password_encryption", "log_timezone"}

    assert options == {name: value for name, value in {**COMMON_OPTIONS, **HUB_OPTIONS}.items() if name not in local}


def test_the_broker_forgets_nothing(services: dict[str, Any]) -> None:
    """Written to disk, never evicted, behind a password."""
    words = " ".join(services["valkey"]["command"])

    assert "--appendonly yes" in words
    assert "--maxmemory-policy noeviction" in words
    assert "requirepass made-up-valkey-password" in declared(filled_in())["configs"]["valkey.conf"]["content"]


def test_every_setting_in_the_file_exists(services: dict[str, Any], tmp_path: Path) -> None:
    """Airflow and pydantic ignore a misspelt name without a warning."""
    code = (
        "from airflow.configuration import conf\n"
        "for section, about in conf.configuration_description.items():\n"
        "    for option in about['options']: print(f'AIRFLOW__{section}__{option}'.replace('.', '_').upper())"
    )
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)}
    listed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    airflows = set(listed.stdout.split())
    ours = {f"HUB_{name.upper()}" for name in Settings.model_fields}
    prepares = {name for table in (SECRETS, PLACES) for fields in table.values() for name in fields.values()}
    prepares |= set(NETWORKS.values())

    shared = set(services["scheduler"]["environment"])
    # Old names are handed on, so that a deployment that still sets one stops with the new one.
    assert shared - airflows - ours - set(RENAMED) == OTHERS_SETTINGS
    assert set(services["prepare"]["environment"]) - shared == prepares | {"HUB_ADMIN_PASSWORD"}
    assert PASSWORDS_FILE in shared
    for name in ("api-server", "dag-processor", "triggerer", "worker"):
        assert services[name]["environment"] == services["scheduler"]["environment"]


def test_the_image_is_built_from_the_lock_and_runs_without_privileges() -> None:
    """Every package by its hash, nothing fetched from an address, a base image by its version, root dropped permanently."""
    steps = [line for line in (PROJECT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    words = [line.split()[0] for line in steps if line[0].isalpha()]

    assert re.fullmatch(r"FROM python:3\.12\.\d+-slim-bookworm", steps[0])
    assert "ADD" not in words
    assert not [line for line in steps if re.search(r"curl|wget|https?://", line)]
    assert [line for line in steps if "--require-hashes" in line and "requirements.lock" in line]
    assert words[-1] == "USER"
    assert steps[-1] == "USER 50000:50000"


def test_only_code_is_copied_into_the_image() -> None:
    """`.env` and `.hub` hold secrets; a build does not even see them. Astro's copies all that it sees."""
    copied = re.findall(r"^COPY (\S+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    unseen = (PROJECT / ".dockerignore").read_text().splitlines()

    assert sorted(copied) == [
        "airflow_settings.yaml",
        "dags",
        "include",
        "plugins",
        "pyproject.toml",
        "requirements.lock",
    ]
    assert {".env", ".env.*", ".hub", ".git", ".venv"} <= set(unseen)
    assert not [name for name in (*copied, "requirements.txt", "*") if name in unseen]
