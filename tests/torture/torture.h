/*
 * Torture: the same work over and over, with allocation (or write to the disk) 1, 2, 3, ...
 * failing, alone and with all that follow. Each try must end with ERR_NOMEM (ERR_IO) and one line,
 * and leave neither memory nor open files. A library may do without the memory that it did not
 * get, when the result stays the same (the C library's qsort); our own code may not.
 *
 * TRIPLINE_TORTURE=all tries every one both ways; otherwise early ones are tried all, later
 * ones are sampled by TRIPLINE_TORTURE_SEED (printed; by default a new one each time).
 */
#ifndef TESTS_TORTURE_TORTURE_H
#define TESTS_TORTURE_TORTURE_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "tests/torture/memory.h"

/* What runs out. */
struct torture_supply {
    const char *name; /* of one unit: "allocation" */
    int code;
    void (*arm)(long fail, bool onwards);
    struct memory_tally (*disarm)(void);
};

struct torture {
    const char *name;
    /* The work: what it takes it gives back, whether it succeeds or not. `print` is a fingerprint
     * of its result; it is 0 before. */
    int (*work)(void *arg, uint64_t *print, struct err *e);
    /* After each try, with all memory there is again: looks at what is left, makes room for the
     * next. Returns what is wrong, NULL: nothing. May be NULL. */
    const char *(*after)(void *arg, int rc);
    void *arg;
    const struct torture_supply *supply; /* NULL: memory */
    int tries;                           /* sampled ones, about; 0: 200 */
};

/* Fails the cmocka test after all tries when one of them was bad. */
void torture(const struct torture *);

/* FNV-1a of some bytes, added to a fingerprint. */
void torture_print(uint64_t *print, const void *bytes, size_t n);

#endif
