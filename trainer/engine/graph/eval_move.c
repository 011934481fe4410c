/* Operators of the interpreter that make, move and cut tensors. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/eval.h"

int eval_constant(struct eval *v, struct err *e)
{
    const struct source_attr *a;
    int64_t n;

    if ((a = source_attr(v->node, "value")) != NULL && a->tensor) {
        v->out[0] = source_tensor_read(a->tensor, v->arena);
        return v->out[0] ? 0 : eval_bad(v, ERR_UNSUPPORTED, "a constant without numbers", e);
    }
    if ((a = source_attr(v->node, "value_int")) != NULL ||
        (a = source_attr(v->node, "value_float")) != NULL) {
        if (!eval_make(v, a->kind == ATTR_INT ? DTYPE_INT64 : DTYPE_FLOAT, 0, NULL))
            return eval_bad(v, ERR_NOMEM, "no memory", e);
        v->out[0]->v[0] = a->kind == ATTR_INT ? (double)a->i : a->f;
        return 0;
    }
    if ((a = source_attr(v->node, "value_ints")) == NULL &&
        (a = source_attr(v->node, "value_floats")) == NULL)
        return eval_bad(v, ERR_UNSUPPORTED, "a constant without numbers", e);
    n = a->count;
    if (!eval_make(v, a->kind == ATTR_INTS ? DTYPE_INT64 : DTYPE_FLOAT, 1, &n))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (int i = 0; i < a->count; i++)
        v->out[0]->v[i] = a->kind == ATTR_INTS ? (double)a->ints[i] : a->floats[i];
    return 0;
}

static int dims_input(const struct eval *v, int index, struct reshape *r, struct err *e)
{
    int count;
    int rc = eval_ints(v, NULL, index, r->dims, TENSOR_RANK, &count, e);

    r->rank = count < 0 ? 0 : count;
    return rc;
}

int eval_constant_of_shape(struct eval *v, struct err *e)
{
    const struct source_attr *a = source_attr(v->node, "value");
    struct tensor *value = NULL;
    struct reshape r;
    int rc = dims_input(v, 0, &r, e);

    if (rc < 0)
        return rc;
    if (a && a->tensor)
        value = source_tensor_read(a->tensor, v->arena);
    if (!eval_make(v, value ? value->dtype : DTYPE_FLOAT, r.rank, r.dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; value && value->count && i < v->out[0]->count; i++)
        v->out[0]->v[i] = value->v[0];
    return 0;
}

int eval_range(struct eval *v, struct err *e)
{
    double n;
    int64_t count;

    for (int i = 0; i < 3; i++)
        if (!v->in[i] || v->in[i]->count != 1)
            return eval_bad(v, ERR_FORMAT, "bounds that are not numbers", e);
    n = v->in[2]->v[0] == 0 ? -1 : ceil((v->in[1]->v[0] - v->in[0]->v[0]) / v->in[2]->v[0]);
    count = n > 0 && n <= TENSOR_COUNT_MAX ? (int64_t)n : 0;
    if (!(n <= TENSOR_COUNT_MAX) || !eval_make(v, v->in[0]->dtype, 1, &count))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (int64_t i = 0; i < count; i++)
        v->out[0]->v[i] = v->in[0]->v[0] + (double)i * v->in[2]->v[0];
    return 0;
}

int eval_shape(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t start = source_attr_int(v->node, "start", 0), end, n;

    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    end = source_attr_int(v->node, "end", x->rank);
    start = start < 0 ? start + x->rank : start;
    end = end < 0 ? end + x->rank : end;
    start = start < 0 ? 0 : start;
    end = end > x->rank ? x->rank : end;
    n = end > start ? end - start : 0;
    if (!eval_make(v, DTYPE_INT64, 1, &n))
        return eval_bad(v, ERR_NOMEM, "no memory", e);
    for (int64_t i = 0; i < n; i++)
        v->out[0]->v[i] = (double)x->dims[start + i];
    return 0;
}

int eval_size(struct eval *v, struct err *e)
{
    if (!v->in[0] || !eval_make(v, DTYPE_INT64, 0, NULL))
        return eval_bad(v, ERR_FORMAT, "no input", e);
    v->out[0]->v[0] = (double)v->in[0]->count;
    return 0;
}

static int reshape_dims(const struct eval *v, const int64_t *dims, int rank, struct reshape *out,
                        struct err *e)
{
    int64_t total = dims_count(dims, rank, INT64_MAX), known = 1;
    bool allow_zero = source_attr_int(v->node, "allowzero", 0) != 0;
    int free = -1;
    int rc = dims_input(v, 1, out, e);

    if (rc < 0)
        return rc;
    for (int i = 0; i < out->rank; i++) {
        if (out->dims[i] == 0 && !allow_zero && i < rank)
            out->dims[i] = dims[i];
        if (out->dims[i] == -1 && free < 0)
            free = i;
        else if (out->dims[i] < 0 || out->dims[i] > INT32_MAX || known > INT32_MAX)
            return eval_bad(v, ERR_FORMAT, "a shape that does not fit", e);
        else
            known *= out->dims[i];
    }
    if (free >= 0)
        out->dims[free] = known ? total / known : 0;
    if (dims_count(out->dims, out->rank, INT64_MAX) != total)
        return eval_bad(v, ERR_FORMAT, "a shape that does not fit", e);
    return 0;
}

static int unsqueeze_dims(const struct eval *v, const int64_t *dims, int rank, struct reshape *out,
                          struct err *e)
{
    int64_t axes[TENSOR_RANK];
    bool is_new[TENSOR_RANK] = {false};
    int count, rc = eval_ints(v, "axes", 1, axes, TENSOR_RANK, &count, e);

    if (rc < 0)
        return rc;
    if (count < 0 || rank + count > TENSOR_RANK)
        return eval_bad(v, ERR_FORMAT, "axes that do not fit", e);
    out->rank = rank + count;
    for (int i = 0; i < count; i++) {
        axes[i] = eval_axis(axes[i], out->rank);
        if (axes[i] < 0 || is_new[axes[i]])
            return eval_bad(v, ERR_FORMAT, "axes that do not fit", e);
        is_new[axes[i]] = true;
    }
    for (int i = 0, k = 0; i < out->rank; i++)
        out->dims[i] = is_new[i] ? 1 : dims[k++];
    return 0;
}

static int squeeze_dims(const struct eval *v, const int64_t *dims, int rank, struct reshape *out,
                        struct err *e)
{
    int64_t axes[TENSOR_RANK];
    bool gone[TENSOR_RANK] = {false};
    int count, rc = eval_ints(v, "axes", 1, axes, TENSOR_RANK, &count, e);

    if (rc < 0)
        return rc;
    for (int i = 0; i < count; i++) {
        int64_t axis = eval_axis(axes[i], rank);

        if (axis < 0 || dims[axis] != 1)
            return eval_bad(v, ERR_FORMAT, "an axis that is not 1", e);
        gone[axis] = true;
    }
    out->rank = 0;
    for (int i = 0; i < rank; i++)
        if (count < 0 ? dims[i] != 1 : !gone[i])
            out->dims[out->rank++] = dims[i];
    return 0;
}

int eval_reshape_dims(const struct eval *v, const int64_t *dims, int rank, struct reshape *out,
                      struct err *e)
{
    int64_t axis;

    memset(out, 0, sizeof *out);
    switch (v->node->op[0]) {
    case 'R':
        return reshape_dims(v, dims, rank, out, e);
    case 'U':
        return unsqueeze_dims(v, dims, rank, out, e);
    case 'S':
        return squeeze_dims(v, dims, rank, out, e);
    default:
        axis = source_attr_int(v->node, "axis", 1);
        axis = axis < 0 ? axis + rank : axis;
        if (axis < 0 || axis > rank)
            return eval_bad(v, ERR_FORMAT, "an axis that does not exist", e);
        out->rank = 2;
        out->dims[0] = dims_count(dims, (int)axis, INT64_MAX);
        out->dims[1] = dims_count(dims + axis, rank - (int)axis, INT64_MAX);
        return 0;
    }
}

int eval_reshape(struct eval *v, struct err *e)
{
    struct reshape r;
    int rc;

    if (!v->in[0])
        return eval_bad(v, ERR_FORMAT, "no input", e);
    rc = eval_reshape_dims(v, v->in[0]->dims, v->in[0]->rank, &r, e);
    if (rc < 0)
        return rc;
    if (!eval_make(v, v->in[0]->dtype, r.rank, r.dims) || v->out[0]->count != v->in[0]->count)
        return eval_bad(v, ERR_FORMAT, "a shape that does not fit", e);
    memcpy(v->out[0]->v, v->in[0]->v, v->in[0]->count * sizeof(double));
    return 0;
}

/* out[at] = in[sum of at * strides + begin]: what transpose, slice and expand share. */
static int strided(struct eval *v, int rank, const int64_t *dims, const int64_t *strides,
                   int64_t begin, struct err *e)
{
    int64_t at[TENSOR_RANK] = {0}, from = begin;
    struct tensor *out = eval_make(v, v->in[0]->dtype, rank, dims);

    if (!out)
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < out->count; i++) {
        out->v[i] = v->in[0]->v[from];
        for (int k = rank - 1; k >= 0; k--) {
            from += strides[k];
            if (++at[k] < dims[k])
                break;
            from -= at[k] * strides[k];
            at[k] = 0;
        }
    }
    return 0;
}

