/* The least that a consumer can do: librdkafka's own loop, which counts messages. */
#ifndef TESTS_BENCH_INGEST_RAW_H
#define TESTS_BENCH_INGEST_RAW_H

/* Reads `count` messages of a topic in a group of its own and prints {"event":"raw","ms":M,
 * "bytes":B} to stderr; ms: from the assignment on. 0, or an exit status with a line on stderr. */
int raw_main(const char *brokers, const char *topic, long long count);

#endif
