/* Operators of the interpreter that index, reduce and count. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/eval.h"

/* Index `i` into an axis of `size`, negative from its end; -1: outside. */
static int64_t index_of(double i, int64_t size)
{
    int64_t k = i < 0 ? eval_whole(i) + size : eval_whole(i);

    return k >= 0 && k < size ? k : -1;
}

int eval_gather(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0], *ix = v->in[1];
    int64_t axis = x ? eval_axis(source_attr_int(v->node, "axis", 0), x->rank) : -1;
    int64_t dims[TENSOR_RANK];
    size_t outer, inner;
    int rank;

    if (axis < 0 || !ix || x->rank - 1 + ix->rank > TENSOR_RANK)
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    rank = x->rank - 1 + ix->rank;
    for (int i = 0; i < rank; i++)
        dims[i] = i < axis              ? x->dims[i]
                  : i < axis + ix->rank ? ix->dims[i - axis]
                                        : x->dims[i - ix->rank + 1];
    if (!eval_make(v, x->dtype, rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    outer = (size_t)dims_count(x->dims, (int)axis, INT64_MAX);
    inner = (size_t)dims_count(x->dims + axis + 1, x->rank - (int)axis - 1, INT64_MAX);
    for (size_t o = 0; o < outer; o++)
        for (size_t j = 0; j < ix->count; j++) {
            int64_t k = index_of(ix->v[j], x->dims[axis]);

            if (k < 0)
                return eval_bad(v, ERR_FORMAT, "an index outside of its table", e);
            if (inner)
                memcpy(v->out[0]->v + (o * ix->count + j) * inner,
                       x->v + (o * (size_t)x->dims[axis] + (size_t)k) * inner,
                       inner * sizeof(double));
        }
    return 0;
}

int eval_gather_elements(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0], *ix = v->in[1];
    int64_t axis = x ? eval_axis(source_attr_int(v->node, "axis", 0), x->rank) : -1;
    int64_t strides[TENSOR_RANK], sx[TENSOR_RANK];

    if (axis < 0 || !ix || ix->rank != x->rank || !eval_make(v, x->dtype, ix->rank, ix->dims))
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    dims_strides(ix->dims, ix->rank, strides);
    dims_strides(x->dims, x->rank, sx);
    for (size_t i = 0; i < ix->count; i++) {
        int64_t rest = (int64_t)i, from = 0;

        for (int k = 0; k < ix->rank; k++) {
            int64_t c = rest / strides[k];

            rest %= strides[k];
            if (k == axis)
                c = index_of(ix->v[i], x->dims[axis]);
            if (c < 0 || c >= x->dims[k])
                return eval_bad(v, ERR_FORMAT, "an index outside of its table", e);
            from += c * sx[k];
        }
        v->out[0]->v[i] = x->v[from];
    }
    return 0;
}

/* Offset of the slice that the index tuple at `ix` names; -1: outside. */
static int64_t tuple_offset(const struct tensor *x, const double *ix, int64_t len,
                            const int64_t *strides)
{
    int64_t from = 0;

    for (int64_t k = 0; k < len; k++) {
        int64_t c = index_of(ix[k], x->dims[k]);

        if (c < 0)
            return -1;
        from += c * strides[k];
    }
    return from;
}