int eval_transpose(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t perm[TENSOR_RANK], from[TENSOR_RANK], dims[TENSOR_RANK], strides[TENSOR_RANK];
    int count, rc = eval_ints(v, "perm", -1, perm, TENSOR_RANK, &count, e);

    if (rc < 0)
        return rc;
    if (!x || (count >= 0 && count != x->rank))
        return eval_bad(v, ERR_FORMAT, "a permutation that does not fit", e);
    dims_strides(x->dims, x->rank, from);
    for (int i = 0; i < x->rank; i++) {
        int64_t k = count < 0 ? x->rank - 1 - i : perm[i];

        if (k < 0 || k >= x->rank)
            return eval_bad(v, ERR_FORMAT, "a permutation that does not fit", e);
        dims[i] = x->dims[k];
        strides[i] = from[k];
    }
    return strided(v, x->rank, dims, strides, 0, e);
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

int eval_slice_ranges(const struct eval *v, const int64_t *dims, int rank, struct slices *out,
                      struct err *e)
{
    int64_t starts[TENSOR_RANK], ends[TENSOR_RANK], axes[TENSOR_RANK], steps[TENSOR_RANK];
    int n, ne, na, ns, rc;

    if ((rc = eval_ints(v, "starts", 1, starts, TENSOR_RANK, &n, e)) < 0 ||
        (rc = eval_ints(v, "ends", 2, ends, TENSOR_RANK, &ne, e)) < 0 ||
        (rc = eval_ints(v, "axes", 3, axes, TENSOR_RANK, &na, e)) < 0 ||
        (rc = eval_ints(v, NULL, 4, steps, TENSOR_RANK, &ns, e)) < 0)
        return rc;
    for (int i = 0; i < rank; i++) {
        out->begin[i] = 0;
        out->step[i] = 1;
        out->count[i] = dims[i];
    }
    if (n < 0 || n > rank || ne != n || (na >= 0 && na != n) || (ns >= 0 && ns != n))
        return eval_bad(v, ERR_FORMAT, "bounds that do not fit", e);
    for (int i = 0; i < n; i++) {
        int64_t k = eval_axis(na < 0 ? i : axes[i], rank), d, b = starts[i], f = ends[i];
        int64_t step = ns < 0 ? 1 : steps[i];

        if (k < 0 || step == 0 || step == INT64_MIN)
            return eval_bad(v, ERR_FORMAT, "bounds that do not fit", e);
        d = dims[k];
        b = b < -d ? -d : b > d ? d : b;
        f = f < -d - 1 ? -d - 1 : f > d ? d : f;
        b = b < 0 ? b + d : b;
        f = f < 0 ? f + d : f;
        b = step > 0 ? clamp(b, 0, d) : clamp(b, 0, d - 1);
        f = step > 0 ? clamp(f, 0, d) : clamp(f, -1, d - 1);
        out->begin[k] = b;
        out->step[k] = step;
        out->count[k] =
            step > 0 ? (f > b ? (f - b - 1) / step + 1 : 0) : (b > f ? (b - f - 1) / -step + 1 : 0);
    }
    return 0;
}

int eval_slice(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t strides[TENSOR_RANK], begin = 0;
    struct slices s;
    int rc;

    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    rc = eval_slice_ranges(v, x->dims, x->rank, &s, e);
    if (rc < 0)
        return rc;
    dims_strides(x->dims, x->rank, strides);
    for (int i = 0; i < x->rank; i++) {
        begin += s.begin[i] * strides[i];
        strides[i] *= s.step[i];
    }
    return strided(v, x->rank, s.count, strides, begin, e);
}

int eval_expand(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t dims[TENSOR_RANK], strides[TENSOR_RANK], from[TENSOR_RANK];
    struct reshape r;
    int rank, rc = dims_input(v, 1, &r, e);

    if (rc < 0)
        return rc;
    if (!x || !dims_broadcast(x->dims, x->rank, r.dims, r.rank, dims, &rank))
        return eval_bad(v, ERR_FORMAT, "a shape that does not fit", e);
    dims_strides(x->dims, x->rank, from);
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - x->rank);

        strides[i] = k < 0 || x->dims[k] == 1 ? 0 : from[k];
    }
    return strided(v, rank, dims, strides, 0, e);
}

