"""Passwords of this instance, made once, and the settings of each role that follow from them."""

import fcntl
import json
import secrets
from dataclasses import dataclass

from streamgauge.access.load import load_access
from streamgauge.access.logins import all_logins, logins
from streamgauge.access.model import Access
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, ROLES, Role, Settings, access_file
from streamgauge.stack.layout import LOOPBACK, Layout, write_private

REGISTRY_ROLE = "registry"
"""The schema registry's own login to Postgres."""

DAGSTER_ROLE = "dagster"
"""Dagster's own login to its own database."""

PROMETHEUS = "prometheus"
"""Prometheus's own login to Alertmanager, and to itself."""

MONITOR_ROLE = "monitor"
"""The exporters' login to Postgres and Redis: it reads their figures, and nothing that they store."""

PSEUDONYM_KEY = "pseudonyms.key"
"""The name of the key by which personal values become pseudonyms, among the passwords."""

AUDIT_KEY = "audit.key"
"""The name of the key that signs checkpoints of the audit log, among the passwords."""

LOGS_USER = "logs"
LOGS_KEY = "victoria-logs.password"
"""The name of VictoriaLogs' one password, among the passwords: who writes lines and who reads them have the same."""

DATABASE = "streamgauge"


@dataclass(frozen=True)
class Credentials:
    layout: Layout
    access: Access
    passwords: dict[str, str]

    def of(self, server: str, user: str) -> str:
        """Raises UserError where the access file gives it no login there."""
        try:
            return self.passwords[f"{server}.{user}"]
        except KeyError:
            raise UserError(
                f"{user} has no rights in {server}, and so no login, which the local stack needs",
                "put it back into the access file",
            ) from None

    def monitoring_url(self, part: str, role: str) -> str:
        """Of Prometheus or Alertmanager, with the role's login."""
        return f"http://{role}:{self.of('monitoring', role)}@{LOOPBACK}:{self.layout.port(part)}"

    def values(self, role: str) -> dict[str, str]:
        port, access = self.layout.port, self.access
        values = {
            "kafka_bootstrap_servers": f"{LOOPBACK}:{port('kafka')}",
            "kafka_username": role,
            "kafka_password": self.of("kafka", role),
            "registry_url": f"http://{LOOPBACK}:{port('registry')}/apis/ccompat/v7",
            "postgres_dsn": "",
            "redis_url": "",
            "dagster_url": f"http://{LOOPBACK}:{port('dagster')}",
            "api_url": f"http://{LOOPBACK}:{port('serving')}",
            "zipkin_url": f"http://{LOOPBACK}:{port('zipkin')}",
            "victoria_logs_url": f"http://{LOGS_USER}:{self.passwords[LOGS_KEY]}@{LOOPBACK}:{port('victoria-logs')}",
        }
        if role in logins(access, "monitoring"):
            values |= {f"{part}_url": self.monitoring_url(part, role) for part in ("prometheus", "alertmanager")}
        if role in ("worker", "batch", "api"):
            values["pseudonym_key"] = self.passwords[PSEUDONYM_KEY]
        if role == "batch":
            values["audit_key"] = self.passwords[AUDIT_KEY]
        if role == "api":
            values["api_anonymous"] = "loopback"
        if role == "producer":
            values["metrics_port"] = str(port("producer-metrics"))
        if role in logins(access, "postgres"):
            login = f"streamgauge_{role}:{self.of('postgres', role)}"
            values["postgres_dsn"] = f"postgresql://{login}@{LOOPBACK}:{port('postgres')}/{DATABASE}"
        if role in logins(access, "redis"):
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
    access = load_access(access_file())
    names = [*(f"{server}.{user}" for server, user in all_logins(access)), PSEUDONYM_KEY, AUDIT_KEY, LOGS_KEY]
    passwords = {name: known.get(name) or secrets.token_hex(24) for name in names}
    if passwords != known:
        write_private(store, json.dumps(passwords, indent=1) + "\n")
    built = Credentials(layout, access, passwords)
    for role in dict.fromkeys((*ROLES, *logins(access, "kafka"))):
        lines = [f"{PREFIX}{name.upper()}={value}\n" for name, value in built.values(role).items()]
        write_private(layout.credentials / f"{role}.env", "".join(lines))
    return built
