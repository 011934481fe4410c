/*
 * The CPU backend: which kernels this machine gets, memory, the crew of
 * threads, and what runs over all parameters at once. Work that is split here
 * is split into at most CPU_TASKS or PIECES parts by its size alone.
 */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "trainer/engine/backend/cpu/crew.h"
#include "trainer/engine/backend/cpu/gemm_dnnl.h"
#include "trainer/engine/backend/cpu/isa.h"

enum { PIECES = 256, PIECE_MIN = 16384 };

static struct cpu *cpu_of(struct backend *b)
{
    return (struct cpu *)b;
}

/* ---- memory ---- */

static void cpu_free(struct backend *b)
{
    struct cpu *cpu = cpu_of(b);

    crew_free(cpu->crew);
    free(cpu->scratch);
    free(cpu);
}

/* Zeroed by calloc, so that large arenas cost memory only where they are used; the block's own
 * address stands in front of the aligned one. */
static int cpu_alloc(struct backend *b, size_t bytes, void **out, struct err *e)
{
    const size_t align = 64, huge = (size_t)2 << 20, page = 4096;
    size_t size = bytes + align + sizeof(void *);
    char *block = size < bytes ? NULL : calloc(1, size), *at;

    if (!block)
        return err_set(e, ERR_NOMEM, "cpu backend: %zu bytes", bytes);
    at = block + sizeof(void *);
    at += (align - (uintptr_t)at % align) % align;
    memcpy(at - sizeof(void *), &block, sizeof block);
    if (bytes >= 2 * huge) { /* advice: refused is fine */
        char *first = block + (page - (uintptr_t)block % page) % page;
        (void)madvise(first, (size - (size_t)(first - block)) / page * page, MADV_HUGEPAGE);
    }
    *out = at;
    return 0;
}

static void cpu_release(struct backend *b, void *memory)
{
    void *block;

    if (!memory)
        return;
    memcpy(&block, (char *)memory - sizeof block, sizeof block);
    free(block);
}

static void cpu_copy(struct backend *b, void *to, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(to, from, bytes);
}

static void cpu_zero(struct backend *b, void *to, size_t bytes)
{
    if (bytes)
        memset(to, 0, bytes);
}

static void *cpu_cache_new(struct backend *b)
{
    return calloc(1, 1); /* our kernels keep nothing between calls; NULL would mean no memory */
}

static void cpu_cache_free(struct backend *b, void *cache)
{
    free(cache);
}

static void cpu_run_lanes(struct backend *b, int lanes, void (*fn)(void *arg, int lane), void *arg)
{
    crew_run(cpu_of(b)->crew, lanes, fn, arg);
}

/* ---- over all parameters ---- */

struct pieces {
    const struct cpu_kernels *kernels;
    size_t count, size;
    float *out;
    const float *const *parts;
    int part_count;
    const float *x;
    double squares[PIECES];
    const struct optim *optim;
    const struct optim_range *range;
};

static int pieces_cut(struct pieces *p, const struct cpu *cpu, size_t count)
{
    p->kernels = cpu->kernels;
    p->count = count;
    p->size = (count + PIECES - 1) / PIECES;
    if (p->size < PIECE_MIN)
        p->size = PIECE_MIN;
    p->size = (p->size + 15) & ~(size_t)15;
    return (int)((count + p->size - 1) / p->size);
}

static size_t piece_end(const struct pieces *p, int i)
{
    size_t end = ((size_t)i + 1) * p->size;

    return end < p->count ? end : p->count;
}

static void sum_piece(void *arg, int i)
{
    struct pieces *p = arg;

    p->kernels->sum(p->out, p->parts, p->part_count, (size_t)i * p->size, piece_end(p, i));
}

static void cpu_sum(struct backend *b, float *out, const float *const *parts, int part_count,
                    size_t count)
{
    struct pieces p = {.out = out, .parts = parts, .part_count = part_count};

    crew_run(cpu_of(b)->crew, pieces_cut(&p, cpu_of(b), count), sum_piece, &p);
}

static void squares_piece(void *arg, int i)
{
    struct pieces *p = arg;

    p->squares[i] = p->kernels->sum_squares(p->x, (size_t)i * p->size, piece_end(p, i));
}

static double cpu_sum_squares(struct backend *b, const float *x, size_t count)
{
    struct pieces p = {.x = x};
    int n = pieces_cut(&p, cpu_of(b), count);
    double sum = 0;

    crew_run(cpu_of(b)->crew, n, squares_piece, &p);
    for (int i = 0; i < n; i++)
        sum += p.squares[i];
    return sum;
}

static void optim_piece(void *arg, int i)
{
    struct pieces *p = arg;

    p->kernels->optim_step(p->optim, p->range, (size_t)i * p->size, piece_end(p, i));
}

static void cpu_optim_step(struct backend *b, const struct optim *o, const struct optim_range *r)
{
    struct pieces p = {.optim = o, .range = r};

    crew_run(cpu_of(b)->crew, pieces_cut(&p, cpu_of(b), r->count), optim_piece, &p);
}

/* ---- products ---- */

void cpu_gemm(const struct cpu *cpu, const struct gemm *g, float *work)
{
    if (cpu->dnnl)
        gemm_dnnl(g, cpu->kernels, work);
    else
        cpu->kernels->gemm(g, work);
}

size_t gemm_own_work(int n)
{
    return (size_t)GEMM_KC * (GEMM_MC + (size_t)n + GEMM_NR);
}

struct split { /* a product cut into blocks of rows, and those into blocks of columns */
    const struct cpu *cpu;
    struct gemm whole;
    int rows; /* of a block */
};