int eval_tile(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t dims[TENSOR_RANK], at[TENSOR_RANK], strides[TENSOR_RANK], out_strides[TENSOR_RANK];
    struct reshape r;
    int rc = dims_input(v, 1, &r, e);

    if (rc < 0)
        return rc;
    if (!x || r.rank != x->rank)
        return eval_bad(v, ERR_FORMAT, "repeats that do not fit", e);
    for (int i = 0; i < x->rank; i++)
        if (r.dims[i] < 0 || r.dims[i] > TENSOR_COUNT_MAX ||
            (dims[i] = x->dims[i] * r.dims[i]) > TENSOR_COUNT_MAX)
            return eval_bad(v, ERR_LIMIT, "too large", e);
    if (!eval_make(v, x->dtype, x->rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    dims_strides(x->dims, x->rank, strides);
    dims_strides(dims, x->rank, out_strides);
    for (size_t i = 0; i < v->out[0]->count; i++) {
        int64_t rest = (int64_t)i, from = 0;

        for (int k = 0; k < x->rank; k++) {
            at[k] = rest / out_strides[k];
            rest %= out_strides[k];
            from += at[k] % x->dims[k] * strides[k];
        }
        v->out[0]->v[i] = x->v[from];
    }
    return 0;
}

static int concat_dims(const struct eval *v, int64_t *axis, int64_t *dims, struct err *e)
{
    const struct tensor *x = v->in[0];

    *axis = x ? eval_axis(source_attr_int(v->node, "axis", 0), x->rank) : -1;
    if (*axis < 0)
        return eval_bad(v, ERR_FORMAT, "an axis that does not exist", e);
    memcpy(dims, x->dims, sizeof x->dims);
    dims[*axis] = 0;
    for (int i = 0; i < v->node->in_count; i++) {
        const struct tensor *t = v->in[i];

        if (!t || t->rank != x->rank)
            return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
        for (int k = 0; k < t->rank; k++)
            if (k != *axis && t->dims[k] != x->dims[k])
                return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
        dims[*axis] += t->dims[*axis];
    }
    return 0;
}

int eval_concat(struct eval *v, struct err *e)
{
    int64_t axis, dims[TENSOR_RANK], before = 0;
    int rc = concat_dims(v, &axis, dims, e);
    size_t inner, outer;

    if (rc < 0)
        return rc;
    if (!eval_make(v, v->in[0]->dtype, v->in[0]->rank, dims))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    inner = (size_t)dims_count(dims + axis + 1, v->in[0]->rank - (int)axis - 1, INT64_MAX);
    outer = (size_t)dims_count(dims, (int)axis, INT64_MAX);
    for (int i = 0; i < v->node->in_count; i++) {
        size_t run = (size_t)v->in[i]->dims[axis] * inner;

        for (size_t o = 0; run && o < outer; o++)
            memcpy(v->out[0]->v + (o * (size_t)dims[axis] + (size_t)before) * inner,
                   v->in[i]->v + o * run, run * sizeof(double));
        before += v->in[i]->dims[axis];
    }
    return 0;
}

int eval_split_sizes(const struct eval *v, int64_t size, int64_t *sizes, struct err *e)
{
    int parts = v->node->out_count, count, rc;
    int64_t sum = 0, each = parts ? (size + parts - 1) / parts : 0;

    rc = eval_ints(v, "split", 1, sizes, EVAL_OUT, &count, e);
    if (rc < 0)
        return rc;
    if (count >= 0 && count != parts)
        return eval_bad(v, ERR_FORMAT, "parts that do not fit", e);
    for (int i = 0; i < parts; i++) {
        if (count < 0)
            sizes[i] = size - sum < each ? size - sum : each;
        if (sizes[i] < 0 || sizes[i] > size - sum)
            return eval_bad(v, ERR_FORMAT, "parts that do not fit", e);
        sum += sizes[i];
    }
    return sum == size ? 0 : eval_bad(v, ERR_FORMAT, "parts that do not fit", e);
}

int eval_split(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int64_t axis = x ? eval_axis(source_attr_int(v->node, "axis", 0), x->rank) : -1;
    int64_t sizes[EVAL_OUT], strides[TENSOR_RANK], dims[TENSOR_RANK], begin = 0;
    struct tensor *parts[EVAL_OUT];
    int rc;

    if (axis < 0)
        return eval_bad(v, ERR_FORMAT, "an axis that does not exist", e);
    rc = eval_split_sizes(v, x->dims[axis], sizes, e);
    dims_strides(x->dims, x->rank, strides);
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 0; rc == 0 && i < v->node->out_count; i++) {
        dims[axis] = sizes[i];
        rc = strided(v, x->rank, dims, strides, begin * strides[axis], e);
        parts[i] = v->out[0];
        begin += sizes[i];
    }
    for (int i = 0; rc == 0 && i < v->node->out_count; i++)
        v->out[i] = parts[i];
    return rc;
}
