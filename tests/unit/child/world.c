#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "platform/clock/clock.h"

int world_real(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = ERR_INIT;
    int rc = clock_real(&w->clock, &e);

    if (rc == 0)
        rc = child_exec(&w->port, w->clock, &e);
    *state = w;
    return rc;
}

int world_free(void **state)
{
    struct world *w = *state;

    child_port_free(w->port);
    clock_free(w->clock);
    free(w);
    return 0;
}

struct child *start(struct world *w, const struct child_spec *spec)
{
    struct err e = ERR_INIT;
    struct child *c = NULL;

    if (child_start(w->port, spec, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

void expect_line(struct child *c, const char *want)
{
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 1 << 20);
    if (child_read(c, LONG_MS, &line, &e) != 1)
        fail_msg("no line, but %s", e.text);
    assert_string_equal(line.data, want);
    buf_release(&line);
}

void expect_no_more(struct child *c)
{
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 1 << 20);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), ERR_NOT_FOUND);
    assert_int_equal(child_read(c, 0, &line, &e), ERR_NOT_FOUND);
    buf_release(&line);
}

struct child_end expect_end(struct child *c)
{
    struct err e = ERR_INIT;
    struct child_end end = {0}, again = {0};

    assert_int_equal(child_wait(c, LONG_MS, &end, &e), 1);
    assert_int_equal(child_wait(c, 0, &again, &e), 1);
    assert_int_equal(again.status, end.status);
    return end;
}

void expect_start(struct world *w, struct child_spec spec, enum child_policy policy,
                  const char *line)
{
    struct child *c;

    spec.policy = policy;
    c = start(w, &spec);
    expect_line(c, line);
    child_free(c);
}

bool holds(enum child_guard g)
{
    struct err e = ERR_INIT;
    int rc = child_guard_try(g, &e);

    assert_non_null(child_guard_name(g));
#ifdef WORLD_SHADOWED
    rc = ERR_UNSUPPORTED;
    snprintf(e.text, sizeof e.text, "a sanitizer does what it forbids");
#endif
    if (rc == 0)
        return true;
    assert_int_equal(rc, ERR_UNSUPPORTED);
    print_message("no guard of %s here: %s\n", child_guard_name(g), e.text);
    return false;
}