static void split_rows(void *arg, int i)
{
    const struct split *s = arg;
    float *work = s->cpu->scratch + (size_t)i * gemm_own_work(CPU_GEMM_COLS);

    for (int j = 0; j < s->whole.n; j += CPU_GEMM_COLS) {
        struct gemm g = s->whole;
        int i0 = i * s->rows;
        g.m = g.m - i0 < s->rows ? g.m - i0 : s->rows;
        g.n = g.n - j < CPU_GEMM_COLS ? g.n - j : CPU_GEMM_COLS;
        g.a += g.ta ? (size_t)i0 : (size_t)i0 * g.lda;
        g.b += g.tb ? (size_t)j * g.ldb : (size_t)j;
        g.c += (size_t)i0 * g.ldc + j;
        cpu_gemm(s->cpu, &g, work);
    }
}

static void cpu_gemm_split(struct backend *b, bool ta, bool tb, int m, int n, int k, float alpha,
                           const float *a, int lda, const float *bm, int ldb, float beta, float *c,
                           int ldc)
{
    struct split s = {.cpu = cpu_of(b),
                      .whole = {.ta = ta,
                                .tb = tb,
                                .m = m,
                                .n = n,
                                .k = k,
                                .alpha = alpha,
                                .beta = beta,
                                .a = a,
                                .b = bm,
                                .lda = lda,
                                .ldb = ldb,
                                .c = c,
                                .ldc = ldc}};

    s.rows = (m + CPU_TASKS - 1) / CPU_TASKS;
    s.rows = s.rows < 96 ? 96 : s.rows;
    crew_run(s.cpu->crew, (m + s.rows - 1) / s.rows, split_rows, &s);
}

/* ---- the yardstick ---- */

static double cpu_peak_round(struct backend *b)
{
    return cpu_of(b)->kernels->peak_round();
}

/* ---- opening ---- */

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .free = cpu_free,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .zero = cpu_zero,
    .run_lanes = cpu_run_lanes,
    .cache_new = cpu_cache_new,
    .cache_free = cpu_cache_free,
    .sum = cpu_sum,
    .sum_squares = cpu_sum_squares,
    .optim_step = cpu_optim_step,
    .gemm = cpu_gemm_split,
    .peak_round = cpu_peak_round,
};

/* The whole tables of the three sets; ops filled in once, before any use. */
static struct backend_ops tables[3];
static const struct cpu_kernels *const kernels[3] = {&cpu_kernels_sse2, &cpu_kernels_avx2,
                                                     &cpu_kernels_avx512};

static __attribute__((constructor)) void tables_fill(void)
{
    for (int i = 0; i < 3; i++) {
        tables[i] = cpu_ops;
        memcpy(tables[i].op, kernels[i]->op, sizeof tables[i].op);
    }
}

static bool machine_has(int set)
{
    __builtin_cpu_init();
    if (set == 2)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") &&
               __builtin_cpu_supports("fma");
    if (set == 1)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return true;
}

static int choose_set(const char *isa, int *set, struct err *e)
{
    *set = 2;
    if (isa) {
        for (*set = 2; *set >= 0 && strcmp(isa, kernels[*set]->isa); --*set)
            ;
        if (*set < 0)
            return err_set(e, ERR_CONFIG, "instruction set '%s' is unknown: sse2, avx2 or avx512",
                           isa);
    }
    while (!machine_has(*set))
        --*set;
    return 0;
}

static int choose_gemm(const char *gemm, bool *dnnl, struct err *e)
{
    *dnnl = gemm && !strcmp(gemm, "onednn"); /* own: see docs/kernels.md */
    if (gemm && !*dnnl && strcmp(gemm, "own"))
        return err_set(e, ERR_CONFIG, "matrix product '%s' is unknown: own or onednn", gemm);
    return 0;
}

static int machine_threads(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : n;
}

static void cpu_describe(struct cpu *cpu)
{
    char version[32];

    gemm_dnnl_version(version, sizeof version);
    snprintf(cpu->fingerprint, sizeof cpu->fingerprint, "cpu/onednn-%s/%s/%s", version,
             cpu->kernels->isa, cpu->dnnl ? "onednn" : "own");
    cpu->base.fingerprint = cpu->fingerprint;
}

int backend_cpu(struct backend **out, const struct backend_options *options, struct err *e)
{
    const struct backend_options none = {0}, *o = options ? options : &none;
    size_t scratch = sizeof(float) * CPU_TASKS * gemm_own_work(CPU_GEMM_COLS);
    struct cpu *cpu = NULL;
    int set, rc;

    if (o->threads < 0 || o->threads > 1024)
        return err_set(e, ERR_CONFIG, "%d threads: 0 (the machine's) to 1024", o->threads);
    if ((rc = choose_set(o->isa, &set, e)) < 0)
        return rc;
    if (!(cpu = calloc(1, sizeof *cpu)))
        return err_set(e, ERR_NOMEM, "cpu backend");
    cpu->base.ops = &tables[set];
    cpu->kernels = kernels[set];
    if ((rc = choose_gemm(o->gemm, &cpu->dnnl, e)) < 0)
        goto fail;
    /* Not touched before it is needed. */
    if (!(cpu->scratch = aligned_alloc(64, scratch))) {
        rc = err_set(e, ERR_NOMEM, "cpu backend: %zu bytes", scratch);
        goto fail;
    }
    if (cpu->dnnl)
        gemm_dnnl_thread();
    rc = crew_new(&cpu->crew, o->threads ? o->threads : machine_threads(),
                  cpu->dnnl ? gemm_dnnl_thread : NULL, e);
    if (rc < 0)
        goto fail;
    cpu_describe(cpu);
    *out = &cpu->base;
    return 0;
fail:
    cpu_free(&cpu->base);
    return rc;
}
