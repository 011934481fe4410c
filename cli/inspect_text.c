/* What a person reads of a model: layers, head, what trains, what it costs. */
#include <string.h>

#include "cli/inspect.h"

#define MIB 1048576.0

static void name(const json_t *v, const char *member, struct buf *to)
{
    inspect_clean(inspect_string(v, member), SIZE_MAX, to);
}

static void about(const json_t *m, struct buf *to)
{
    json_t *input;
    size_t i;

    buf_str(to, "model      ");
    name(m, "model", to);
    buf_printf(to, "\nformat     ONNX, opset %lld, written by ", inspect_number(m, "opset"));
    name(m, "producer", to);
    buf_str(to, "\ninputs     ");
    json_array_foreach(json_object_get(m, "inputs"), i, input)
    {
        buf_str(to, i ? ", " : "");
        name(input, "name", to);
        buf_printf(to, " (%s)", inspect_string(input, "role"));
    }
    buf_str(to, "\ntakes      ");
    if (inspect_number(m, "max_tokens"))
        buf_printf(to, "at most %lld tokens, ", inspect_number(m, "max_tokens"));
    buf_printf(to, "a vocabulary of %lld\n", inspect_number(m, "vocabulary"));
    buf_printf(to, "gives      %lld numbers for a text: pooling %s%s\n", inspect_number(m, "dim"),
               inspect_string(m, "pooling"),
               json_is_true(json_object_get(m, "normalized")) ? ", then length 1" : "");
}

static bool is_outside(const json_t *box)
{
    const char *kind = inspect_string(box, "kind");

    return strcmp(kind, "input") == 0 || strcmp(kind, "output") == 0;
}

/* The same operators, and as many parameters that train or not. */
static bool alike(const json_t *a, const json_t *b)
{
    static const char *const members[] = {"kind", "operators", "parameters", "trainable", "reads"};

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (!json_equal(json_object_get(a, members[i]), json_object_get(b, members[i])))
            return false;
    return true;
}

/* Its first line, the others indented. */
static void layer(const json_t *box, struct buf *to)
{
    struct buf lines;
    const char *at;

    buf_init(&lines, (size_t)1 << 20);
    inspect_lines(box, &lines);
    at = lines.data ? lines.data : "";
    for (int line = 0; *at; line++) {
        size_t len = strcspn(at, "\n");

        buf_printf(to, "%s%.*s\n", line ? "      " : "  ", (int)len, at);
        at += len + (at[len] == '\n');
    }
    buf_release(&lines);
}

static void layers(const json_t *m, struct buf *to)
{
    const json_t *before = NULL;
    json_t *box;
    size_t i;

    buf_printf(to, "\nlayers: %lld, ", inspect_number(m, "layers"));
    inspect_thousands(inspect_number(m, "parameter_count"), to);
    buf_str(to, " parameters, ");
    inspect_thousands(inspect_number(m, "trainable_count"), to);
    buf_str(to, " of them would train\n");
    json_array_foreach(json_object_get(json_object_get(m, "graph"), "boxes"), i, box)
    {
        if (is_outside(box))
            continue;
        if (alike(box, before)) {
            buf_str(to, "  ");
            name(box, "name", to);
            buf_str(to, "\n      ");
            name(box, "scope", to);
            buf_str(to, *inspect_string(box, "scope") ? ": as the one before\n"
                                                      : "as the one before\n");
        } else {
            layer(box, to);
        }
        before = box;
    }
}

static void head(const json_t *m, struct buf *to)
{
    const json_t *h = json_object_get(m, "head"), *off = json_object_get(m, "cut_off");
    json_t *v;
    size_t i;

    buf_str(to, "\nhead: cut at ");
    name(h, "cut", to);
    buf_printf(to, " (%s)\n", inspect_string(h, "why"));
    json_array_foreach(json_object_get(h, "candidates"), i, v)
    {
        buf_str(to, i ? "  or at " : "  places to cut at (--cut TENSOR), the last first\n  or at ");
        name(v, "tensor", to);
        buf_printf(to, ": %s, %lld columns\n", inspect_string(v, "why"),
                   inspect_number(v, "columns"));
    }
    buf_printf(to, "  %zu parameters are cut off, ",
               json_array_size(json_object_get(off, "parameters")));
    inspect_thousands(inspect_number(off, "numbers"), to);
    buf_str(to, " numbers\n");
    json_array_foreach(json_object_get(off, "parameters"), i, v)
    {
        buf_str(to, "    ");
        name(v, "name", to);
        buf_printf(to, ": %s\n", inspect_string(v, "why"));
    }
    json_array_foreach(json_object_get(h, "not_expressed"), i, v)
    {
        buf_str(to, "  not understood, and not needed: ");
        inspect_clean(json_string_value(v), SIZE_MAX, to);
        buf_char(to, '\n');
    }
}

