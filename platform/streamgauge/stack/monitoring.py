"""Prometheus and Alertmanager, from Debian, configured from platform/observability/."""

import json
import os
from pathlib import Path
from string import Template

import httpx

from streamgauge.settings import CHECKOUT, PREFIX, runbooks_url
from streamgauge.stack.credentials import Credentials
from streamgauge.stack.installed import debian_program, server_user
from streamgauge.stack.layout import LOOPBACK, Layout, private_folder, stack_file, write_private
from streamgauge.stack.part import NotReady, Program
from streamgauge.telemetry.catalog.servers import JOBS, SERVERS

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
    servers = {f"{job.name}_SERIES": "|".join(m.name for m in SERVERS if m.emitters == (job,)) for job in JOBS}
    _render("prometheus.yaml", folder, credentials.layout, "servers.yaml", RULES=str(rules), **servers)


def prepare_alertmanager(credentials: Credentials) -> None:
    debian_program("prometheus-alertmanager")
    folder = private_folder(credentials.layout.part("alertmanager"), server_user())
    url = os.environ.get(f"{PREFIX}ALERT_WEBHOOK_URL")
    webhook = f"{{ url: {json.dumps(url)} }}" if url else ""
    _render("alertmanager.yaml", folder, credentials.layout, WEBHOOK=webhook)


def _render(name: str, folder: Path, layout: Layout, *appended: str, **more: str) -> None:
    ports = {f"{port.upper().replace('-', '_')}_PORT": str(layout.port(port)) for port in stack_file().ports}
    template = "".join((_TEMPLATES / part).read_text() for part in (name, *appended))
    text = Template(template).substitute(ports, HOST=LOOPBACK, **more)
    write_private(folder / name, text, server_user())


def prometheus(credentials: Credentials) -> Program:
    folder = credentials.layout.part("prometheus")
    return Program(
        (
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=31d",  # an SLO's window is 30 days
            f"--web.listen-address={LOOPBACK}:{credentials.layout.port('prometheus')}",
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
        answer = httpx.get(f"http://{LOOPBACK}:{credentials.layout.port(part)}{path}", timeout=3)
        answer.raise_for_status()
        found = answer.json()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    for key in keys:
        found = found[key]
    return str(found)
