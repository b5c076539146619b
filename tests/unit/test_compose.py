"""compose.yaml: valid by the Compose Specification, and the same stack as the local one."""

import json
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from pathspec import PathSpec

from streamgauge.access.load import load_access
from streamgauge.access.logins import logins
from streamgauge.access.postgres import login_of
from streamgauge.access.redis import users_file
from streamgauge.settings import ACCESS_FILE, CHECKOUT, PREFIX, ROLES, Settings
from streamgauge.stack.layout import stack_file

DEPLOY = CHECKOUT / "platform" / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
SERVERS = ("kafka", "postgres", "redis", "registry")


def test_valid_by_the_specification() -> None:
    package = find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    Draft7Validator(json.loads(schema.read_text())).validate(document)  # pyright: ignore[reportUnknownMemberType]


def test_same_versions_as_the_local_stack() -> None:
    versions = stack_file().versions
    assert {name: SERVICES[name]["image"] for name in SERVERS} == {
        "kafka": f"apache/kafka:{versions['kafka']}",
        "postgres": f"timescale/timescaledb:{versions['timescaledb']}-pg{versions['postgres']}-oss",
        "redis": f"redis:{versions['redis']}",
        "registry": f"apicurio/apicurio-registry:{versions['registry']}",
    }


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_secret_comes_from_the_environment() -> None:
    """A password is `${NAME:?…}` and nothing else, also inside a URL."""
    reference = r"\$\{[A-Z_]+_PASSWORD:\?[^}]+\}"
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name.endswith("PASSWORD"):
                assert re.fullmatch(reference, value), name
            elif name.endswith(("_DSN", "REDIS_URL", "POSTGRES_URL")):
                assert re.fullmatch(rf"\w+://\w+:{reference}@[\w:/]+", value), name


def test_make_env_makes_every_password_that_is_asked_for() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    lines = subprocess.run([DEPLOY / "make-env.sh"], capture_output=True, text=True, check=True).stdout.splitlines()
    built = dict(line.split("=") for line in lines)
    assert set(built) == asked
    assert len(set(built.values())) == len(built)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in built.values())


@pytest.mark.parametrize("name", ["apply", "worker", "api", "dagster-code", "dagster", "dagster-daemon"])
def test_our_services_have_settings_that_are_complete_and_known(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment: dict[str, str] = SERVICES[name]["environment"]
    ours = {k: v for k, v in environment.items() if k.startswith(PREFIX)}
    others = {
        "api_host",
        "api_port",
        "runbooks_url",
        *(f"dagster_{name}" for name in ("postgres_url", "code_host", "code_port")),
    }
    assert {k.removeprefix(PREFIX).lower() for k in ours} <= set(Settings.model_fields) | others
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    assert Settings.for_role("worker").kafka_bootstrap_servers == "kafka:9092"


def test_all_of_ours_work_by_the_same_contracts() -> None:
    ours = [s for s in SERVICES.values() if s.get("image", "").startswith("streamgauge")]
    assert len(ours) == 6
    for service in ours:
        assert "${STREAMGAUGE_CONTRACTS:-../contracts}:/contracts:ro" in service["volumes"]


def test_new_volumes_are_the_services_own() -> None:
    """Docker gives a new volume the owner of the folder that the image has at its place."""
    (owned,) = re.findall(r"install -d -o streamgauge (.+) *$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    ours = [s for s in SERVICES.values() if s.get("image", "").startswith("streamgauge")]
    written = {v.split(":")[1] for s in ours for v in s["volumes"] if not v.endswith(":ro")}
    assert written == set(owned.split())


def test_nobody_is_let_in_without_a_key() -> None:
    """Only the local stack's own files turn that on; in front of these services there may be a proxy."""
    assert all(f"{PREFIX}API_ANONYMOUS" not in service.get("environment", {}) for service in SERVICES.values())
    assert Settings.model_fields["api_anonymous"].default == "off"
    assert SERVICES["dagster"]["command"][:3] == ["python", "-m", "assets.dagster_web"]


def test_each_waits_until_what_it_needs_is_ready() -> None:
    assert all("healthcheck" in SERVICES[name] for name in (*SERVERS, "worker", "api", "dagster-code", "dagster"))
    needs = {name: s.get("depends_on", {}) for name, s in SERVICES.items()}
    assert {k: v["condition"] for k, v in needs["apply"].items()} == dict.fromkeys(SERVERS, "service_healthy")
    assert needs["worker"]["apply"]["condition"] == "service_completed_successfully"


def test_logins_and_their_rights_in_redis_are_those_of_the_access_file() -> None:
    access = load_access(ACCESS_FILE)
    wanted = users_file(access, {role: f"{role.upper()}_PASSWORD" for role in ROLES})
    command = "python -m streamgauge.access.redis > platform/deploy/users.acl"
    assert (DEPLOY / "users.acl").read_text() == wanted, command
    built = re.findall(r"^create role (\w+)", (DEPLOY / "roles.sql").read_text(), re.MULTILINE)
    principals = access.principals
    # compose has no exporters, which are all that log in as a member of one of Postgres' own roles
    in_postgres = {login_of(n, principals[n]) for n in logins(access, "postgres") if not principals[n].member_of}
    assert set(built) == in_postgres
    (in_kafka,) = re.findall(r"for role in ([a-z ]+);", (DEPLOY / "kafka.sh").read_text())
    assert set(in_kafka.split()) == set(logins(access, "kafka"))


def test_redis_starts_with_the_passwords_of_its_environment(tmp_path: Path) -> None:
    script = (DEPLOY / "redis.sh").read_text()
    here = script.replace("/streamgauge/users.acl", str(DEPLOY / "users.acl")).replace("/data/", f"{tmp_path}/")
    passwords = {f"REDIS_{role}_PASSWORD": role.lower()[::-1] for role in ("ADMIN", "WORKER", "BATCH", "API", "READER")}
    run = here[: here.index("exec ")]
    subprocess.run(["bash", "-c", run], env={**os.environ, **passwords}, check=True)
    written = (tmp_path / "users.acl").read_text()
    assert "PASSWORD" not in written
    assert [f"on >{p} " in written for p in passwords.values()] == [True] * len(passwords)


def test_scripts_are_valid_bash() -> None:
    for script in sorted(DEPLOY.glob("*.sh")):
        subprocess.run(["bash", "-n", script], check=True)


def test_what_the_dockerfile_copies_is_in_its_context() -> None:
    """.dockerignore has the same patterns as .gitignore, and the last one that fits decides."""
    ignored = PathSpec.from_lines("gitignore", (CHECKOUT / ".dockerignore").read_text().splitlines())
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = [CHECKOUT / source for line in lines for source in line.split()]
    assert len(sources) > 10
    for source in sources:
        inside = [p for p in source.rglob("*") if p.suffix in (".py", ".md") and "node_modules" not in p.parts]
        files = inside if source.is_dir() else [source]
        assert files or source.name == "contracts"
        assert not [p for p in files if ignored.match_file(p.relative_to(CHECKOUT))], source
