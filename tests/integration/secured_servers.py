"""Servers as somebody else runs them: TLS everywhere, every kind of Kafka login, and a Postgres without TimescaleDB."""

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streamgauge.settings import CHECKOUT, PREFIX
from streamgauge.stack.installed import java, kafka_jars, postgres_bin, redis_server, registry_jar, server_user
from tests.integration.free_port import free_port
from tests.integration.program import running_program

HOST = "127.0.0.1"
PASSWORD = "a password of the tests' own servers"
ROLES = ("admin", "producer", "worker", "batch", "api", "reader")
LOGINS = ("SSL", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
"""By certificate, and by each mechanism that confluent-kafka's own build knows."""

_KAFKA = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=CERTIFICATE://{host}:{certificate},PASSWORD://{host}:{password},CONTROLLER://{host}:{controller}
advertised.listeners=CERTIFICATE://{host}:{certificate},PASSWORD://{host}:{password}
listener.security.protocol.map=CERTIFICATE:SSL,PASSWORD:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CERTIFICATE
log.dirs={folder}/data
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.certificate.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([a-z]+).*$/$1/
listener.name.password.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
listener.name.password.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.password.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.password.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:localhost;User:ANONYMOUS
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


@dataclass
class SecuredServers:
    folder: Path
    ports: dict[str, int] = field(default_factory=dict[str, int])

    def environment(self, role: str, login: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Settings for a role, with one of the `LOGINS` for Kafka."""
        ca, cert, key = (self.folder / name for name in ("ca.pem", f"{role}.pem", f"{role}.key"))
        kafka: dict[str, object] = {"kafka_ca_file": ca}
        if login == "SSL":
            kafka |= {
                "kafka_bootstrap_servers": f"{HOST}:{self.ports['certificate']}",
                "kafka_security_protocol": "SSL",
                "kafka_certificate_file": cert,
                "kafka_key_file": key,
            }
        else:
            kafka |= {
                "kafka_bootstrap_servers": f"{HOST}:{self.ports['password']}",
                "kafka_security_protocol": "SASL_SSL",
                "kafka_sasl_mechanism": login,
            }
        if login == "OAUTHBEARER":
            token = {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": f"principal={role}"}
            kafka["kafka_properties"] = json.dumps(token)
        elif login != "SSL":
            kafka |= {"kafka_username": role, "kafka_password": PASSWORD}
        more = {
            "registry_url": f"https://{HOST}:{self.ports['registry']}/apis/ccompat/v7",
            "registry_ca_file": ca,
            "postgres_dsn": f"postgresql://streamgauge_{role}@{HOST}:{self.ports['postgres']}/streamgauge"
            f"?sslmode=verify-full&sslrootcert={ca}&passfile={self.folder / 'pgpass'}",
            "redis_url": f"rediss://{HOST}:{self.ports['redis']}/0?ssl_ca_certs={ca}",
            "pseudonym_key": "of the secured servers",
            "data_dir": self.folder / role,
        }
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in {**kafka, **more}.items()}


@contextmanager
def secured_servers(folder: Path) -> Generator[SecuredServers]:
    """All four, ready. Leaving the block ends them."""
    servers = SecuredServers(folder)
    for name in ("certificate", "password", "controller", "registry", "management", "postgres", "redis"):
        servers.ports[name] = free_port()
    _certificates(folder)
    (folder / "pgpass").write_text(f"{HOST}:*:*:*:{PASSWORD}\n")
    (folder / "pgpass").chmod(0o600)
    with ExitStack() as stack:
        for start in (_postgres, _kafka, _redis, _registry):
            name = start.__name__[1:]
            program = running_program(start(servers), folder / f"{name}.log", folder / name, server_user())
            stack.enter_context(program)
        _wait(folder, _ready(servers))
        yield servers


def _certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert(HOST, "localhost", common_name="localhost")
    chain = b"".join(blob.bytes() for blob in server.cert_chain_pems)
    (folder / "server.crt").write_bytes(chain)
    (folder / "server.key").write_bytes(_pkcs8(server.private_key_pem.bytes()))
    (folder / "server.pem").write_bytes(_pkcs8(server.private_key_pem.bytes()) + chain)
    for role in ROLES:
        client = authority.issue_cert(HOST, common_name=role)
        client.cert_chain_pems[0].write_to_path(folder / f"{role}.pem")
        client.private_key_pem.write_to_path(folder / f"{role}.key")


def _pkcs8(key: bytes) -> bytes:
    """Java reads no other form of a key in PEM."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _kafka(servers: SecuredServers) -> list[str]:
    folder = _own_folder(servers.folder, "kafka")
    users = " ".join(f'user_{role}="{PASSWORD}"' for role in ROLES)
    text = _KAFKA.format(host=HOST, folder=folder, users=users, **servers.ports)
    (folder / "server.properties").write_text(text)
    command = [str(java()), "-Xmx256m", f"-Djava.io.tmpdir={folder}", "-cp", f"{kafka_jars()}/*"]
    tool = [*command, "kafka.tools.StorageTool", "format", "--config", str(folder / "server.properties")]
    tool += ["--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA"]
    for role in ROLES:
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            tool += ["--add-scram", f"{mechanism}=[name={role},password={PASSWORD}]"]
    _run(tool)
    return [*command, "kafka.Kafka", str(folder / "server.properties")]


def _registry(servers: SecuredServers) -> list[str]:
    """In memory, with Quarkus's own settings for TLS."""
    folder = _own_folder(servers.folder, "registry")
    settings = {
        "quarkus.http.host": HOST,
        "quarkus.http.insecure-requests": "disabled",
        "quarkus.http.ssl-port": servers.ports["registry"],
        "quarkus.http.ssl.certificate.files": folder / "server.crt",
        "quarkus.http.ssl.certificate.key-files": folder / "server.key",
        "quarkus.management.host": HOST,
        "quarkus.management.port": servers.ports["management"],
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    return [str(java()), "-Xmx256m", f"-Djava.io.tmpdir={folder}", *options, "-jar", str(registry_jar())]


def _redis(servers: SecuredServers) -> list[str]:
    folder = _own_folder(servers.folder, "redis")
    files = {"ca-cert": "ca.pem", "cert": "server.crt", "key": "server.key"}
    tls = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(folder / file))]
    return [
        *(str(redis_server()), "--port", "0", "--tls-port", str(servers.ports["redis"]), "--bind", HOST),
        *("--tls-auth-clients", "no", "--dir", str(folder), "--save", "", *tls),
    ]


def _postgres(servers: SecuredServers) -> list[str]:
    folder = _own_folder(servers.folder, "postgres")
    data = folder / "data"
    _run([str(postgres_bin("initdb")), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--auth-local=trust"])
    (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
    settings = {
        "listen_addresses": HOST,
        "port": servers.ports["postgres"],
        "unix_socket_directories": folder,
        "ssl": "on",
        "ssl_cert_file": folder / "server.crt",
        "ssl_key_file": folder / "server.key",
    }
    return [str(postgres_bin("postgres")), "-D", str(data), *(f"--{n}={v}" for n, v in settings.items())]


def make_roles(servers: SecuredServers) -> None:
    """By the script that docs/deploy.md names, on a server that has no TimescaleDB to offer."""
    socket = servers.folder / "postgres"
    at = ["-h", str(socket), "-p", str(servers.ports["postgres"]), "-U", "postgres"]
    _run(["createdb", *at, "streamgauge"])
    script = (CHECKOUT / "platform" / "deploy" / "roles.sql").read_text()
    # It asks what the server could install, and this machine's has TimescaleDB beside it.
    script = script.replace("name = 'timescaledb'", "name = 'timescaledb_that_a_provider_does_not_have'")
    logins = ("admin", "worker", "batch", "api", "reader", "registry", "dagster")
    variables = [part for login in logins for part in ("-v", f"{login}={PASSWORD}")]
    _run(["psql", *at, "-d", "postgres", "-v", "ON_ERROR_STOP=1", *variables, "-f", "-"], script)


def _own_folder(folder: Path, name: str) -> Path:
    own = folder / name
    own.mkdir()
    for file in ("ca.pem", "server.crt", "server.key", "server.pem"):
        shutil.copy(folder / file, own)
        (own / file).chmod(0o600)
    user = server_user()
    if user is not None:
        for path in (own, *own.iterdir()):
            shutil.chown(path, user)
        for above in (folder, *folder.parents):
            if above.owner() == "root" and above.stat().st_mode & 0o001 == 0:
                above.chmod(above.stat().st_mode | 0o011)
    return own


def _run(command: list[str], text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, user=server_user(), cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


def _ready(servers: SecuredServers) -> Iterable[Callable[[], object]]:
    context = ssl.create_default_context(cafile=servers.folder / "ca.pem")
    url = f"https://{HOST}:{servers.ports['registry']}/apis/ccompat/v7/subjects"

    def answers() -> bool:
        return httpx.get(url, verify=context, timeout=2).is_success

    def accepts() -> bool:
        socket = str(servers.folder / "postgres")
        psycopg.connect(host=socket, port=servers.ports["postgres"], user="postgres", dbname="postgres").close()
        return True

    return answers, accepts


def _wait(folder: Path, conditions: Iterable[Callable[[], object]]) -> None:
    until = time.monotonic() + 90
    for condition in conditions:
        while True:
            try:
                if condition():
                    break
            except (httpx.TransportError, psycopg.OperationalError):
                pass
            assert time.monotonic() < until, {p.name: p.read_text()[-1500:] for p in folder.glob("*.log")}
            time.sleep(0.2)


def clean_environment() -> dict[str, str]:
    """This process's, without what another stack's settings would add."""
    return {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
