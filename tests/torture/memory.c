#include "tests/torture/memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef TORTURE_WRAP /* the linker's --wrap: our objects call the first, the sanitizer's is the     \
                       second */
#define TAKEN(name) __wrap_##name
#define REAL(name)  __real_##name
void *REAL(malloc)(size_t);
void *REAL(calloc)(size_t, size_t);
void *REAL(realloc)(void *, size_t);
void *REAL(aligned_alloc)(size_t, size_t);
int REAL(posix_memalign)(void **, size_t, size_t);
char *REAL(strdup)(const char *);
char *REAL(strndup)(const char *, size_t);
void *REAL(mmap)(void *, size_t, int, int, int, off_t);
void *TAKEN(malloc)(size_t);
void *TAKEN(calloc)(size_t, size_t);
void *TAKEN(realloc)(void *, size_t);
void *TAKEN(aligned_alloc)(size_t, size_t);
int TAKEN(posix_memalign)(void **, size_t, size_t);
char *TAKEN(strdup)(const char *);
char *TAKEN(strndup)(const char *, size_t);
void *TAKEN(mmap)(void *, size_t, int, int, int, off_t);
#else /* the program's malloc takes the place of the C library's, which has second names */
#define TAKEN(name) name
#define REAL(name)  __libc_##name
void *REAL(malloc)(size_t);
void *REAL(calloc)(size_t, size_t);
void *REAL(realloc)(void *, size_t);
void *REAL(memalign)(size_t, size_t);
void REAL(free)(void *);
#endif

static atomic_bool armed, onwards_too;
static atomic_long number, fail_at, failures, live;
static atomic_uintptr_t culprit;

void memory_arm(long fail, bool onwards)
{
    number = failures = 0;
    culprit = 0;
    fail_at = fail;
    onwards_too = onwards;
    armed = true;
}

struct memory_tally memory_disarm(void)
{
    extern char __executable_start[], etext[];
    uintptr_t from = (uintptr_t)__executable_start, at = culprit;

    armed = false;
    return (struct memory_tally){number, failures, at >= from && at < (uintptr_t)etext, at - from};
}

long memory_live(void)
{
    return live;
}

/* OpenMP's library ends the process when it gets nothing. */
static bool is_mortal(void *caller)
{
    Dl_info at;

    return dladdr(caller, &at) && at.dli_fname && strstr(at.dli_fname, "libgomp");
}

/* May the caller at this address have its memory? */
static bool granted(void *caller)
{
    long n;

    if (!armed)
        return true;
    n = ++number;
    if (fail_at == 0 || n < fail_at || (n > fail_at && !onwards_too) || is_mortal(caller))
        return true;
    if (failures++ == 0)
        culprit = (uintptr_t)caller;
    errno = ENOMEM;
    return false;
}
#define GRANTED granted(__builtin_return_address(0))

#ifndef TORTURE_WRAP
static void *counted(void *p)
{
    live += p != NULL;
    return p;
}
#else
#define counted(p) (p)
#endif

void *TAKEN(malloc)(size_t n)
{
    return GRANTED ? counted(REAL(malloc)(n)) : NULL;
}

void *TAKEN(calloc)(size_t n, size_t size)
{
    return GRANTED ? counted(REAL(calloc)(n, size)) : NULL;
}

#ifdef TORTURE_WRAP

void *TAKEN(realloc)(void *p, size_t n)
{
    return GRANTED ? REAL(realloc)(p, n) : NULL;
}

void *TAKEN(aligned_alloc)(size_t align, size_t n)
{
    return GRANTED ? REAL(aligned_alloc)(align, n) : NULL;
}

int TAKEN(posix_memalign)(void **out, size_t align, size_t n)
{
    return GRANTED ? REAL(posix_memalign)(out, align, n) : ENOMEM;
}

char *TAKEN(strdup)(const char *text)
{
    return GRANTED ? REAL(strdup)(text) : NULL;
}

char *TAKEN(strndup)(const char *text, size_t n)
{
    return GRANTED ? REAL(strndup)(text, n) : NULL;
}

void *TAKEN(mmap)(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return GRANTED ? REAL(mmap)(at, n, protection, flags, fd, offset) : MAP_FAILED;
}

#else

void free(void *p)
{
    live -= p != NULL;
    REAL(free)(p);
}

void *realloc(void *p, size_t n)
{
    void *grown;

    if (!GRANTED)
        return NULL;
    grown = REAL(realloc)(p, n);
    live += (grown && !p) - (!grown && p && n == 0);
    return grown;
}

void *aligned_alloc(size_t align, size_t n)
{
    return GRANTED ? counted(REAL(memalign)(align, n)) : NULL;
}

void *memalign(size_t align, size_t n)
{
    return GRANTED ? counted(REAL(memalign)(align, n)) : NULL;
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = GRANTED ? counted(REAL(memalign)(align, n)) : NULL;

    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    long p = GRANTED ? syscall(SYS_mmap, at, n, protection, flags, fd, offset) : -1;

    live += p != -1;
    return (void *)p;
}

int munmap(void *at, size_t n)
{
    int rc = (int)syscall(SYS_munmap, at, n);

    live -= rc == 0;
    return rc;
}
#endif
