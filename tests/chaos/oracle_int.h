/* Inside the oracle: what segments say of rejected records, what attempts say of a doomed run. */
#ifndef TESTS_CHAOS_ORACLE_INT_H
#define TESTS_CHAOS_ORACLE_INT_H

#include "schemas/run.h"
#include "tests/chaos/oracle.h"

struct rejects {
    struct found *sorted; /* the rejected ones; owned, as the next */
    size_t count;
    struct lived { /* a document of that life lies in that incarnation */
        int stream, life;
        int32_t partition;
        uint64_t incarnation;
    } * documents;
    size_t document_count;
};
int rejects_init(struct rejects *r, const struct oracle *o, const struct sent *s, size_t n,
                 struct err *e);
void rejects_release(struct rejects *r);
/* In an incarnation that may be of its life. */
bool rejects_has(const struct rejects *r, const struct sent *s);
void rejects_twice(const struct rejects *r, struct oracle *o);
/* Nothing says yet that this one, of the present life, is rejected. */
bool rejects_awaits(const struct oracle *o, const struct sent *s, size_t n, const struct sent *one);

/* A run whose training always dies, and that has come to this end: each attempt that its job allows
 * was made, and no more of them trained; but for those that handed over. */
int oracle_attempts(struct oracle *o, const struct asked *job, const struct run_end *end,
                    struct err *e);

#endif
