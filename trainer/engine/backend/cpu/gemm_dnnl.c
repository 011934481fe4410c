/* The product by oneDNN's C API, single-threaded in the calling thread; bias and activation after
 * it. */
#include "trainer/engine/backend/cpu/gemm_dnnl.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>

void gemm_dnnl_version(char *to, size_t size)
{
    const dnnl_version_t *v = dnnl_version();

    snprintf(to, size, "%d.%d.%d", v->major, v->minor, v->patch);
}

void gemm_dnnl_thread(void)
{
    /* oneDNN's own threads are OpenMP's; found by name, so that we do not depend on which OpenMP.
     */
    union {
        void *object;
        void (*call)(int);
    } set = {dlsym(RTLD_DEFAULT, "omp_set_num_threads")};

    if (set.object)
        set.call(1);
}

void gemm_dnnl(const struct gemm *g, const struct cpu_kernels *k, float *work)
{
    if (g->k == 0 || g->m == 0 ||
        dnnl_sgemm(g->ta ? 'T' : 'N', g->tb ? 'T' : 'N', g->m, g->n, g->k, g->alpha, g->a, g->lda,
                   g->b, g->ldb, g->beta, g->c, g->ldc) != dnnl_success) {
        k->gemm(g, work); /* empty, or refused (out of memory): our own always can */
        return;
    }
    if (g->finish)
        k->gemm_finish(g, 0, 0, g->m, g->n);
}
