#include "trainer/data/sampler.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/counter.h"

/* Uses of the seed. */
enum { STREAM_DOCS = 0x73616d31, STREAM_LABELS, STREAM_TIES, STREAM_ORDER, STREAM_COMPLETE };

struct chunk {
    int32_t first, count; /* into docs */
    int32_t next;         /* chunk of the same batch; -1: none */
};

struct bin { /* a batch that is being filled */
    int32_t fill, index;
    uint64_t tie;
};

struct sampler {
    struct sampler_info info;
    uint64_t seed;
    int k, label_count;
    bool pairs;      /* scored ones; then what is about labels is not there */
    int32_t *starts; /* (label_count + 1) into docs */
    int32_t *sorted; /* (N) documents by label, in their own order */
    int32_t *docs;   /* (N) the same, shuffled inside each label for the epoch */
    int32_t *order;  /* labels with documents, or pairs, shuffled for the epoch */
    struct chunk *chunks;
    int32_t *heads;   /* (batches) chunk that came last to a batch */
    struct bin *heap; /* (batches) */
    int32_t *indices; /* (indices_cap) one batch after the other */
    int32_t *offsets; /* (batches + 1) into indices */
    int32_t *rank;    /* (batches) batch at a step */
    int chunk_count, chunk_max, indices_cap;
    bool made;
    uint32_t epoch;
};

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    free(s->starts);
    free(s->sorted);
    free(s->docs);
    free(s->order);
    free(s->chunks);
    free(s->heads);
    free(s->heap);
    free(s->indices);
    free(s->offsets);
    free(s->rank);
    free(s);
}

const struct sampler_info *sampler_info(const struct sampler *s)
{
    return &s->info;
}

/* How many chunks a label's n documents make: ceil(n / k), but none of one document. */
static int chunks_of(int n, int k)
{
    int c = (n + k - 1) / k;

    return n >= 2 && n / c < 2 ? n / 2 : c;
}

/* Fisher-Yates. */
static void shuffle(int32_t *a, int n, uint64_t seed, uint32_t epoch, uint32_t stream,
                    uint64_t base)
{
    int i;

    for (i = n - 1; i > 0; i--) {
        uint64_t bits = counter_u64(seed, epoch, stream, base + (uint64_t)i);
        int j = (int)counter_below(bits, (uint64_t)i + 1);
        int32_t t = a[i];

        a[i] = a[j];
        a[j] = t;
    }
}

static int count_labels(struct sampler *s, const int32_t *labels, int n, struct err *e)
{
    int pairs = 0, i, l;

    for (i = 0; i < n; i++) {
        if (labels[i] < 0 || labels[i] >= s->label_count)
            return err_set(e, ERR_INTERNAL, "document %d has label %d of %d", i, (int)labels[i],
                           s->label_count);
        s->starts[labels[i] + 1]++;
    }
    for (l = 0; l < s->label_count; l++) {
        int count = s->starts[l + 1];

        s->info.labels += count > 0;
        s->info.singles += count == 1;
        pairs += count > 1;
        s->chunk_count += count ? chunks_of(count, s->k) : 0;
        s->starts[l + 1] += s->starts[l];
    }
    if (s->info.labels < 2)
        return err_set(e, ERR_FORMAT,
                       "all %d documents have one label: training needs documents of two labels",
                       n);
    if (pairs == 0)
        return err_set(e, ERR_FORMAT,
                       "each of %d labels has a single document: training needs labels with two "
                       "documents at least",
                       s->info.labels);
    return 0;
}

static int allocate(struct sampler *s, int n, int label_count, struct err *e)
{
    s->starts = calloc((size_t)label_count + 1, sizeof *s->starts);
    s->sorted = calloc((size_t)n + 1, sizeof *s->sorted);
    s->docs = calloc((size_t)n + 1, sizeof *s->docs);
    s->order = calloc((size_t)label_count + 1, sizeof *s->order);
    if (!s->starts || !s->sorted || !s->docs || !s->order)
        return err_set(e, ERR_NOMEM, "sampler of %d documents", n);
    return 0;
}

static int allocate_batches(struct sampler *s, struct err *e)
{
    size_t b = (size_t)s->info.batches;

    /* every batch may be completed by one chunk and more */
    s->indices_cap = s->info.documents + s->info.batches * 2 * s->chunk_max;
    s->chunks = calloc((size_t)s->chunk_count, sizeof *s->chunks);
    s->heads = calloc(b, sizeof *s->heads);
    s->heap = calloc(b, sizeof *s->heap);
    s->rank = calloc(b, sizeof *s->rank);
    s->offsets = calloc(b + 1, sizeof *s->offsets);
    s->indices = calloc((size_t)s->indices_cap, sizeof *s->indices);
    if (!s->chunks || !s->heads || !s->heap || !s->rank || !s->offsets || !s->indices)
        return err_set(e, ERR_NOMEM, "sampler of %d batches", s->info.batches);
    return 0;
}

