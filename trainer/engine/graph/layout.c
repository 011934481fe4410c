#include "trainer/engine/graph/layout.h"

#include <string.h>

int64_t atom_size(const struct atom *a, const struct probe_size *p)
{
    return a->kind == ATOM_DOC ? p->docs : a->kind == ATOM_COL ? a->size : p->tokens;
}

void layout_dims(const struct layout *l, const struct probe_size *p, int64_t *dims)
{
    for (int i = 0; i < l->rank; i++) {
        dims[i] = 1;
        for (int k = l->first[i]; k < l->first[i + 1]; k++)
            dims[i] *= atom_size(&l->atoms[k], p);
    }
}

void layout_clear(struct layout *l)
{
    memset(l, 0, sizeof *l);
}

bool layout_axis(struct layout *l, const struct atom *atoms, int count)
{
    int at = l->first[l->rank];

    if (l->rank == TENSOR_RANK || at + count > ATOMS)
        return false;
    for (int i = 0; i < count; i++)
        l->atoms[at + i] = atoms[i];
    l->first[++l->rank] = at + count;
    return true;
}

static bool continues(const struct atom *outer, const struct atom *inner)
{
    return outer->kind == ATOM_COL && inner->kind == ATOM_COL &&
           outer->stride == inner->size * inner->stride;
}

void layout_normalise(struct layout *l)
{
    struct layout out;

    layout_clear(&out);
    for (int i = 0; i < l->rank; i++) {
        struct atom axis[ATOMS];
        int n = 0;

        for (int k = l->first[i]; k < l->first[i + 1]; k++) {
            const struct atom *a = &l->atoms[k];

            if (a->kind == ATOM_COL && a->size == 1)
                continue;
            if (n && continues(&axis[n - 1], a)) {
                axis[n - 1].size *= a->size;
                axis[n - 1].stride = a->stride;
            } else {
                axis[n++] = *a;
            }
        }
        layout_axis(&out, axis, n);
    }
    *l = out;
}

bool layout_has(const struct layout *l, enum atom_kind kind)
{
    return layout_axis_of(l, kind) >= 0;
}

int layout_axis_of(const struct layout *l, enum atom_kind kind)
{
    for (int i = 0; i < l->rank; i++)
        for (int k = l->first[i]; k < l->first[i + 1]; k++)
            if (l->atoms[k].kind == kind)
                return i;
    return -1;
}

bool layout_axis_is(const struct layout *l, int axis, enum atom_kind kind)
{
    return axis >= 0 && axis < l->rank && layout_axis_atoms(l, axis) == 1 &&
           l->atoms[l->first[axis]].kind == kind;
}

static bool sizes_are(const struct atom *a, const struct probe_size sizes[PROBES],
                      const int64_t want[PROBES])
{
    for (int p = 0; p < PROBES; p++)
        if (want[p] % atom_size(a, &sizes[p]))
            return false;
    return true;
}

/* Takes atoms from `from` on until the axis has its size at every probe; may split a column atom.
 */
static bool fill_axis(struct atom *from, int *at, int *count, const struct probe_size sizes[PROBES],
                      int64_t want[PROBES], struct atom *axis, int *n)
{
    *n = 0;
    for (;;) {
        struct atom *a = &from[*at];
        bool done = true, same = true;

        for (int p = 0; p < PROBES; p++) {
            done = done && want[p] == 1;
            same = same && want[p] == want[0];
        }
        if (done)
            return true;
        if (*at == *count)
            return false;
        if (sizes_are(a, sizes, want)) {
            for (int p = 0; p < PROBES; p++)
                want[p] /= atom_size(a, &sizes[p]);
            axis[(*n)++] = *a;
            ++*at;
            continue;
        }
        if (a->kind != ATOM_COL || !same || a->size % want[0])
            return false;
        axis[*n] = *a; /* the outer part; the rest stays for the next axis */
        axis[*n].size = want[0];
        axis[*n].stride = a->stride * (a->size / want[0]);
        a->size /= want[0];
        ++*n;
        return true;
    }
}

bool layout_reshape(const struct layout *l, const struct probe_size sizes[PROBES],
                    int64_t dims[PROBES][TENSOR_RANK], int rank, struct layout *out)
{
    struct atom flat[ATOMS], axis[ATOMS + 1];
    struct layout whole;
    int count, at = 0, n;

    whole = *l;
    layout_normalise(&whole);
    count = whole.first[whole.rank];
    memcpy(flat, whole.atoms, sizeof flat);
    for (int i = 0, k = 0; i < count; i++) { /* pieces that continue each other across axes */
        if (i && continues(&flat[k - 1], &flat[i])) {
            flat[k - 1].size *= flat[i].size;
            flat[k - 1].stride = flat[i].stride;
        } else {
            flat[k++] = flat[i];
        }
        if (i == count - 1) {
            count = k;
            break;
        }
    }
    layout_clear(out);
    for (int i = 0; i < rank; i++) {
        int64_t want[PROBES];

        for (int p = 0; p < PROBES; p++)
            if ((want[p] = dims[p][i]) <= 0)
                return false;
        if (!fill_axis(flat, &at, &count, sizes, want, axis, &n) || !layout_axis(out, axis, n))
            return false;
    }
    layout_normalise(out);
    return at == count;
}

void layout_transpose(const struct layout *l, const int64_t *perm, struct layout *out)
{
    layout_clear(out);
    for (int i = 0; i < l->rank; i++) {
        int k = (int)perm[i];

        layout_axis(out, &l->atoms[l->first[k]], layout_axis_atoms(l, k));
    }
}

bool layout_axis_equal(const struct layout *a, int i, const struct layout *b, int k, bool strides)
{
    if (layout_axis_atoms(a, i) != layout_axis_atoms(b, k))
        return false;
    for (int n = 0; n < layout_axis_atoms(a, i); n++) {
        const struct atom *x = &a->atoms[a->first[i] + n], *y = &b->atoms[b->first[k] + n];

        if (x->kind != y->kind)
            return false;
        if (x->kind == ATOM_COL && (x->size != y->size || (strides && x->stride != y->stride)))
            return false;
    }
    return true;
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (!layout_axis_equal(a, i, b, i, true))
            return false;
    return true;
}

bool layout_guess(const struct probe_size sizes[PROBES], const int64_t size[PROBES],
                  struct atom *atoms, int *count)
{
    bool one = true, docs = true, tokens = true, both = true;

    for (int p = 0; p < PROBES; p++) {
        one = one && size[p] == 1;
        docs = docs && size[p] == sizes[p].docs;
        tokens = tokens && size[p] == sizes[p].tokens;
        both = both && size[p] == (int64_t)sizes[p].docs * sizes[p].tokens;
    }
    *count = 0;
    if (docs || both)
        atoms[(*count)++] = (struct atom){ATOM_DOC, 0, 0};
    if (tokens || both)
        atoms[(*count)++] = (struct atom){ATOM_TOK, 0, 0};
    return one || *count;
}

bool layout_columns_whole(const struct layout *l, int cols)
{
    int64_t next = cols;

    for (int k = 0; k < l->first[l->rank]; k++) {
        const struct atom *a = &l->atoms[k];

        if (a->kind != ATOM_COL)
            continue;
        if (a->size * a->stride != next)
            return false;
        next = a->stride;
    }
    return next == 1 || cols == 1;
}
