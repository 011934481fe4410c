/* What trains and what does not, with the reason. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "trainer/engine/surgery/surgery.h"

static void freeze(struct param *p, const char *why)
{
    if (p->buffer)
        return;
    p->trainable = false;
    p->why = why;
}

static int freeze_pattern(struct program *p, const char *pattern, struct err *e)
{
    int hits = 0;

    for (int i = 0; i < p->param_count; i++)
        if (fnmatch(pattern, p->params[i].name, 0) == 0) {
            freeze(&p->params[i], "frozen: its name fits a pattern");
            hits++;
        }
    return hits ? 0 : err_set(e, ERR_CONFIG, "freeze: no parameter's name fits '%s'", pattern);
}

static int freeze_patterns(struct program *p, const char *list, struct err *e)
{
    char pattern[256];
    int rc = 0;

    while (rc == 0 && *list) {
        size_t n = strcspn(list, ",");

        if (n >= sizeof pattern)
            return err_set(e, ERR_CONFIG, "freeze: a pattern is too long");
        snprintf(pattern, sizeof pattern, "%.*s", (int)n, list);
        if (n)
            rc = freeze_pattern(p, pattern, e);
        list += n + (list[n] == ',');
    }
    return rc;
}

/* Parameters that nothing reads any more (the head's) are not the program's. */
static void mark_used(const struct program *p, bool *used)
{
    for (int i = 0; i < p->node_count; i++)
        for (int k = 0; k < p->nodes[i].in_count; k++)
            if (p->nodes[i].in[k] >= 0 && p->values[p->nodes[i].in[k]].param >= 0)
                used[p->values[p->nodes[i].in[k]].param] = true;
}

int surgery_freeze(struct program *p, const struct surgery *s, struct err *e)
{
    bool *used = arena_array(p->arena, (size_t)p->param_count + 1, sizeof *used);
    int rc = 0;

    if (!used)
        return err_set(e, ERR_NOMEM, "freezing");
    mark_used(p, used);
    if (s->freeze_layers < -1 || s->freeze_layers > p->blocks)
        return err_set(e, ERR_CONFIG, "freeze_layers %d: the backbone has %d blocks",
                       s->freeze_layers, p->blocks);
    for (int i = 0; i < p->param_count; i++) {
        struct param *q = &p->params[i];

        q->used = used[i];
        if (!used[i]) {
            freeze(q, "not used: behind the cut");
        } else if (s->freeze_layers < 0 && q->initializer >= 0) {
            freeze(q, "frozen: all but the projection");
        } else if (s->freeze_layers > 0 && q->block < s->freeze_layers && q->initializer >= 0) {
            freeze(q, q->block == BLOCK_NONE ? "frozen: embeddings go with the first blocks"
                                             : "frozen: one of the first blocks");
        }
    }
    if (s->freeze)
        rc = freeze_patterns(p, s->freeze, e);
    return rc;
}