static void sort_by_label(struct sampler *s, const int32_t *labels, int n)
{
    int i, l;

    for (i = 0; i < n; i++)
        s->sorted[s->starts[labels[i]]++] = i;
    for (l = s->label_count; l > 0; l--)
        s->starts[l] = s->starts[l - 1];
    s->starts[0] = 0;
}

int sampler_new(struct sampler **out, const int32_t *labels, int n, int label_count, int p, int k,
                uint64_t seed, struct err *e)
{
    struct sampler *s;
    int rc;

    if (p < 2 || k < 2 || p > 1 << 14 || k > 1 << 14)
        return err_set(e, ERR_USAGE,
                       "%d labels x %d documents in a batch: both are 2 at least, 16384 at most", p,
                       k);
    if (n < 1 || n > 1 << 27 || label_count < 1)
        return err_set(e, ERR_FORMAT, "%d documents to train on", n);
    s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "sampler");
    s->k = k;
    s->seed = seed;
    s->label_count = label_count;
    s->chunk_max = k > 3 ? k : 3;
    s->info.documents = n;
    s->info.batches = (int)(((int64_t)n + (int64_t)p * k - 1) / ((int64_t)p * k));
    s->info.batch_max = p * k + 3 * s->chunk_max;
    if ((rc = allocate(s, n, label_count, e)) < 0 || (rc = count_labels(s, labels, n, e)) < 0 ||
        (rc = allocate_batches(s, e)) < 0)
        goto fail;
    sort_by_label(s, labels, n);
    *out = s;
    return 0;
fail:
    sampler_free(s);
    return rc;
}

int sampler_new_pairs(struct sampler **out, int pairs, int per_batch, uint64_t seed, struct err *e)
{
    struct sampler *s;

    if (per_batch < 2)
        return err_set(e, ERR_USAGE, "%d pairs in a batch: 2 at least", per_batch);
    if (pairs < 2 || pairs > 1 << 26)
        return err_set(e, ERR_FORMAT, "%d scored pairs to train on: two at least", pairs);
    if (!(s = calloc(1, sizeof *s)))
        return err_set(e, ERR_NOMEM, "sampler");
    s->pairs = true;
    s->seed = seed;
    s->info.documents = 2 * pairs;
    s->info.batches = pairs / per_batch + (pairs % per_batch > 0);
    if (s->info.batches > pairs / 2) /* none of one pair */
        s->info.batches = pairs / 2;
    s->info.batch_max = 2 * ((pairs + s->info.batches - 1) / s->info.batches);
    s->order = calloc((size_t)pairs, sizeof *s->order);
    s->indices = calloc(2 * (size_t)pairs, sizeof *s->indices);
    s->offsets = calloc((size_t)s->info.batches + 1, sizeof *s->offsets);
    if (!s->order || !s->indices || !s->offsets) {
        sampler_free(s);
        return err_set(e, ERR_NOMEM, "sampler of %d pairs", pairs);
    }
    *out = s;
    return 0;
}

static bool less(const struct bin *a, const struct bin *b)
{
    return a->fill != b->fill ? a->fill < b->fill : a->tie < b->tie;
}

static void sift_down(struct bin *heap, int n, int i)
{
    for (;;) {
        int c = 2 * i + 1;
        struct bin t;

        if (c >= n)
            return;
        if (c + 1 < n && less(&heap[c + 1], &heap[c]))
            c++;
        if (!less(&heap[c], &heap[i]))
            return;
        t = heap[i];
        heap[i] = heap[c];
        heap[c] = t;
        i = c;
    }
}

