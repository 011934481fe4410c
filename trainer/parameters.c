#include "trainer/parameters.h"

/* Chosen on held-out fifths of training data: larger than the library's .05. */
#define TRIPLET_MARGIN 0.2f

static const enum loss_kind kinds[] = {[LOSS_TRIPLET] = LOSS_IS_TRIPLET,
                                       [LOSS_CONTRASTIVE] = LOSS_IS_CONTRASTIVE,
                                       [LOSS_MULTI_SIMILARITY] = LOSS_IS_MULTI_SIMILARITY,
                                       [LOSS_SUPCON] = LOSS_IS_SUPCON,
                                       [LOSS_NEGATIVES_RANKING] = LOSS_IS_NEGATIVES_RANKING,
                                       [LOSS_BATCH_HARD] = LOSS_IS_BATCH_HARD,
                                       [LOSS_BATCH_SEMIHARD] = LOSS_IS_BATCH_SEMIHARD,
                                       [LOSS_COSENT] = LOSS_IS_COSENT,
                                       [LOSS_AUTO] = LOSS_IS_MULTI_SIMILARITY};

static const enum miner miners[] = {[MINER_ALL] = MINE_ALL,
                                    [MINER_HARD] = MINE_HARD,
                                    [MINER_SEMIHARD] = MINE_SEMIHARD,
                                    [MINER_EASY] = MINE_EASY,
                                    [MINER_NONE] = MINE_NONE,
                                    [MINER_BATCH_HARD] = MINE_BATCH_HARD,
                                    [MINER_EASY_POSITIVE] = MINE_EASY_POSITIVE,
                                    [MINER_MULTI_SIMILARITY] = MINE_MULTI_SIMILARITY,
                                    [MINER_BATCH_EASY_HARD] = MINE_BATCH_EASY_HARD};

static const enum strategy strategies[] = {[STRATEGY_EASY] = PICK_EASY,
                                           [STRATEGY_SEMIHARD] = PICK_SEMIHARD,
                                           [STRATEGY_HARD] = PICK_HARD,
                                           [STRATEGY_ALL] = PICK_ALL};

static const enum pool pools[] = {[POOLING_MEAN] = POOL_MEAN,
                                  [POOLING_MAX] = POOL_MAX,
                                  [POOLING_CLS] = POOL_CLS,
                                  [POOLING_GEM] = POOL_GEM,
                                  [POOLING_NONE] = POOL_NONE};

static enum miner default_miner(enum loss_kind kind)
{
    return kind == LOSS_IS_TRIPLET            ? MINE_SEMIHARD
           : kind == LOSS_IS_MULTI_SIMILARITY ? MINE_MULTI_SIMILARITY
                                              : MINE_NONE;
}

void parameters_loss(const struct job_parameters *p, struct loss_options *out)
{
    *out = (struct loss_options){.kind = kinds[p->loss],
                                 .margin = (float)p->margin,
                                 .miner_margin = (float)p->miner_margin,
                                 .positives = strategies[p->pos_strategy],
                                 .negatives = strategies[p->neg_strategy],
                                 .swap = p->swap,
                                 .smooth = p->smooth,
                                 .temperature = (float)p->temperature,
                                 .alpha = (float)p->alpha,
                                 .beta = (float)p->beta,
                                 .base = (float)p->base,
                                 .epsilon = (float)p->epsilon};
    out->miner = p->miner == MINER_DEFAULT ? default_miner(out->kind) : miners[p->miner];
    if (out->kind == LOSS_IS_TRIPLET && p->margin == 0)
        out->margin = TRIPLET_MARGIN;
}

int parameters_pool(const struct job_parameters *p, enum pool *out, struct err *e)
{
    *out = pools[p->pooling];
    if (*out != POOL_NONE)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "pooling none: a text needs one vector to be compared; choose mean, max, cls or "
                   "gem");
}

const char *parameters_need_eval(const struct job_parameters *p)
{
    return p->patience                ? "patience"
           : p->export == EXPORT_BEST ? "export = best"
           : p->eval_steps            ? "eval_steps"
           : p->eval_epochs           ? "eval_epochs"
                                      : NULL;
}

static int check_loss(const struct job_parameters *p, struct err *e)
{
    struct job_parameters scored = *p;
    struct loss_options options;
    struct err other = ERR_INIT;
    int rc;

    parameters_loss(p, &options);
    rc = loss_check(&options, e);
    if (rc == 0 || p->loss != LOSS_AUTO)
        return rc;
    scored.loss = LOSS_COSENT;
    parameters_loss(&scored, &options);
    return loss_check(&options, &other) == 0 ? 0 : rc;
}

int parameters_check(const struct job_parameters *p, struct err *e)
{
    enum pool pool;
    int rc = parameters_pool(p, &pool, e);

    if (rc < 0 || (rc = check_loss(p, e)) < 0)
        return rc;
    if (p->eval == EVAL_NONE && parameters_need_eval(p))
        return err_set(e, ERR_CONFIG,
                       "%s needs held-out documents, and eval = none keeps none: choose marked or "
                       "stratified, or leave it out",
                       parameters_need_eval(p));
    return 0;
}