static void frozen(const json_t *m, struct buf *to)
{
    const json_t *f = json_object_get(m, "frozen");
    json_t *v;
    size_t i;

    if (json_array_size(json_object_get(f, "reasons")) == 0) {
        buf_str(to, "\nfrozen: nothing (--set freeze=... as fit takes it)\n");
        return;
    }
    buf_str(to, "\nfrozen: ");
    inspect_thousands(inspect_number(f, "numbers"), to);
    buf_str(to, " numbers\n");
    json_array_foreach(json_object_get(f, "reasons"), i, v)
    {
        buf_printf(to, "  %lld parameters, ", inspect_number(v, "parameters"));
        inspect_thousands(inspect_number(v, "numbers"), to);
        buf_printf(to, " numbers: %s\n", inspect_string(v, "why"));
    }
}

static void padding(const json_t *m, struct buf *to)
{
    const json_t *p = json_object_get(m, "padding");
    size_t padded = json_array_size(json_object_get(p, "padded_operators"));
    long long unmasked = inspect_number(p, "attentions_without_padding_mask");

    buf_printf(to,
               "\npadding: %zu operators stay padded; %lld work row by row, %lld on a document's "
               "rows (attention, pooling, positions)\n",
               padded, inspect_number(p, "row_operators"), inspect_number(p, "document_operators"));
    if (unmasked)
        buf_printf(to,
                   "  %lld attentions do not read the padding mask: packed they never see padding, "
                   "in another runtime they would\n",
                   unmasked);
}

static double flops_of(const json_t *f, double n)
{
    return n * ((double)inspect_number(f, "per_token") +
                n * (double)inspect_number(f, "per_token_and_key") +
                (n + 1) / 2 * (double)inspect_number(f, "per_token_and_earlier_key")) +
           (double)inspect_number(f, "per_document");
}

static void flops_line(const json_t *f, const char *what, struct buf *to)
{
    buf_printf(to, "  %-9s a token ", what);
    inspect_thousands(inspect_number(f, "per_token"), to);
    if (inspect_number(f, "per_token_and_key")) {
        buf_str(to, " + n x ");
        inspect_thousands(inspect_number(f, "per_token_and_key"), to);
    }
    if (inspect_number(f, "per_token_and_earlier_key")) {
        buf_str(to, " + (n + 1) / 2 x ");
        inspect_thousands(inspect_number(f, "per_token_and_earlier_key"), to);
    }
    buf_str(to, ", a document ");
    inspect_thousands(inspect_number(f, "per_document"), to);
    buf_printf(to, "; 16, 64, 128 tokens: %.4g, %.4g, %.4g million\n", flops_of(f, 16) / 1e6,
               flops_of(f, 64) / 1e6, flops_of(f, 128) / 1e6);
}

static void flops(const json_t *m, struct buf *to)
{
    const json_t *f = json_object_get(m, "flops");

    buf_str(to, "\nfloating-point operations of a document of n tokens (matrix products; a "
                "multiplication and an addition are 2)\n");
    flops_line(json_object_get(f, "forward"), "forward", to);
    flops_line(json_object_get(f, "training"), "training", to);
}

static void memory(const json_t *m, struct buf *to)
{
    static const struct {
        const char *member;
        int width;
    } columns[] = {{"parameters", 10}, {"gradients", 9}, {"moments", 7},      {"activations", 11},
                   {"workspace", 9},   {"total", 8},     {"encode_total", 12}};
    const json_t *p = json_object_get(m, "memory");
    json_t *v;
    size_t i;

    buf_printf(to, "\nmemory of %lld documents at once in %lld lanes, MiB%s\n",
               inspect_number(p, "documents"), inspect_number(p, "lanes"),
               json_is_true(json_object_get(p, "trains")) ? "" : " (nothing would train)");
    buf_str(to, "  tokens each   lane tokens");
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
        buf_printf(to, "  %*s", columns[k].width, k == 6 ? "to encode" : columns[k].member);
    buf_char(to, '\n');
    if (json_array_size(json_object_get(p, "buckets")) == 0)
        buf_str(to, "  none: so many documents are no batch that could be run\n");
    json_array_foreach(json_object_get(p, "buckets"), i, v)
    {
        buf_printf(to, "  %11lld  %12lld", inspect_number(v, "length"),
                   inspect_number(v, "lane_tokens"));
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
            buf_printf(to, "  %*.1f", columns[k].width,
                       (double)inspect_number(v, columns[k].member) / MIB);
        buf_char(to, '\n');
    }
}

/* One line each; the reason only where it is another than the one before. */
static void tensors(const json_t *list, const char *title, struct buf *to)
{
    const char *why = "";
    json_t *v, *dim;
    size_t i, k;

    buf_printf(to, "\n%s: %zu\n", title, json_array_size(list));
    json_array_foreach(list, i, v)
    {
        if (strcmp(why, inspect_string(v, "why")) != 0) {
            why = inspect_string(v, "why");
            buf_printf(to, "  %s\n", why);
        }
        buf_str(to, "    ");
        name(v, "name", to);
        json_array_foreach(json_object_get(v, "shape"), k, dim)
            buf_printf(to, "%s%lld", k ? " x " : "  ", (long long)json_integer_value(dim));
        buf_char(to, '\n');
    }
}

void inspect_text(const json_t *model, struct buf *to)
{
    about(model, to);
    layers(model, to);
    head(model, to);
    frozen(model, to);
    padding(model, to);
    flops(model, to);
    memory(model, to);
    tensors(json_object_get(model, "parameters"), "parameters", to);
    tensors(json_object_get(model, "buffers"), "buffers", to);
}
