"""Exporters of the servers' own metrics for Prometheus: of Postgres, Redis, the host and the stack's Python processes,
each a Debian package. Kafka's is an agent within its JVM (streamgauge.stack.kafka).

Each has a login that reads figures and no data, and listens on loopback. None is needed for anything but its figures.
"""

import httpx

from streamgauge.stack.credentials import DATABASE, MONITOR_ROLE, Credentials
from streamgauge.stack.installed import debian_program, server_user
from streamgauge.stack.layout import LOOPBACK, STACK_DIR, Layout, private_folder, write_private
from streamgauge.stack.part import NotReady, Program

_PYTHON = {
    "worker": "streamgauge.cli worker",
    "api": "streamgauge.cli api",
    "dagster-code": "dagster code-server",
    "dagster": "assets.dagster_web",
    "dagster-daemon": "dagster._daemon",
}
"""Parts by what their command lines have in common; their children, such as Dagster's runs, count as theirs."""


def instance_mark(layout: Layout) -> tuple[str, ...]:
    """Options of Python that change nothing: they tell this instance's processes from those of another."""
    return ("-X", f"instance={layout.instance}")


def prepare_postgres(credentials: Credentials) -> None:
    debian_program("prometheus-postgres-exporter")
    folder = private_folder(credentials.layout.part("postgres-exporter"), server_user())
    # copied: the servers' user may not be able to enter the checkout
    write_private(folder / "queries.yaml", (STACK_DIR / "postgres-queries.yaml").read_text(), server_user())


def postgres(credentials: Credentials) -> Program:
    layout = credentials.layout
    login = f"{MONITOR_ROLE}:{credentials.of('postgres', MONITOR_ROLE)}"
    return Program(
        (
            "prometheus-postgres-exporter",
            f"--web.listen-address={_address(layout, 'postgres-metrics')}",
            f"--extend.query-path={layout.part('postgres-exporter') / 'queries.yaml'}",
            "--disable-settings-metrics",
            "--log.level=warn",
        ),
        user=server_user(),
        environment={
            "DATA_SOURCE_NAME": f"postgresql://{login}@{LOOPBACK}:{layout.port('postgres')}/{DATABASE}?sslmode=disable"
        },
    )


def prepare_redis(credentials: Credentials) -> None:
    del credentials
    debian_program("prometheus-redis-exporter")


def redis(credentials: Credentials) -> Program:
    layout = credentials.layout
    return Program(
        (
            "prometheus-redis-exporter",
            f"-web.listen-address={_address(layout, 'redis-metrics')}",
            "-redis-only-metrics",
            "-config-command=-",  # its configuration is none of the exporter's business
        ),
        user=server_user(),
        environment={
            "REDIS_ADDR": f"redis://{LOOPBACK}:{layout.port('redis')}",
            "REDIS_USER": MONITOR_ROLE,
            "REDIS_PASSWORD": credentials.of("redis", MONITOR_ROLE),
        },
    )


def prepare_host(credentials: Credentials) -> None:
    del credentials
    debian_program("prometheus-node-exporter")


def host(credentials: Credentials) -> Program:
    collectors = ("cpu", "meminfo", "filesystem", "diskstats", "loadavg")
    return Program(
        (
            "prometheus-node-exporter",
            f"--web.listen-address={_address(credentials.layout, 'host-metrics')}",
            "--web.disable-exporter-metrics",
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in collectors),
            "--log.level=warn",
        ),
        user=server_user(),
    )


def prepare_processes(credentials: Credentials) -> None:
    debian_program("prometheus-process-exporter")
    layout = credentials.layout
    folder = private_folder(layout.part("process-exporter"))
    _, mark = instance_mark(layout)
    groups = [f"- name: {part}\n  cmdline: ['{mark} -m {command}']\n" for part, command in _PYTHON.items()]
    write_private(folder / "groups.yaml", "process_names:\n" + "".join(groups))


def processes(credentials: Credentials) -> Program:
    """As the user of the processes: the kernel tells nobody else of their files."""
    layout = credentials.layout
    return Program(
        (
            "prometheus-process-exporter",
            f"-web.listen-address={_address(layout, 'process-metrics')}",
            f"-config.path={layout.part('process-exporter') / 'groups.yaml'}",
        )
    )


def probe(credentials: Credentials, port: str) -> str:
    try:
        url = f"http://{_address(credentials.layout, port)}/metrics"
        answer = httpx.get(url, timeout=5).raise_for_status()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    if not answer.text:
        raise NotReady("it has no figures yet")
    return "answers"


def _address(layout: Layout, port: str) -> str:
    return f"{LOOPBACK}:{layout.port(port)}"
