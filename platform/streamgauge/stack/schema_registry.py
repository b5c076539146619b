"""Apicurio Registry, which keeps its schemas in the same Postgres, in a database and with a login of its own."""

import httpx

from streamgauge.stack.credentials import REGISTRY_ROLE, Credentials
from streamgauge.stack.installed import java, registry_jar, server_user
from streamgauge.stack.layout import LOOPBACK, fresh_folder, private_folder, write_private
from streamgauge.stack.part import NotReady, Program

_SETTINGS = """\
quarkus.http.host={host}
quarkus.http.port={port}
quarkus.management.host={host}
quarkus.management.port={management_port}
quarkus.http.access-log.enabled=false
apicurio.storage.kind=sql
apicurio.storage.sql.kind=postgresql
apicurio.datasource.url=jdbc:postgresql://{host}:{postgres_port}/{database}
apicurio.datasource.username={database}
apicurio.datasource.password={password}
apicurio.datasource.jdbc.initial-size=2
apicurio.datasource.jdbc.min-size=2
apicurio.datasource.jdbc.max-size=8
"""


def prepare(credentials: Credentials) -> None:
    """Quarkus reads `config/application.properties` in its working folder."""
    layout = credentials.layout
    user = server_user()
    own = private_folder(layout.part("registry"), user)
    fresh_folder(own / "tmp", user)
    folder = private_folder(own / "config", user)
    settings = _SETTINGS.format(
        host=LOOPBACK,
        port=layout.port("registry"),
        management_port=layout.port("registry-management"),
        postgres_port=layout.port("postgres"),
        database=REGISTRY_ROLE,
        password=credentials.of("postgres", REGISTRY_ROLE),
    )
    write_private(folder / "application.properties", settings, user)


def program(credentials: Credentials) -> Program:
    folder = credentials.layout.part("registry")
    # It answers a few requests a minute: compiled once and quickly, it starts with half of the work.
    options = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
    return Program(
        (str(java()), *options, f"-Djava.io.tmpdir={folder / 'tmp'}", "-jar", str(registry_jar())),
        user=server_user(),
        directory=str(folder),
    )


def probe(credentials: Credentials) -> str:
    """Its list of subjects comes out of Postgres: more than that a port is open."""
    base = f"http://{LOOPBACK}:{credentials.layout.port('registry')}/apis"
    try:
        httpx.get(f"{base}/ccompat/v7/subjects", timeout=3).raise_for_status()
        answer = httpx.get(f"{base}/registry/v3/system/info", timeout=3).raise_for_status()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    return str(answer.json()["version"])
