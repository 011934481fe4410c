#!/bin/bash
# Starts s3proxy over /data with the key of S3_ACCESS_KEY and S3_SECRET_KEY; a bucket is a folder.
set -euo pipefail
mkdir -p "/data/s3/${S3_BUCKET:-tripline}"
cat >/tmp/s3proxy.properties <<CONF
s3proxy.endpoint=http://0.0.0.0:9000
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity=${S3_ACCESS_KEY:?}
s3proxy.credential=${S3_SECRET_KEY:?}
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir=/data/s3
CONF
cat >/tmp/logback.xml <<'CONF'
<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="log"/></root>
</configuration>
CONF
exec java -Xms64m -Xmx512m -XX:+UseSerialGC -Dlogback.configurationFile=/tmp/logback.xml \
    -cp '/opt/s3proxy/lib/*' org.gaul.s3proxy.Main --properties /tmp/s3proxy.properties
