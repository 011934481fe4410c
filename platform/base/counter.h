/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", 2011). A number is a pure function of a key and
 * a counter, so nothing is stored and any thread may compute any of them:
 *
 *   counter_u64(seed, epoch, stream, index)
 *
 * `stream` tells the uses of one seed apart. Same numbers on every machine.
 */
#ifndef PLATFORM_BASE_COUNTER_H
#define PLATFORM_BASE_COUNTER_H

#include <stdint.h>

static inline void counter_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    int round;

    for (round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;

        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static inline uint64_t counter_u64(uint64_t seed, uint32_t epoch, uint32_t stream, uint64_t index)
{
    uint32_t c[4] = {(uint32_t)index, (uint32_t)(index >> 32), stream, epoch};

    counter_philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    return (uint64_t)c[1] << 32 | c[0];
}

/* Evenly in [0, n), from 64 random bits (the bias is below n / 2^64). n > 0. */
static inline uint64_t counter_below(uint64_t bits, uint64_t n)
{
    return (uint64_t)((unsigned __int128)bits * n >> 64);
}

/* In [0, 1), 53 bits. */
static inline double counter_unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

#endif
