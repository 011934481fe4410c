/* What a loss keeps: two (B, B) matrices and one (B, D), whatever it mines; and then nothing more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/ops/allocations.h"
#include "tests/ops/cases.h"
#include "trainer/learn/loss.h"

enum { B_MAX = 160, D = 16 };

struct batch {
    float x[B_MAX * D], grad[B_MAX * D];
    int32_t labels[B_MAX];
    double scores[B_MAX / 2];
};

static void fill(struct batch *b)
{
    for (int i = 0; i < B_MAX; i++)
        b->labels[i] = (int32_t)(op_random(1, (uint64_t)i) % 8);
    for (int i = 0; i < B_MAX / 2; i++)
        b->scores[i] = (double)(op_random(2, (uint64_t)i) % 5);
    for (int i = 0; i < B_MAX * D; i++)
        b->x[i] = (float)op_normal(3, (uint64_t)i);
}

static void compute(struct loss *l, struct backend *k, struct batch *b, int count)
{
    struct loss_rows rows = {.count = count, .dim = D, .labels = b->labels};
    struct loss_stats stats;
    struct err e = ERR_INIT;

    if (loss_compute(l, k, b->x, &rows, b->grad, &stats, &e) == ERR_INTERNAL) {
        rows.scores = b->scores; /* it learns from scored pairs */
        assert_int_equal(loss_compute(l, k, b->x, &rows, b->grad, &stats, &e), 0);
    }
}

/* The first batch takes what the header says, to the byte; later ones nothing. */
static void check(const struct loss_options *o, struct backend *k, struct batch *b)
{
    const size_t grown = 2 * (size_t)B_MAX * B_MAX + (size_t)B_MAX * D + 2 * (size_t)B_MAX;
    struct err e = ERR_INIT;
    struct loss *l;
    size_t seen, bytes;

    bytes = allocated_bytes();
    assert_int_equal(loss_new(&l, o, &e), 0);
    assert_true(allocated_bytes() - bytes < 512);
    bytes = allocated_bytes();
    compute(l, k, b, B_MAX);
    bytes = allocated_bytes() - bytes;
    if (bytes != grown * sizeof(float))
        fail_msg("%s, miner %s: %zu bytes instead of %zu", loss_kind_name(o->kind),
                 miner_name(o->miner), bytes, grown * sizeof(float));
    seen = allocations();
    for (int count = B_MAX; count > 2; count -= 6)
        compute(l, k, b, count);
    assert_int_equal(allocations(), seen);
    loss_free(l);
}

static bool has_miner(enum loss_kind kind, enum miner miner)
{
    if (miner == MINE_ALL || miner == MINE_NONE)
        return true;
    return miner == MINE_MULTI_SIMILARITY ? kind == LOSS_IS_MULTI_SIMILARITY
                                          : kind == LOSS_IS_TRIPLET;
}

static void memory_is_two_matrices(void **state)
{
    struct batch *b = malloc(sizeof *b);
    struct err e = ERR_INIT;
    struct backend *k;
    struct loss *warm;
    int checked = 0;

    assert_non_null(b);
    fill(b);
    assert_int_equal(backend_cpu(&k, NULL, &e), 0);
    assert_int_equal(loss_new(&warm, &(struct loss_options){0}, &e), 0);
    for (int count = B_MAX; count > 2; count -= 6) /* what the backend keeps for a shape */
        compute(warm, k, b, count);
    for (int kind = 0; kind < LOSS_KINDS; kind++)
        for (int miner = 0; miner < MINERS; miner++) {
            struct loss_options o = {.kind = (enum loss_kind)kind,
                                     .miner = (enum miner)miner,
                                     .positives = PICK_ALL,
                                     .negatives = PICK_ALL};
            if (!has_miner(o.kind, o.miner))
                continue;
            check(&o, k, b);
            checked++;
        }
    assert_int_equal(checked, 2 * LOSS_KINDS + 6 + 1);
    loss_free(warm);
    backend_free(k);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_two_matrices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
