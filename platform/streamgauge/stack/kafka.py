"""Kafka: one node, broker and controller in one, on loopback, with a password for everybody.

https://kafka.apache.org/documentation/#brokerconfigs
"""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

import base64
import logging
import subprocess
import uuid
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from streamgauge.access.logins import logins
from streamgauge.errors import UserError
from streamgauge.stack.credentials import Credentials
from streamgauge.stack.installed import java, jmx_agent, kafka_jars, server_user
from streamgauge.stack.layout import LOOPBACK, STACK_DIR, fresh_folder, private_folder, stack_file, write_private
from streamgauge.stack.part import NotReady, Program
from streamgauge.stores.kafka import admin_client

_SUPER_USER = "admin"
_SCRAM_ITERATIONS = 4096

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
log.dirs={data}

sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
listener.name.clients.scram-sha-256.sasl.jaas.config={scram} required username="{user}" password="{password}";
# The controller's passwords can't lie in the log that it keeps itself, so this listener has PLAIN, from this file.
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} required username="{user}" password="{password}" \
user_{user}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{user}

auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# With one broker there is nobody to hand over to; and one that has handed over answers that the cluster has no broker.
controlled.shutdown.enable=false
num.network.threads=2
num.io.threads=4
# The default alone is a quarter of this heap.
log.cleaner.dedupe.buffer.size=33554432
"""


def prepare(credentials: Credentials) -> None:
    layout = credentials.layout
    user = server_user()
    folder = private_folder(layout.part("kafka"), user)
    fresh_folder(folder / "tmp", user)
    config = folder / "server.properties"
    text = _SETTINGS.format(
        host=LOOPBACK,
        port=layout.port("kafka"),
        controller_port=layout.port("kafka-controller"),
        data=folder / "data",
        user=_SUPER_USER,
        password=credentials.of("kafka", _SUPER_USER),
        scram="org.apache.kafka.common.security.scram.ScramLoginModule",
        plain="org.apache.kafka.common.security.plain.PlainLoginModule",
    )
    write_private(config, text, user)
    # Copied: the servers' user may not be able to enter the checkout.
    write_private(folder / "log4j2.yaml", (STACK_DIR / "kafka-log4j2.yaml").read_text(), user)
    write_private(folder / "metrics.yaml", (STACK_DIR / "kafka-metrics.yaml").read_text(), user)
    if not (folder / "data" / "meta.properties").exists():
        _format(credentials)


def _format(credentials: Credentials) -> None:
    """Makes the log folder, with the users in it. The passwords go by a file: a command line is for all to see."""
    folder = credentials.layout.part("kafka")
    roles = logins(credentials.access, "kafka")
    users = [f"SCRAM-SHA-256=[name={role},password={credentials.of('kafka', role)}]" for role in roles]
    tool = ["kafka.tools.StorageTool", "format", "--config", str(folder / "server.properties")]
    tool.append(f"--cluster-id={_cluster_id()}")
    for user in users:
        tool += ["--add-scram", user]
    arguments = folder / "format.args"
    write_private(arguments, "".join(f'"{a}"\n' for a in tool), server_user())
    try:
        command = [*_java(folder, "-Xmx128m"), f"@{arguments}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, user=server_user(), cwd="/")
    finally:
        arguments.unlink()
    if done.returncode != 0:
        raise UserError("Kafka's storage tool failed", (done.stdout + done.stderr).strip()[-1000:])


def set_up(credentials: Credentials) -> None:
    """Users that came with a later version than the one that formatted the log."""
    client: Any = admin_client(credentials.settings(_SUPER_USER))
    known = client.describe_user_scram_credentials().result()
    missing = [
        UserScramCredentialUpsertion(
            role,
            ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _SCRAM_ITERATIONS),
            credentials.of("kafka", role).encode(),
        )
        for role in logins(credentials.access, "kafka")
        if role not in known
    ]
    if missing:
        for future in client.alter_user_scram_credentials(missing).values():
            future.result()


def _cluster_id() -> str:
    """Sixteen random bytes, as Kafka writes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _java(folder: Path, *options: str) -> list[str]:
    places = [f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}", f"-Djava.io.tmpdir={folder / 'tmp'}"]
    # Compiled once and quickly, it starts with half of the work, and carries as many records a second: these are copied
    # and checked by code that is native anyway.
    quick = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [str(java()), *options, *quick, *places, "-cp", f"{kafka_jars()}/*"]


def program(credentials: Credentials) -> Program:
    folder = credentials.layout.part("kafka")
    metrics = f"{LOOPBACK}:{credentials.layout.port('kafka-metrics')}:{folder / 'metrics.yaml'}"
    agent = f"-javaagent:{jmx_agent()}={metrics}"
    java_command = _java(folder, "-Xms256m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", agent)
    return Program(
        (*java_command, "kafka.Kafka", str(folder / "server.properties")),
        user=server_user(),
        stop_seconds=40,
    )


def probe(credentials: Credentials) -> str:
    """Asks with the admin's password, as the other parts will."""
    # One client a probe logs each refused connection: that the broker isn't there is what it came to find out.
    logging.getLogger("streamgauge.stores.kafka").setLevel(logging.CRITICAL)
    client = admin_client(credentials.settings(_SUPER_USER))
    try:
        client.list_topics(timeout=2)
    except KafkaException as e:
        raise NotReady(e.args[0].str()) from e
    return stack_file().versions["kafka"]
