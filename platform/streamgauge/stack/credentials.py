"""Passwords of this instance, made once, and the settings of each role that follow from them."""

import fcntl
import json
import secrets
from dataclasses import dataclass
from typing import get_args

from streamgauge.settings import PREFIX, Role, Settings
from streamgauge.stack.layout import LOOPBACK, Layout, write_private

ROLES: tuple[Role, ...] = get_args(Role)
REGISTRY_ROLE = "registry"
"""The schema registry's own login to Postgres."""

DAGSTER_ROLE = "dagster"
"""Dagster's own login to its own database."""

PROMETHEUS = "prometheus"
"""Prometheus's own login to Alertmanager, and to itself."""

MONITOR_ROLE = "monitor"
"""The exporters' login to Postgres and Redis: it reads their figures, and nothing that they store."""

DATABASE = "streamgauge"
WITH_POSTGRES: tuple[Role, ...] = ("admin", "worker", "batch", "api", "reader")
"""The producer knows Kafka and the registry only."""
WITH_MONITORING: tuple[Role, ...] = ("batch", "api", "reader")
"""Who asks Prometheus or Alertmanager."""


@dataclass(frozen=True)
class Credentials:
    layout: Layout
    passwords: dict[str, str]

    def of(self, server: str, user: str) -> str:
        return self.passwords[f"{server}.{user}"]

    def monitoring_url(self, part: str, role: Role) -> str:
        """Of Prometheus or Alertmanager, with the role's login."""
        return f"http://{role}:{self.of('monitoring', role)}@{LOOPBACK}:{self.layout.port(part)}"

    def values(self, role: Role) -> dict[str, str]:
        port = self.layout.port
        values = {
            "kafka_bootstrap_servers": f"{LOOPBACK}:{port('kafka')}",
            "kafka_username": role,
            "kafka_password": self.of("kafka", role),
            "registry_url": f"http://{LOOPBACK}:{port('registry')}/apis/ccompat/v7",
            "postgres_dsn": "",
            "redis_url": "",
            "dagster_url": f"http://{LOOPBACK}:{port('dagster')}",
            "api_url": f"http://{LOOPBACK}:{port('serving')}",
        }
        if role in WITH_MONITORING:
            values |= {f"{part}_url": self.monitoring_url(part, role) for part in ("prometheus", "alertmanager")}
        if role == "api":
            values["api_anonymous"] = "loopback"
        if role == "producer":
            values["metrics_port"] = str(port("producer-metrics"))
        if role in WITH_POSTGRES:
            login = f"streamgauge_{role}:{self.of('postgres', role)}"
            values["postgres_dsn"] = f"postgresql://{login}@{LOOPBACK}:{port('postgres')}/{DATABASE}"
            values["redis_url"] = f"redis://{role}:{self.of('redis', role)}@{LOOPBACK}:{port('redis')}/0"
        return values

    def settings(self, role: Role) -> Settings:
        """What this stack's servers expect, whatever the process environment says."""
        return Settings.model_validate(
            {**self.values(role), "instance": self.layout.instance, "data_dir": self.layout.root}
        )


def credentials(layout: Layout) -> Credentials:
    """Reads this instance's passwords, makes those that are missing, and writes each role's file anew.

    One process at a time: two that both found none would each make a set, and servers would start with either.
    """
    with layout.credentials_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _complete(layout)


def _complete(layout: Layout) -> Credentials:
    store = layout.credentials / "passwords.json"
    known: dict[str, str] = json.loads(store.read_text()) if store.exists() else {}
    passwords = {name: known.get(name) or secrets.token_hex(24) for name in _names()}
    if passwords != known:
        write_private(store, json.dumps(passwords, indent=1) + "\n")
    made = Credentials(layout, passwords)
    for role in ROLES:
        lines = [f"{PREFIX}{name.upper()}={value}\n" for name, value in made.values(role).items()]
        write_private(layout.credentials / f"{role}.env", "".join(lines))
    return made


def _names() -> list[str]:
    return [
        *(f"kafka.{role}" for role in ROLES),
        *(f"{server}.{role}" for server in ("postgres", "redis") for role in WITH_POSTGRES),
        *(f"monitoring.{user}" for user in (*WITH_MONITORING, PROMETHEUS)),
        *(f"postgres.{role}" for role in (REGISTRY_ROLE, DAGSTER_ROLE, MONITOR_ROLE)),
        f"redis.{MONITOR_ROLE}",
    ]
