# syntax=docker/dockerfile:1
# Kafka and s3proxy from the same pinned jars as ./dev uses, for docker/compose.yaml.
#   docker build -f docker/servers.Dockerfile --target kafka -t tripline-dev-kafka .
FROM debian:13-slim AS jars
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates maven openjdk-21-jre-headless unzip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV TRIPLINE_CACHE=/opt/tripline-cache
COPY scripts/lib.sh scripts/setup.sh scripts/
COPY scripts/pins scripts/pins
RUN scripts/setup.sh kafka s3proxy

FROM debian:13-slim AS java
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl openjdk-21-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /data --shell /usr/sbin/nologin server
WORKDIR /data

FROM java AS kafka
COPY --from=jars /opt/tripline-cache/kafka/lib/ /opt/kafka/lib/
COPY --chmod=755 docker/kafka.sh /usr/local/bin/kafka
USER 10001
VOLUME /data
EXPOSE 9092
ENTRYPOINT ["kafka"]

FROM java AS s3
COPY --from=jars /opt/tripline-cache/s3proxy/lib/ /opt/s3proxy/lib/
COPY --chmod=755 docker/s3.sh /usr/local/bin/s3
USER 10001
VOLUME /data
EXPOSE 9000
ENTRYPOINT ["s3"]
