#!/usr/bin/env bash
# Kafka as in the local stack (platform/streamgauge/stack/kafka.py), for the image apache/kafka: one node, a password for
# everybody. The image's own start knows no SCRAM users. With `healthy` it asks the running broker instead.
set -euo pipefail
umask 077
bin=${KAFKA_BIN:-/opt/kafka/bin}
data=${KAFKA_DATA:-/var/lib/kafka/data}
config=/tmp/streamgauge

if [ "${1:-}" = healthy ]; then
  exec "$bin/kafka-broker-api-versions.sh" --bootstrap-server localhost:9092 --command-config $config/client.properties >/dev/null
fi

scram=org.apache.kafka.common.security.scram.ScramLoginModule
plain=org.apache.kafka.common.security.plain.PlainLoginModule
login="username=\"admin\" password=\"$KAFKA_ADMIN_PASSWORD\""

mkdir -p $config
cat >$config/client.properties <<PROPERTIES
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=$scram required $login;
PROPERTIES
cat >$config/server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=CLIENTS://:9092,HOST://:29092,CONTROLLER://localhost:9093
advertised.listeners=CLIENTS://kafka:9092,HOST://127.0.0.1:29092
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,HOST:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
log.dirs=$data
sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
listener.name.clients.scram-sha-256.sasl.jaas.config=$scram required $login;
listener.name.host.scram-sha-256.sasl.jaas.config=$scram required;
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=$plain required $login user_admin="$KAFKA_ADMIN_PASSWORD";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# With one broker there is nobody to hand over to; and one that has handed over answers that the cluster has no broker.
controlled.shutdown.enable=false
PROPERTIES

if [ ! -e "$data/meta.properties" ]; then
  users=()
  for role in admin producer worker batch api reader; do
    password=KAFKA_${role^^}_PASSWORD
    users+=(--add-scram "SCRAM-SHA-256=[name=$role,password=${!password}]")
  done
  "$bin/kafka-storage.sh" format --config $config/server.properties --cluster-id="$("$bin/kafka-storage.sh" random-uuid)" "${users[@]}"
fi
exec "$bin/kafka-server-start.sh" $config/server.properties
