"""Prometheus and Alertmanager, from Debian, configured from platform/observability/."""

import json
import os
from pathlib import Path
from string import Template

import httpx

from streamgauge.access.logins import logins
from streamgauge.settings import CHECKOUT, PREFIX, runbooks_url
from streamgauge.stack.credentials import PROMETHEUS, Credentials
from streamgauge.stack.installed import debian_program, server_user
from streamgauge.stack.layout import LOOPBACK, Layout, private_folder, stack_file, write_private
from streamgauge.stack.part import NotReady, Program
from streamgauge.telemetry.catalog.servers import JOBS, SERVERS

_WEB = "web.yaml"
_HASH_ROUNDS = 10
"""Prometheus's own example; the password has 192 random bits, so that more would protect nothing."""
_TEMPLATES = CHECKOUT / "platform" / "observability"


def prepare_prometheus(credentials: Credentials) -> None:
    debian_program("prometheus")
    folder = private_folder(credentials.layout.part("prometheus"), server_user())
    rules = private_folder(folder / "rules", server_user())
    for old in rules.glob("*.yaml"):
        old.unlink()
    runbooks = runbooks_url(credentials.values("reader")["api_url"])
    for source in sorted((_TEMPLATES / "rules").glob("*.yaml")):
        # not as a template: rules have placeholders of their own
        text = source.read_text().replace("${RUNBOOKS}", runbooks)
        write_private(rules / source.name, text, server_user())
    login = {"username": PROMETHEUS, "password": credentials.of("monitoring", PROMETHEUS)}
    servers = {f"{job.name}_SERIES": "|".join(m.name for m in SERVERS if m.emitters == (job,)) for job in JOBS}
    places = {"RULES": str(rules), "LOGIN": json.dumps(login), **servers}
    _render("prometheus.yaml", folder, credentials.layout, "servers.yaml", **places)
    _ask_for_login(credentials, folder)


def prepare_alertmanager(credentials: Credentials) -> None:
    debian_program("prometheus-alertmanager")
    folder = private_folder(credentials.layout.part("alertmanager"), server_user())
    url = os.environ.get(f"{PREFIX}ALERT_WEBHOOK_URL")
    webhook = f"{{ url: {json.dumps(url)} }}" if url else ""
    _render("alertmanager.yaml", folder, credentials.layout, WEBHOOK=webhook)
    _ask_for_login(credentials, folder)


def _ask_for_login(credentials: Credentials, folder: Path) -> None:
    """By https://prometheus.io/docs/prometheus/latest/configuration/https/: without it, a browser lets the page of any
    site set silences, and other users of this machine too.
    """
    import bcrypt  # only the local stack has it

    passwords = {user: credentials.of("monitoring", user).encode() for user in logins(credentials.access, "monitoring")}
    users = {u: bcrypt.hashpw(password, bcrypt.gensalt(_HASH_ROUNDS)).decode() for u, password in passwords.items()}
    write_private(folder / _WEB, json.dumps({"basic_auth_users": users}) + "\n", server_user())


def _render(name: str, folder: Path, layout: Layout, *appended: str, **more: str) -> None:
    ports = {f"{port.upper().replace('-', '_')}_PORT": str(layout.port(port)) for port in stack_file().ports}
    template = "".join((_TEMPLATES / part).read_text() for part in (name, *appended))
    text = Template(template).substitute(ports, HOST=LOOPBACK, **more)
    write_private(folder / name, text, server_user())


def prometheus(credentials: Credentials) -> Program:
    folder, port = credentials.layout.part("prometheus"), credentials.layout.port("prometheus")
    own_page = f"http://{LOOPBACK}:{port}".replace(".", r"\.")
    return Program(
        (
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=31d",  # an SLO's window is 30 days
            f"--web.listen-address={LOOPBACK}:{port}",
            f"--web.config.file={folder / _WEB}",
            # by default a browser lets every site's page read it
            f"--web.cors.origin={own_page}",
            "--log.level=warn",
        ),
        user=server_user(),
    )


def alertmanager(credentials: Credentials) -> Program:
    layout = credentials.layout
    folder = layout.part("alertmanager")
    return Program(
        (
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yaml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{layout.port('alertmanager')}",
            f"--web.config.file={folder / _WEB}",
            "--cluster.listen-address=",  # one alone
            "--log.level=warn",
        ),
        user=server_user(),
    )


def probe_prometheus(credentials: Credentials) -> str:
    return _probe("prometheus", credentials, "/api/v1/status/buildinfo", "data", "version")


def probe_alertmanager(credentials: Credentials) -> str:
    return _probe("alertmanager", credentials, "/api/v2/status", "versionInfo", "version")


def _probe(part: str, credentials: Credentials, path: str, *keys: str) -> str:
    try:
        answer = httpx.get(f"{credentials.monitoring_url(part, 'reader')}{path}", timeout=3)
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    if not answer.is_success:
        raise NotReady(f"HTTP {answer.status_code}")
    found = answer.json()
    for key in keys:
        found = found[key]
    return str(found)
