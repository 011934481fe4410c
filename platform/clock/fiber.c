/* longjmp's check of a fortified build takes another stack for a destroyed frame. */
#undef _FORTIFY_SOURCE

#include "platform/clock/fiber.h"

#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(WITH_ASAN) || defined(WITH_TSAN)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define STACK_BYTES ((size_t)2 << 20) /* mapped on use; sanitizers widen frames */

/* Stacks of fibers that are gone, for the next ones: a fresh one costs a dozen system calls and
 * page faults. The sanitizers keep notes of a stack's bytes, so there each is mapped anew. */
enum { SPARE = 64 };
static _Thread_local unsigned char *spare[SPARE];
static _Thread_local int spare_count;

/*
 * Where a side goes on. swapcontext saves the signal mask, too: two system calls a switch. So a
 * fiber is entered by makecontext, once, and later switches are those of _setjmp, which leaves the
 * mask alone. The sanitizers take a longjmp for a return down one stack: with them every switch is
 * one of contexts.
 */
#if SANITIZED
typedef ucontext_t place;
#else
typedef jmp_buf place;
#endif

struct fiber {
    place self, resumer;
    bool entered;
    void (*fn)(void *);
    void *arg;
    unsigned char *map; /* a guard page, then the stack */
    size_t map_bytes, guard_bytes;
    bool ended;
#ifdef WITH_ASAN
    void *self_fake, *resumer_fake;
    const void *resumer_stack;
    size_t resumer_bytes;
#endif
#ifdef WITH_TSAN
    void *self_tsan, *resumer_tsan;
#endif
};

/* The four notices around a switch: before leaving and after arriving, on either side. Inlined even
 * without optimisation: a call's return would be booked on the other fiber's shadow stack. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void leave_resumer(struct fiber *f)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&f->resumer_fake, f->map + f->guard_bytes, STACK_BYTES);
#endif
#ifdef WITH_TSAN
    f->resumer_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->self_tsan, 0);
#endif
}

ALWAYS_INLINE void arrive_resumer(struct fiber *f)
{
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(f->resumer_fake, NULL, NULL);
#endif
}

ALWAYS_INLINE void leave_fiber(struct fiber *f)
{
#ifdef WITH_ASAN
    /* a NULL place tells that the fake stack ends with the fiber */
    __sanitizer_start_switch_fiber(f->ended ? NULL : &f->self_fake, f->resumer_stack,
                                   f->resumer_bytes);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(f->resumer_tsan, 0);
#endif
}

ALWAYS_INLINE void arrive_fiber(struct fiber *f)
{
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(f->self_fake, &f->resumer_stack, &f->resumer_bytes);
#endif
}

static void entry(unsigned high, unsigned low);

/* makecontext passes ints: the pointer travels in two. */
static void prepare(ucontext_t *c, struct fiber *f)
{
    uintptr_t p = (uintptr_t)f;

    getcontext(c);
    c->uc_stack.ss_sp = f->map + f->guard_bytes;
    c->uc_stack.ss_size = STACK_BYTES;
    makecontext(c, (void (*)(void))entry, 2, (unsigned)(p >> 32), (unsigned)p);
}

#if SANITIZED
ALWAYS_INLINE void enter(struct fiber *f)
{
    prepare(&f->self, f);
    swapcontext(&f->resumer, &f->self);
}

ALWAYS_INLINE void switch_to(place *from, place *to)
{
    swapcontext(from, to);
}

ALWAYS_INLINE void switch_for_good(place *to)
{
    setcontext(to);
}
#else
static void enter(struct fiber *f)
{
    ucontext_t first;

    if (_setjmp(f->resumer) != 0)
        return;
    prepare(&first, f);
    setcontext(&first);
}

static void switch_to(place *from, place *to)
{
    if (_setjmp(*from) == 0)
        _longjmp(*to, 1);
}

static void switch_for_good(place *to)
{
    _longjmp(*to, 1);
}
#endif

static void entry(unsigned high, unsigned low)
{
    struct fiber *f = (struct fiber *)(((uintptr_t)high << 32) | (uintptr_t)low);

    arrive_fiber(f);
    f->fn(f->arg);
    f->ended = true;
    leave_fiber(f);
    switch_for_good(&f->resumer);
    abort(); /* it does not return */
}

static unsigned char *stack_take(const struct fiber *f)
{
    unsigned char *map;

    if (spare_count > 0)
        return spare[--spare_count];
    map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    mprotect(map, f->guard_bytes, PROT_NONE);
    return map;
}

static void stack_give(const struct fiber *f)
{
    if (!SANITIZED && spare_count < SPARE)
        spare[spare_count++] = f->map;
    else
        munmap(f->map, f->map_bytes);
}

int fiber_new(struct fiber **out, void (*fn)(void *), void *arg, struct err *e)
{
    struct fiber *f = calloc(1, sizeof *f);

    if (!f)
        return err_set(e, ERR_NOMEM, "a fiber");
    f->fn = fn;
    f->arg = arg;
    f->guard_bytes = (size_t)sysconf(_SC_PAGESIZE);
    f->map_bytes = f->guard_bytes + STACK_BYTES;
    if (!(f->map = stack_take(f))) {
        fiber_free(f);
        return err_errno(e, ERR_NOMEM, "a fiber's stack");
    }
#ifdef WITH_TSAN
    f->self_tsan = __tsan_create_fiber(0);
#endif
    *out = f;
    return 0;
}

void fiber_free(struct fiber *f)
{
    if (!f)
        return;
#ifdef WITH_TSAN
    if (f->self_tsan)
        __tsan_destroy_fiber(f->self_tsan);
#endif
    if (f->map)
        stack_give(f);
    free(f);
}

void fiber_resume(struct fiber *f)
{
    leave_resumer(f);
    if (f->entered) {
        switch_to(&f->resumer, &f->self);
    } else {
        f->entered = true;
        enter(f);
    }
    arrive_resumer(f);
}

void fiber_yield(struct fiber *f)
{
    leave_fiber(f);
    switch_to(&f->self, &f->resumer);
    arrive_fiber(f);
}

bool fiber_ended(const struct fiber *f)
{
    return f->ended;
}
