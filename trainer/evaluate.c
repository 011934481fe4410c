#include "trainer/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "trainer/data/batch.h"

#define GROUP_TOKENS                                                                               \
    4096 /* of one call of the engine: enough rows for its kernels, small buffers */

static int encode_group(struct engine *engine, const struct tokens *k, struct batch *batch,
                        const struct plan *plan, int group, float *rows, float *out, struct err *e)
{
    struct plan_group g = plan_group(plan, group);
    const struct token_batch *packed;
    int rc = batch_fill(batch, k, g.indices, g.count, &packed, e);

    if (rc == 0)
        rc = engine_encode(engine, packed, rows, e);
    if (rc == 0)
        plan_scatter(plan, group, rows, engine_info(engine)->dim, out);
    return rc;
}

static int largest_group(const struct plan *plan)
{
    int i, most = 0;

    for (i = 0; i < plan_groups(plan); i++)
        if (plan_group(plan, i).count > most)
            most = plan_group(plan, i).count;
    return most;
}

int evaluate_encode(struct engine *engine, const struct tokens *k, float *out,
                    evaluate_progress_fn progress, void *arg, struct err *e)
{
    struct plan *plan = NULL;
    struct batch *batch = NULL;
    float *rows = NULL;
    int i, rc, done = 0;

    if ((rc = plan_new(&plan, k, GROUP_TOKENS, e)) < 0 || (rc = batch_new(&batch, 0, 0, e)) < 0)
        goto done;
    rows = calloc((size_t)largest_group(plan) + 1, (size_t)engine_info(engine)->dim * sizeof *rows);
    if (!rows) {
        rc = err_set(e, ERR_NOMEM, "embeddings of a group");
        goto done;
    }
    for (i = 0; i < plan_groups(plan); i++) {
        if ((rc = encode_group(engine, k, batch, plan, i, rows, out, e)) < 0)
            goto done;
        done += plan_group(plan, i).count;
        if (progress)
            progress(arg, done, k->count);
    }
done:
    free(rows);
    batch_free(batch);
    plan_free(plan);
    return rc;
}

int evaluate_vectors(const float *vectors, int dim, const struct dataset *d, int k,
                     struct retrieval *out, struct err *e)
{
    int n = dataset_count(d);

    if (dataset_scores(d))
        return metrics_similarity(out, vectors, dataset_scores(d), n / 2, dim, e);
    return metrics_retrieval(out, vectors, n, dim, dataset_label_ids(d), k, e);
}

int evaluate_dataset(struct engine *engine, const struct tokens *tokens, const struct dataset *d,
                     int k, struct retrieval *out, struct err *e)
{
    int dim = engine_info(engine)->dim, rc;
    float *all = malloc(((size_t)tokens->count * (size_t)dim + 1) * sizeof *all);

    if (!all)
        return err_set(e, ERR_NOMEM, "embeddings of %d documents", tokens->count);
    rc = evaluate_encode(engine, tokens, all, NULL, NULL, e);
    if (rc == 0)
        rc = evaluate_vectors(all, dim, d, k, out, e);
    free(all);
    return rc;
}

int evaluate_numbers(const struct retrieval *r, struct record_number out[EVALUATE_METRICS])
{
    if (r->pairs > 0) {
        out[0] = (struct record_number){"spearman", r->spearman};
        out[1] = (struct record_number){"pearson", r->pearson};
        return 2;
    }
    out[0] = (struct record_number){"precision_at_1", r->precision_at_1};
    out[1] = (struct record_number){"recall_at_k", r->recall_at_k};
    out[2] = (struct record_number){"map_at_k", r->map_at_k};
    out[3] = (struct record_number){"ndcg_at_k", r->ndcg_at_k};
    out[4] = (struct record_number){"mrr_at_k", r->mrr_at_k};
    out[5] = (struct record_number){"hit_at_k", r->hit_at_k};
    out[6] = (struct record_number){"r_precision", r->r_precision};
    return EVALUATE_METRICS;
}

void evaluate_pack(const struct retrieval *r, double out[EVALUATE_PACKED])
{
    const double all[EVALUATE_PACKED] = {
        r->precision_at_1, r->recall_at_k, r->map_at_k, r->ndcg_at_k, r->mrr_at_k,
        r->hit_at_k,       r->r_precision, r->queries,  r->excluded,  r->k,
        r->pairs,          r->spearman,    r->pearson};

    memcpy(out, all, sizeof all);
}

void evaluate_unpack(const double v[EVALUATE_PACKED], struct retrieval *out)
{
    *out = (struct retrieval){.precision_at_1 = v[0],
                              .recall_at_k = v[1],
                              .map_at_k = v[2],
                              .ndcg_at_k = v[3],
                              .mrr_at_k = v[4],
                              .hit_at_k = v[5],
                              .r_precision = v[6],
                              .queries = (int)v[7],
                              .excluded = (int)v[8],
                              .k = (int)v[9],
                              .pairs = (int)v[10],
                              .spearman = v[11],
                              .pearson = v[12]};
}