int eval_gather_nd(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0], *ix = v->in[1];
    int64_t dims[TENSOR_RANK], strides[TENSOR_RANK], len;
    int rank = 0;
    size_t inner;

    if (!x || !ix || ix->rank < 1 || source_attr_int(v->node, "batch_dims", 0) != 0)
        return eval_bad(v, ERR_UNSUPPORTED, "batched indices", e);
    len = ix->dims[ix->rank - 1];
    if (len < 1 || len > x->rank || ix->rank - 1 + x->rank - len > TENSOR_RANK)
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    for (int i = 0; i < ix->rank - 1; i++)
        dims[rank++] = ix->dims[i];
    for (int i = (int)len; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    if (!eval_make(v, x->dtype, rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    dims_strides(x->dims, x->rank, strides);
    inner = (size_t)dims_count(x->dims + len, x->rank - (int)len, INT64_MAX);
    for (size_t i = 0; i < ix->count / (size_t)len; i++) {
        int64_t from = tuple_offset(x, ix->v + i * (size_t)len, len, strides);

        if (from < 0)
            return eval_bad(v, ERR_FORMAT, "an index outside of its table", e);
        memcpy(v->out[0]->v + i * inner, x->v + from, inner * sizeof(double));
    }
    return 0;
}

int eval_scatter_nd(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0], *ix = v->in[1], *up = v->in[2];
    int64_t strides[TENSOR_RANK], len;
    size_t inner;

    if (!x || !ix || !up || ix->rank < 1 || !eval_make(v, x->dtype, x->rank, x->dims))
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    if (strcmp(source_attr_text(v->node, "reduction", "none"), "none") != 0)
        return eval_bad(v, ERR_UNSUPPORTED, "a reduction", e);
    len = ix->dims[ix->rank - 1];
    if (len < 1 || len > x->rank)
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    memcpy(v->out[0]->v, x->v, x->count * sizeof(double));
    dims_strides(x->dims, x->rank, strides);
    inner = (size_t)dims_count(x->dims + len, x->rank - (int)len, INT64_MAX);
    if (up->count != ix->count / (size_t)len * inner)
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    for (size_t i = 0; i < ix->count / (size_t)len; i++) {
        int64_t to = tuple_offset(x, ix->v + i * (size_t)len, len, strides);

        if (to < 0)
            return eval_bad(v, ERR_FORMAT, "an index outside of its table", e);
        memcpy(v->out[0]->v + to, up->v + i * inner, inner * sizeof(double));
    }
    return 0;
}

int eval_trilu(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    bool upper = source_attr_int(v->node, "upper", 1) != 0;
    int64_t k =
        v->node->in_count > 1 && v->in[1] && v->in[1]->count ? eval_whole(v->in[1]->v[0]) : 0;
    int64_t rows, cols;

    if (!x || x->rank < 2 || !eval_make(v, x->dtype, x->rank, x->dims))
        return eval_bad(v, ERR_FORMAT, "not a matrix", e);
    rows = x->dims[x->rank - 2];
    cols = x->dims[x->rank - 1];
    for (size_t i = 0; i < x->count; i++) {
        int64_t r = (int64_t)i / cols % rows, c = (int64_t)i % cols;

        v->out[0]->v[i] = (upper ? c - r >= k : c - r <= k) ? x->v[i] : 0;
    }
    return 0;
}

enum fold { SUM, MEAN, MAXIMUM, MINIMUM, PRODUCT };

static enum fold fold_of(const char *op)
{
    return strcmp(op, "ReduceSum") == 0    ? SUM
           : strcmp(op, "ReduceMean") == 0 ? MEAN
           : strcmp(op, "ReduceMax") == 0  ? MAXIMUM
           : strcmp(op, "ReduceMin") == 0  ? MINIMUM
                                           : PRODUCT;
}

static void fold_in(enum fold f, double *to, double x)
{
    switch (f) {
    case SUM:
    case MEAN:
        *to += x;
        break;
    case MAXIMUM:
        *to = x > *to ? x : *to;
        break;
    case MINIMUM:
        *to = x < *to ? x : *to;
        break;
    case PRODUCT:
        *to *= x;
        break;
    }
}

static int reduced_axes(const struct eval *v, bool *gone, struct err *e)
{
    int64_t axes[TENSOR_RANK];
    int count, rc = eval_ints(v, "axes", 1, axes, TENSOR_RANK, &count, e);
    bool all = count <= 0 && source_attr_int(v->node, "noop_with_empty_axes", 0) == 0;

    if (rc < 0)
        return rc;
    for (int i = 0; i < v->in[0]->rank; i++)
        gone[i] = all;
    for (int i = 0; i < count; i++) {
        int64_t axis = eval_axis(axes[i], v->in[0]->rank);

        if (axis < 0)
            return eval_bad(v, ERR_FORMAT, "an axis that does not exist", e);
        gone[axis] = true;
    }
    return 0;
}

int eval_reduce(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    bool keep = source_attr_int(v->node, "keepdims", 1) != 0, gone[TENSOR_RANK];
    int64_t dims[TENSOR_RANK], to[TENSOR_RANK] = {0}, from[TENSOR_RANK];
    enum fold f = fold_of(v->node->op);
    size_t each;
    int rank = 0, rc;

    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    if ((rc = reduced_axes(v, gone, e)) < 0)
        return rc;
    for (int i = 0; i < x->rank; i++)
        if (keep || !gone[i])
            dims[rank++] = gone[i] ? 1 : x->dims[i];
    if (!eval_make(v, x->dtype, rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (int i = x->rank - 1, s = 1; i >= 0; i--) {
        to[i] = gone[i] ? 0 : s;
        s *= gone[i] ? 1 : (int)x->dims[i];
    }
    dims_strides(x->dims, x->rank, from);
    for (size_t i = 0; i < v->out[0]->count; i++)
        v->out[0]->v[i] = f == MAXIMUM ? -INFINITY : f == MINIMUM ? INFINITY : f == PRODUCT;
    for (size_t i = 0; i < x->count; i++) {
        int64_t rest = (int64_t)i, k = 0;

        for (int d = 0; d < x->rank; d++) {
            k += rest / from[d] * to[d];
            rest %= from[d];
        }
        fold_in(f, &v->out[0]->v[k], x->v[i]);
    }
    each = v->out[0]->count ? x->count / v->out[0]->count : 1;
    for (size_t i = 0; f == MEAN && i < v->out[0]->count; i++)
        v->out[0]->v[i] /= (double)each;
    return 0;
}

int eval_arg(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t axis = x ? eval_axis(source_attr_int(v->node, "axis", 0), x->rank) : -1;
    bool keep = source_attr_int(v->node, "keepdims", 1) != 0,
         max = v->node->op[3] == 'M' && v->node->op[4] == 'a',
         last = source_attr_int(v->node, "select_last_index", 0) != 0;
    int64_t dims[TENSOR_RANK];
    size_t inner, outer;
    int rank = 0;

    if (axis < 0 || x->dims[axis] == 0)
        return eval_bad(v, ERR_FORMAT, "an axis that does not exist", e);
    for (int i = 0; i < x->rank; i++)
        if (keep || i != axis)
            dims[rank++] = i == axis ? 1 : x->dims[i];
    if (!eval_make(v, DTYPE_INT64, rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    inner = (size_t)dims_count(x->dims + axis + 1, x->rank - (int)axis - 1, INT64_MAX);
    outer = (size_t)dims_count(x->dims, (int)axis, INT64_MAX);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            const double *p = x->v + o * (size_t)x->dims[axis] * inner + i;
            int64_t best = 0;

            for (int64_t k = 1; k < x->dims[axis]; k++) {
                double a = p[(size_t)k * inner], b = p[(size_t)best * inner];

                if ((max ? a > b : a < b) || (last && a == b))
                    best = k;
            }
            v->out[0]->v[o * inner + i] = (double)best;
        }
    return 0;
}

int eval_cumsum(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t axis =
        x && v->in[1] && v->in[1]->count == 1 ? eval_axis(eval_whole(v->in[1]->v[0]), x->rank) : -1;
    size_t inner;

    if (axis < 0 || source_attr_int(v->node, "exclusive", 0) != 0 ||
        source_attr_int(v->node, "reverse", 0) != 0)
        return eval_bad(v, ERR_UNSUPPORTED, "this form", e);
    if (!eval_make(v, x->dtype, x->rank, x->dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    inner = (size_t)dims_count(x->dims + axis + 1, x->rank - (int)axis - 1, INT64_MAX);
    for (size_t i = 0; i < x->count; i++)
        v->out[0]->v[i] =
            x->v[i] + (i / inner % (size_t)x->dims[axis] ? v->out[0]->v[i - inner] : 0);
    return 0;
}

int eval_nonzero(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t dims[2] = {0, 0}, strides[TENSOR_RANK];
    size_t to = 0;

    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    dims[0] = x->rank;
    for (size_t i = 0; i < x->count; i++)
        dims[1] += x->v[i] != 0;
    if (!eval_make(v, DTYPE_INT64, 2, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    dims_strides(x->dims, x->rank, strides);
    for (size_t i = 0; i < x->count; i++) {
        int64_t rest = (int64_t)i;

        if (x->v[i] == 0)
            continue;
        for (int k = 0; k < x->rank; k++) {
            v->out[0]->v[(size_t)k * (size_t)dims[1] + to] = (double)(rest / strides[k]);
            rest %= strides[k];
        }
        to++;
    }
    return 0;
}
