#include "tests/torture/torture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/counter.h"

enum { EARLY = 100, TRIES = 200, SHOWN = 20, SECONDS = 60, FILES = 64 };

/* What one try came to. */
struct outcome {
    int rc;
    uint64_t print;
    struct err e;
    struct memory_tally used;
    long leaked;
    int files;
};

static char now[128]; /* the try that is running, for a signal's last words */

static void last_words(int signal)
{
    static const char what[] = ": it crashed or hung\n";

    if (write(2, now, strlen(now)) < 0 || write(2, what, sizeof what - 1) < 0)
        _exit(3);
    _exit(2);
}

static int open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < FILES; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static const struct torture_supply memory = {"allocation", ERR_NOMEM, memory_arm, memory_disarm};

static const struct torture_supply *supply(const struct torture *t)
{
    return t->supply ? t->supply : &memory;
}

static struct outcome attempt(const struct torture *t, long fail, bool onwards)
{
    const struct torture_supply *s = supply(t);
    struct outcome o = {.e = ERR_INIT, .files = -open_files(), .leaked = -memory_live()};

    snprintf(now, sizeof now, "%s: %s %ld%s", t->name, s->name, fail, onwards ? " and later" : "");
    alarm(SECONDS);
    s->arm(fail, onwards);
    o.rc = t->work(t->arg, &o.print, &o.e);
    o.used = s->disarm();
    alarm(0);
    o.leaked += memory_live();
    o.files += open_files();
    return o;
}

static const char *judge(const struct outcome *o, const struct outcome *base, int code)
{
    if (o->leaked)
        return "memory is not given back";
    if (o->files)
        return "a file is left open";
    if (o->rc == base->rc && o->print == base->print) /* refused anyway: in less exact words */
        return o->used.ours && o->rc == 0 ? "our code goes on as if nothing had happened" : NULL;
    if (o->rc == base->rc)
        return "another result, and no error";
    if (o->rc != code)
        return "another code";
    if (o->e.code != o->rc || !o->e.text[0] || strchr(o->e.text, '\n'))
        return "no line says what happened";
    return NULL;
}

struct count {
    long tried, refused, done_without, bad;
};

static void one(const struct torture *t, const struct outcome *base, long fail, bool onwards,
                struct count *c)
{
    struct outcome o = attempt(t, fail, onwards);
    const char *wrong = o.used.failed ? judge(&o, base, supply(t)->code) : NULL;
    const char *left = t->after ? t->after(t->arg, o.rc) : NULL;

    if (!o.used.failed)
        return; /* this time it needed fewer */
    c->tried++;
    c->refused += o.rc == supply(t)->code;
    c->done_without += o.rc == base->rc;
    wrong = wrong ? wrong : left;
    if (wrong && c->bad++ < SHOWN)
        fprintf(stderr, "%s: %s (asked for at %#zx): %s, %s: %s\n", now,
                o.used.ours ? "ours" : "a library's", o.used.address, wrong,
                o.rc < 0 ? err_name(o.rc) : "0", o.e.text);
}

/* The work undisturbed, until what is made once and kept (a library's tables) is there. */
static struct outcome undisturbed(const struct torture *t)
{
    struct outcome base, again;
    const char *left;

    for (int i = 0; i < 3; i++) {
        base = attempt(t, 0, false);
        if (t->after && (left = t->after(t->arg, base.rc)))
            fail_msg("%s: undisturbed: %s", t->name, left);
    }
    again = attempt(t, 0, false);
    if (t->after)
        t->after(t->arg, again.rc);
    if (again.rc != base.rc || again.print != base.print || again.leaked || again.files)
        fail_msg("%s: undisturbed: %s, then %s (%s), %ld blocks and %d files left", t->name,
                 err_name(base.rc), err_name(again.rc), again.e.text, again.leaked, again.files);
    return again;
}

static uint64_t chosen_seed(void)
{
    const char *given = getenv("TRIPLINE_TORTURE_SEED");

    return given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
}

void torture(const struct torture *t)
{
    const char *mode = getenv("TRIPLINE_TORTURE");
    bool all = mode && strcmp(mode, "all") == 0;
    uint64_t seed = chosen_seed();
    struct outcome base;
    struct count c = {0};
    long late, stride;

    signal(SIGALRM, last_words);
#ifndef TORTURE_WRAP /* a sanitizer says more */
    signal(SIGSEGV, last_words);
    signal(SIGABRT, last_words);
#endif
    base = undisturbed(t);
    late = base.used.tried - EARLY;
    stride = all || late <= 0 ? 1 : late / (t->tries ? t->tries : TRIES) + 1;
    for (long n = 1; n <= base.used.tried; n++) {
        uint64_t chance = counter_u64(seed, 0, 0, (uint64_t)n);

        if (n > EARLY && chance % (uint64_t)stride)
            continue;
        if (all || chance >> 63 || n <= EARLY)
            one(t, &base, n, false, &c);
        if (all || !(chance >> 63))
            one(t, &base, n, true, &c);
    }
    printf("  %s: %ld %ss, %ld tries, %ld refused, %ld done without, seed %llu\n", t->name,
           base.used.tried, supply(t)->name, c.tried, c.refused, c.done_without,
           (unsigned long long)seed);
    if (c.bad)
        fail_msg("%s: %ld of %ld tries were bad", t->name, c.bad, c.tried);
    if (base.rc == 0) /* bad input may be refused before it needs anything */
        assert_true(c.refused > 0);
}

void torture_print(uint64_t *print, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = *print ? *print : 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    *print = h;
}
