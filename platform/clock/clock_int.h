/*
 * Shared inside platform/clock: what both clocks promise.
 */
#ifndef PLATFORM_CLOCK_CLOCK_INT_H
#define PLATFORM_CLOCK_CLOCK_INT_H

/* A sleep that begins while the clock is stopping still takes up to this long: a drain that retries
 * must not spin, and simulated time must go on. */
#define CLOCK_DRAIN_SLEEP_MS 50

#endif
