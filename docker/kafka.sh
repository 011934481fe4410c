#!/bin/bash
# Starts one Kafka node (KRaft) whose data is in /data; formats it the first time.
set -euo pipefail
cat >/tmp/kafka.properties <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
advertised.listeners=PLAINTEXT://${KAFKA_ADVERTISED:-kafka:9092}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
log.dirs=/data/kafka
num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
CONF
mkdir -p /data/kafka
if [ ! -e /data/kafka/meta.properties ]; then
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22)
    java -cp '/opt/kafka/lib/*' kafka.tools.StorageTool format -t "$id" -c /tmp/kafka.properties
fi
exec java -Xms64m -Xmx512m -XX:+UseSerialGC -cp '/opt/kafka/lib/*' kafka.Kafka /tmp/kafka.properties
