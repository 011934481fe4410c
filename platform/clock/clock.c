#include "platform/clock/clock.h"

#include "platform/base/text.h"

uint64_t clock_random_u64(struct clock *c)
{
    uint64_t v;

    clock_random(c, &v, sizeof v);
    return v;
}

void clock_nonce(struct clock *c, char hex[33])
{
    unsigned char bytes[16];

    clock_random(c, bytes, sizeof bytes);
    text_hex(bytes, sizeof bytes, hex);
}

int64_t clock_backoff_ms(struct clock *c, int attempt, int64_t base_ms, int64_t cap_ms)
{
    int64_t top = base_ms;

    for (; attempt > 0 && top < cap_ms; attempt--)
        top = top > cap_ms / 2 ? cap_ms : top * 2;
    if (top > cap_ms)
        top = cap_ms;
    if (top <= 0)
        return 0;
    return (int64_t)(clock_random_u64(c) % ((uint64_t)top + 1));
}
