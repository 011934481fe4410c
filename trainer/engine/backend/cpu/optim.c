/* Sums of gradients and the optimisers' steps, on a range of elements. */
#include "trainer/engine/backend/cpu/kernel.h"

#include <math.h>

void ISA(cpu_sum)(float *out, const float *const *parts, int part_count, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += W) {
        int n = end - i < W ? (int)(end - i) : W;
        vf sum = part_count ? v_load_upto(parts[0] + i, n) : v_zero();
        for (int k = 1; k < part_count; k++)
            sum = v_add(sum, v_load_upto(parts[k] + i, n));
        v_store_upto(out + i, sum, n);
    }
}

/* In float over 64 vectors, then in double. */
double ISA(cpu_sum_squares)(const float *x, size_t begin, size_t end)
{
    double total = 0;

    for (size_t i = begin; i < end;) {
        size_t stop = end - i < 64 * W ? end : i + 64 * W;
        vf sum = v_zero();
        for (; i < stop; i += W) {
            vf v = v_load_upto(x + i, stop - i < W ? (int)(stop - i) : W);
            sum = v_fma(v, v, sum);
        }
        total += v_sum(sum);
        i = stop;
    }
    return total;
}

static void sgd(const struct optim *o, const struct optim_range *r, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += W) {
        int n = end - i < W ? (int)(end - i) : W;
        vf p = v_load_upto(r->param + i, n);
        vf g = v_mul(v_load_upto(r->grad + i, n), v_set1(r->grad_scale)), m;
        g = v_fma(p, v_set1(r->decay), g);
        m = v_fma(v_load_upto(r->m + i, n), v_set1(o->step == 1 ? 0 : o->beta1), g);
        v_store_upto(r->m + i, m, n);
        v_store_upto(r->param + i, v_fnma(m, v_set1(r->lr), p), n);
    }
}

static void adam(const struct optim *o, const struct optim_range *r, size_t begin, size_t end)
{
    double fix1 = 1 - pow(o->beta1, (double)o->step), fix2 = 1 - pow(o->beta2, (double)o->step);
    vf lr = v_set1((float)(r->lr / fix1)), root = v_set1((float)(1 / sqrt(fix2)));
    vf beta1 = v_set1(o->beta1), rest1 = v_set1(1 - o->beta1);
    vf beta2 = v_set1(o->beta2), rest2 = v_set1(1 - o->beta2);
    bool decoupled = o->kind == OPTIM_ADAMW;
    vf shrink = v_set1(decoupled ? (float)(1 - (double)r->lr * r->decay) : 1);
    vf decay = v_set1(decoupled ? 0 : r->decay), scale = v_set1(r->grad_scale);

    for (size_t i = begin; i < end; i += W) {
        int n = end - i < W ? (int)(end - i) : W;
        vf p = v_load_upto(r->param + i, n);
        vf g = v_fma(p, decay, v_mul(v_load_upto(r->grad + i, n), scale));
        vf m = v_fma(beta1, v_load_upto(r->m + i, n), v_mul(rest1, g));
        vf v = v_fma(beta2, v_load_upto(r->v + i, n), v_mul(rest2, v_mul(g, g)));
        vf down = v_fma(v_sqrt(v), root, v_set1(o->eps));
        v_store_upto(r->m + i, m, n);
        v_store_upto(r->v + i, v, n);
        v_store_upto(r->param + i, v_fnma(lr, v_div(m, down), v_mul(p, shrink)), n);
    }
}

/* Moments of rows without gradient fade into denormal numbers, on which the units slow down a
 * hundredfold: they are taken as zero here. */
void ISA(cpu_optim_step)(const struct optim *o, const struct optim_range *r, size_t begin,
                         size_t end)
{
    unsigned mode = _mm_getcsr();

    _mm_setcsr(mode | 0x8040); /* flush to zero, denormals are zero */
    if (o->kind == OPTIM_SGD)
        sgd(o, r, begin, end);
    else
        adam(o, r, begin, end);
    _mm_setcsr(mode);
}
