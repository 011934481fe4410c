#include "tests/ops/allocations.h"

#include <stdatomic.h>

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__real_aligned_alloc(size_t, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
void *__wrap_aligned_alloc(size_t, size_t);

static atomic_size_t calls, bytes;

static void note(size_t n)
{
    calls++;
    bytes += n;
}

size_t allocations(void)
{
    return calls;
}

size_t allocated_bytes(void)
{
    return bytes;
}

void *__wrap_malloc(size_t n)
{
    note(n);
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    note(n * size);
    return __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    note(n);
    return __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t align, size_t n)
{
    note(n);
    return __real_aligned_alloc(align, n);
}
