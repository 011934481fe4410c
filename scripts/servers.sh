#!/bin/bash
# Real Kafka, S3 (s3proxy) and Redis on free loopback ports, with secrets of their own, in one folder.
#   servers.sh start DIR [NAME...]   starts what does not run and waits until each answers; writes DIR/env.
#                                    The same DIR again: the same ports, secrets and data
#   servers.sh fresh DIR             as start, with nothing of an earlier run
#   servers.sh stop DIR [NAME...]    ends them, and no process that is not theirs
#   servers.sh kill DIR [NAME...]    ends them by SIGKILL
#   servers.sh env DIR               prints `export X=...` lines
#   servers.sh status DIR            one line a server; exit 3 if one is down
# NAME: kafka, s3, redis; none means all.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/scripts/process.sh"

SERVERS=(redis s3 kafka)   # in the order of starting; each takes longer than the one before
JVM=(-Xms64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData)
EMPTY_SHA256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

usage() { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

# --- ports and secrets ---------------------------------------------------------------------------

secret() { openssl rand -hex 16; }

PORT_NAMES=(REDIS_PORT S3_PORT KAFKA_PORT KAFKA_CONTROLLER_PORT)
write_settings() { # the folder's ports and secrets, made once
    local n
    {
        for n in "${PORT_NAMES[@]}"; do echo "$n=$(pick_port)"; done
        echo "REDIS_PASSWORD=$(secret)"
        echo "S3_ACCESS_KEY=tripline$(openssl rand -hex 4)"
        echo "S3_SECRET_KEY=$(secret)"
        echo "KAFKA_CLUSTER=$(openssl rand -base64 16 | tr '+/' '-_' | cut -c1-22 | sed 's/^-/A/')"
    } >"$DIR/settings.new"
    mv "$DIR/settings.new" "$DIR/settings"
}
new_port() { # another process took NAME's port between the choice and the bind
    local n=$1
    sed "s/^$n=.*/$n=$(pick_port)/" "$DIR/settings" >"$DIR/settings.new"
    mv "$DIR/settings.new" "$DIR/settings"
    . "$DIR/settings"
}
write_env() {
    cat >"$DIR/env.new" <<ENV
TRIPLINE_KAFKA=127.0.0.1:$KAFKA_PORT
TRIPLINE_S3_ENDPOINT=http://127.0.0.1:$S3_PORT
TRIPLINE_S3_BUCKET=tripline
TRIPLINE_S3_REGION=us-east-1
AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY
AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY
TRIPLINE_REDIS=127.0.0.1:$REDIS_PORT
TRIPLINE_REDIS_USERNAME=tripline
TRIPLINE_REDIS_PASSWORD=$REDIS_PASSWORD
ENV
    sed -i 's/^/export /' "$DIR/env.new"   # sourcing it is enough for every child
    mv "$DIR/env.new" "$DIR/env"
}

# --- Redis ---------------------------------------------------------------------------------------

start_redis() {
    mkdir -p "$DIR/redis"
    # written once: Redis keeps the users that are made later in this file (ACL SAVE)
    [ -e "$DIR/users.acl" ] || printf '%s\n' "user default off" \
        "user tripline on >$REDIS_PASSWORD ~* &* +@all" >"$DIR/users.acl"
    cat >"$DIR/redis.conf" <<CONF
bind 127.0.0.1
port $REDIS_PORT
aclfile "$DIR/users.acl"
dir "$DIR/redis"
appendonly yes
save ""
maxmemory 256mb
maxmemory-policy noeviction
CONF
    launch redis redis-server "$DIR/redis.conf"
}
answers_redis() {
    REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -h 127.0.0.1 -p "$REDIS_PORT" --user tripline ping 2>/dev/null |
        grep -q PONG
}

# --- S3 ------------------------------------------------------------------------------------------

start_s3() {
    mkdir -p "$DIR/s3/tripline" "$DIR/tmp"   # a bucket is a folder of the base folder
    cat >"$DIR/s3proxy.properties" <<CONF
s3proxy.endpoint=http://127.0.0.1:$S3_PORT
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity=$S3_ACCESS_KEY
s3proxy.credential=$S3_SECRET_KEY
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir=$DIR/s3
CONF
    cat >"$DIR/logback.xml" <<'CONF'
<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="log"/></root>
</configuration>
CONF
    launch s3 java "${JVM[@]}" -Xmx384m -Djava.io.tmpdir="$DIR/tmp" \
        -Dlogback.configurationFile="$DIR/logback.xml" \
        -cp "$CACHE/s3proxy/lib/*" org.gaul.s3proxy.Main --properties "$DIR/s3proxy.properties"
}
answers_s3() { # a signed request; the key stays out of the list of processes
    printf 'user = "%s:%s"\n' "$S3_ACCESS_KEY" "$S3_SECRET_KEY" |
        curl -sf -o /dev/null --noproxy '*' --max-time 3 -K - --aws-sigv4 aws:amz:us-east-1:s3 \
            -H "x-amz-content-sha256: $EMPTY_SHA256" "http://127.0.0.1:$S3_PORT/tripline"
}

# --- Kafka ---------------------------------------------------------------------------------------

kafka_java() { java "${JVM[@]}" -Xmx320m -Djava.io.tmpdir="$DIR/tmp" -cp "$CACHE/kafka/lib/*" "$@"; }

write_kafka_properties() {
    cat >"$DIR/kafka.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
# ACLs can be made and are kept; who comes by the plaintext listener of this loopback is the operator
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
log.dirs=$DIR/kafka
num.partitions=2
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# a killed broker may come back after this, not after 9 s
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=8388608
CONF
}
start_kafka() {
    mkdir -p "$DIR/kafka" "$DIR/tmp"
    write_kafka_properties
    if [ ! -e "$DIR/kafka/meta.properties" ] && ! kafka_java kafka.tools.StorageTool format \
        -t "$KAFKA_CLUSTER" -c "$DIR/kafka.properties" >"$DIR/kafka.log" 2>&1 </dev/null; then
        tail -5 "$DIR/kafka.log" >&2
        die "Kafka could not format $DIR/kafka"
    fi
    launch kafka java "${JVM[@]}" -Xmx320m -Djava.io.tmpdir="$DIR/tmp" \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info \
        -cp "$CACHE/kafka/lib/*" kafka.Kafka "$DIR/kafka.properties"
}
answers_kafka() { # our own broker says that it started, and answers an ApiVersions request
    local got
    grep -q 'Kafka Server started' "$DIR/kafka.log" || return 1
    got=$( (
        exec 3<>"/dev/tcp/127.0.0.1/$KAFKA_PORT"
        printf '\0\0\0\012\0\022\0\0\0\0\0\1\377\377' >&3   # length 10, key 18, version 0, id 1, no client
        timeout 3 head -c 8 <&3 | od -An -tx1 | tr -d ' \n'
    ) 2>/dev/null) || return 1
    [ "${got:8}" = 00000001 ]
}

# --- commands ------------------------------------------------------------------------------------

declare -A PORT_OF=([redis]=REDIS_PORT [s3]=S3_PORT [kafka]=KAFKA_PORT)
declare -A SECONDS_OF=([redis]=20 [s3]=60 [kafka]=120)

wait_for() { # 0: it answers; 1: its port was taken; dies otherwise
    local name=$1 until=$((SECONDS + SECONDS_OF[$1]))
    while [ $SECONDS -lt $until ]; do
        if "answers_$name"; then
            running "$name" && return 0
        elif ! running "$name"; then
            grep -qiE 'address already in use|failed to bind|could not create server tcp' "$DIR/$name.log" && return 1
            tail -8 "$DIR/$name.log" >&2
            die "$name ended while starting; see $DIR/$name.log"
        fi
        sleep 0.05
    done
    die "$name did not answer within ${SECONDS_OF[$name]} s; see $DIR/$name.log"
}

start_all() {
    local name try
    need java redis-server redis-cli curl openssl setsid
    for name in kafka s3proxy; do
        [ -d "$CACHE/$name/lib" ] || die "$CACHE/$name is missing: run ./dev setup"
    done
    mkdir -p "$DIR"
    chmod 700 "$DIR"
    exec 9>"$DIR/lock"
    flock -w 300 9 || die "another start or stop of $DIR does not end"
    [ -e "$DIR/settings" ] || write_settings
    . "$DIR/settings"
    trap 'stop_started' EXIT   # all or nothing
    for name; do
        running "$name" && continue
        started+=("$name")
        "start_$name"
    done
    for name in "${started[@]}"; do
        for ((try = 1; ; try++)); do
            wait_for "$name" && break
            [ $try -lt 5 ] || die "$name found no free port"
            new_port "${PORT_OF[$name]}"
            [ "$name" != kafka ] || new_port KAFKA_CONTROLLER_PORT
            "start_$name"
        done
    done
    write_env
    trap - EXIT
    say "servers: ${started[*]:-nothing to start} ($(seconds $(($(now_ms) - BEGAN))) s), in $DIR"
}

started=()
stop_started() {
    local name
    for name in "${started[@]}"; do end "$name" KILL; done
}

# What is left in DIR of an earlier run goes; a folder that no servers lived in is not touched.
clear_all() {
    stop_all KILL "${SERVERS[@]}"
    exec 9>&-
    [ -e "$DIR/settings" ] || return 0
    rm -rf --one-file-system -- "$DIR"
}

stop_all() { # stop_all SIGNAL NAME...
    local signal=$1 i
    shift
    [ -d "$DIR" ] || return 0
    exec 9>"$DIR/lock"
    flock -w 300 9 || die "another start or stop of $DIR does not end"
    for ((i = $#; i > 0; i--)); do
        if [ -e "$DIR/${!i}.pid" ]; then end "${!i}" "$signal"; fi
    done
}

status_all() {
    local name rc=0 rss
    for name in "${SERVERS[@]}"; do
        if running "$name"; then
            rss=$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status")
            echo "$name: up, process $pid, $rss MiB"
        else
            echo "$name: down"
            rc=3
        fi
    done
    return $rc
}

[ $# -ge 2 ] || usage
BEGAN=$(now_ms)
command=$1
DIR=$(realpath -m -- "$2")
shift 2
case $DIR in *[[:space:]\"\\]*) die -64 "'$DIR': a folder without blanks, quotes or backslashes, please" ;; esac
[ $# -gt 0 ] || set -- "${SERVERS[@]}"
for name; do
    [ -n "${PORT_OF[$name]:-}" ] || die -64 "no server is called '$name': ${SERVERS[*]}"
done
umask 077
case $command in
start) start_all "$@" ;;
fresh)
    clear_all
    start_all "$@"
    ;;
stop) stop_all TERM "$@" ;;
kill) stop_all KILL "$@" ;;
env)
    [ -e "$DIR/env" ] || die "no servers were started in $DIR"
    cat "$DIR/env"
    ;;
status) status_all ;;
*) usage ;;
esac