static void sift_up(struct bin *heap, int i)
{
    while (i > 0 && less(&heap[i], &heap[(i - 1) / 2])) {
        struct bin t = heap[i];

        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

/* One label's chunks [first, first + count), larger ones first, go to the emptiest batches; to
 * different ones while there are any. Ties fall by the counter. */
static void deal(struct sampler *s, int first, int count, uint32_t epoch)
{
    int left = s->info.batches, done = 0, back;

    while (done < count) {
        struct bin *out = &s->heap[left - 1], top = s->heap[0];
        struct chunk *c = &s->chunks[first + done];

        /* the top leaves the heap and waits behind it, so that it is not taken twice */
        s->heap[0] = *out;
        sift_down(s->heap, left - 1, 0);
        top.fill += c->count;
        top.tie = counter_u64(s->seed, epoch, STREAM_TIES, (uint64_t)(first + done));
        *out = top;
        c->next = s->heads[top.index];
        s->heads[top.index] = first + done;
        left--;
        done++;
        if (left > 0 && done < count)
            continue;
        for (back = left; back < s->info.batches; back++)
            sift_up(s->heap, back);
        left = s->info.batches;
    }
}

static void place_label(struct sampler *s, int32_t label, int *chunk, uint32_t epoch)
{
    int start = s->starts[label], n = s->starts[label + 1] - start, c = chunks_of(n, s->k), i;
    int at = start;

    shuffle(s->docs + start, n, s->seed, epoch, STREAM_DOCS, (uint64_t)start);
    for (i = 0; i < c; i++) {
        int size = n / c + (i < n % c);

        s->chunks[*chunk + i] = (struct chunk){at, size, -1};
        at += size;
    }
    deal(s, *chunk, c, epoch);
    *chunk += c;
}

static int32_t label_of(const struct sampler *s, int32_t at)
{
    int lo = 0, hi = s->label_count;

    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;

        if (s->starts[mid] <= at)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* A label for completing a batch that has only label `not` (-1: several, all of them singles):
 * another one, with a pair when `pair`. There is one: a batch without a pair has labels with a
 * single document only. Looks from a random place on, so that all of them have their turn. */
static int32_t other_label(const struct sampler *s, int32_t not, bool pair, uint64_t bits)
{
    int i, at = (int)counter_below(bits, (uint64_t)s->info.labels);

    for (i = 0; i < s->info.labels; i++) {
        int32_t l = s->order[(at + i) % s->info.labels];

        if (l != not &&(!pair || s->starts[l + 1] - s->starts[l] > 1))
            return l;
    }
    return s->order[0];
}

/* Up to k documents of a label, repeated, at the end of the batch. */
static int repeat(struct sampler *s, int32_t label, int at, uint64_t bits)
{
    int start = s->starts[label], n = s->starts[label + 1] - start;
    int count = n < s->k ? n : s->k, from = (int)counter_below(bits, (uint64_t)n), i;

    for (i = 0; i < count; i++)
        s->indices[at + i] = s->docs[start + (from + i) % n];
    s->info.repeats += count;
    return at + count;
}

/* Writes a batch's documents from its chunks and completes it; returns where the next one goes. */
static int emit(struct sampler *s, int32_t head, int at, uint32_t epoch, int step)
{
    uint64_t bits = counter_u64(s->seed, epoch, STREAM_COMPLETE, (uint64_t)step);
    int32_t only = -1, i, l;
    bool pair = false, two = false;

    for (; head >= 0; head = s->chunks[head].next) {
        const struct chunk *c = &s->chunks[head];

        l = label_of(s, c->first);
        two = two || (only >= 0 && l != only);
        only = l;
        pair = pair || c->count > 1;
        for (i = 0; i < c->count; i++)
            s->indices[at++] = s->docs[c->first + i];
    }
    if (!two || !pair) {
        l = other_label(s, two ? -1 : only, !pair, bits);
        at = repeat(s, l, at, bits * UINT64_C(0x9E3779B97F4A7C15));
    }
    return at;
}

/* Labels in random order, those with a single document last, so that every batch gets pairs first.
 */
static void order_labels(struct sampler *s, uint32_t epoch)
{
    int pairs = 0, singles = s->info.labels, l;

    for (l = 0; l < s->label_count; l++) {
        int n = s->starts[l + 1] - s->starts[l];

        if (n > 1)
            s->order[pairs++] = l;
        else if (n == 1)
            s->order[--singles] = l;
    }
    shuffle(s->order, pairs, s->seed, epoch, STREAM_LABELS, 0);
    shuffle(s->order + pairs, s->info.labels - pairs, s->seed, epoch, STREAM_LABELS,
            (uint64_t)pairs);
}

static void make_pairs(struct sampler *s, uint32_t epoch)
{
    int pairs = s->info.documents / 2, i;

    for (i = 0; i < pairs; i++)
        s->order[i] = i;
    shuffle(s->order, pairs, s->seed, epoch, STREAM_DOCS, 0);
    for (i = 0; i < pairs; i++) {
        s->indices[2 * i] = 2 * s->order[i];
        s->indices[2 * i + 1] = 2 * s->order[i] + 1;
    }
    for (i = 0; i <= s->info.batches; i++)
        s->offsets[i] = 2 * (int32_t)((int64_t)pairs * i / s->info.batches);
}

static void make(struct sampler *s, uint32_t epoch)
{
    int chunk = 0, at = 0, i;

    s->info.repeats = 0;
    memcpy(s->docs, s->sorted, (size_t)s->info.documents * sizeof *s->docs);
    order_labels(s, epoch);
    for (i = 0; i < s->info.batches; i++) {
        s->heads[i] = -1;
        s->heap[i] = (struct bin){0, i, (uint64_t)i};
        s->rank[i] = i;
    }
    for (i = 0; i < s->info.labels; i++)
        place_label(s, s->order[i], &chunk, epoch);
    shuffle(s->rank, s->info.batches, s->seed, epoch, STREAM_ORDER, 0);
    for (i = 0; i < s->info.batches; i++) {
        s->offsets[i] = at;
        at = emit(s, s->heads[s->rank[i]], at, epoch, i);
    }
    s->offsets[i] = at;
}

int sampler_batch(struct sampler *s, uint32_t epoch, int step, const int32_t **indices, int *count,
                  struct err *e)
{
    if (step < 0 || step >= s->info.batches)
        return err_set(e, ERR_INTERNAL, "batch %d of %d", step, s->info.batches);
    if (!s->made || s->epoch != epoch) {
        if (s->pairs)
            make_pairs(s, epoch);
        else
            make(s, epoch);
        s->made = true;
        s->epoch = epoch;
    }
    *indices = s->indices + s->offsets[step];
    *count = s->offsets[step + 1] - s->offsets[step];
    return 0;
}
