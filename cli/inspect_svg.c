/*
 * The model as a picture: boxes in rows, a box below all that feed it. The boxes are few
 * (inputs, embeddings, blocks, what stands behind the cut) and nearly a chain, so a row
 * is the longest way from an input, and a line that passes a row bends around it.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"

enum { LINE = 16, CHAR = 8, PAD = 10, GAP_X = 24, GAP_Y = 36, MARGIN = 24 };

struct drawn {
    int row, x, y, w, h;
    int lines;
    struct buf text;
};

struct picture {
    const json_t *boxes, *edges;
    struct drawn *at;
    int count, rows, width, height;
};

static void escaped(const char *text, size_t len, struct buf *to)
{
    for (size_t i = 0; i < len; i++)
        switch (text[i]) {
        case '<':
            buf_str(to, "&lt;");
            break;
        case '>':
            buf_str(to, "&gt;");
            break;
        case '&':
            buf_str(to, "&amp;");
            break;
        default:
            buf_char(to, text[i]);
        }
}

static size_t characters(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

static void measure(struct drawn *d, const json_t *box)
{
    size_t widest = 0;

    buf_init(&d->text, (size_t)1 << 20);
    d->lines = inspect_lines(box, &d->text);
    for (const char *at = d->text.data ? d->text.data : ""; *at;) {
        size_t len = strcspn(at, "\n");

        if (characters(at, len) > widest)
            widest = characters(at, len);
        at += len + (at[len] == '\n');
    }
    d->w = (int)widest * CHAR + 2 * PAD;
    d->h = d->lines * LINE + 2 * PAD;
}

/* Ends of an edge; false: not two boxes of the picture, the first before the second. */
static bool ends(const struct picture *p, const json_t *edge, int *from, int *to)
{
    json_int_t a = json_integer_value(json_array_get(edge, 0));
    json_int_t b = json_integer_value(json_array_get(edge, 1));

    *from = (int)a;
    *to = (int)b;
    return a >= 0 && a < b && b < p->count;
}

/* Edges are sorted by where they begin, and go forward: one pass gives the longest ways. */
static void find_rows(struct picture *p)
{
    json_t *edge;
    size_t i;
    int a, b;

    json_array_foreach(p->edges, i, edge)
    {
        if (!ends(p, edge, &a, &b))
            continue;
        if (p->at[b].row <= p->at[a].row)
            p->at[b].row = p->at[a].row + 1;
        if (p->at[b].row >= p->rows)
            p->rows = p->at[b].row + 1;
    }
}

static int row_width(const struct picture *p, int row, int *height)
{
    int w = -GAP_X;

    *height = 0;
    for (int i = 0; i < p->count; i++) {
        if (p->at[i].row != row)
            continue;
        w += p->at[i].w + GAP_X;
        if (p->at[i].h > *height)
            *height = p->at[i].h;
    }
    return w;
}

static void place(struct picture *p)
{
    int h, y = MARGIN;

    for (int row = 0; row < p->rows; row++) {
        int w = row_width(p, row, &h);

        p->width = w > p->width ? w : p->width;
    }
    p->width += 4 * MARGIN; /* lines that bend around a row need room */
    for (int row = 0; row < p->rows; row++) {
        int x = (p->width - row_width(p, row, &h)) / 2;

        for (int i = 0; i < p->count; i++) {
            if (p->at[i].row != row)
                continue;
            p->at[i].x = x;
            p->at[i].y = y;
            x += p->at[i].w + GAP_X;
        }
        y += h + GAP_Y;
    }
    p->height = y - GAP_Y + MARGIN;
}

static void draw_box(const struct drawn *d, const json_t *box, struct buf *to)
{
    const char *kind = inspect_string(box, "kind");
    bool outside = strcmp(kind, "input") == 0 || strcmp(kind, "output") == 0;
    const char *at = d->text.data ? d->text.data : "";

    buf_printf(to,
               "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\" "
               "stroke=\"#444\"/>\n",
               d->x, d->y, d->w, d->h, outside ? d->h / 2 : 4,
               inspect_is_frozen(box) ? "#d8d8d8"
               : outside              ? "#eef4ff"
                                      : "#fff");
    for (int i = 0; *at; i++) {
        size_t len = strcspn(at, "\n");

        buf_printf(to, "<text x=\"%d\" y=\"%d\"%s>", d->x + d->w / 2, d->y + PAD + LINE * i + 12,
                   i ? "" : " font-weight=\"bold\"");
        escaped(at, len, to);
        buf_str(to, "</text>\n");
        at += len + (at[len] == '\n');
    }
}

static void draw_edge(const struct picture *p, int a, int b, struct buf *to)
{
    const struct drawn *f = &p->at[a], *t = &p->at[b];
    int x1 = f->x + f->w / 2, y1 = f->y + f->h, x2 = t->x + t->w / 2, y2 = t->y - 6;
    int side = p->width - MARGIN / 2;

    if (t->row == f->row + 1)
        buf_printf(to, "<path d=\"M%d %dC%d %d %d %d %d %d\"/>\n", x1, y1, x1, y1 + GAP_Y / 2, x2,
                   y2 - GAP_Y / 2, x2, y2);
    else
        buf_printf(to, "<path d=\"M%d %dC%d %d %d %d %d %d\"/>\n", x1, y1, side, y1 + GAP_Y, side,
                   y2 - GAP_Y, x2, y2);
}

static void draw(const struct picture *p, struct buf *to)
{
    json_t *v;
    size_t i;
    int a, b;

    buf_printf(to,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\">\n"
               "<defs><marker id=\"arrow\" markerWidth=\"8\" markerHeight=\"8\" refX=\"2\" "
               "refY=\"4\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
               "<g fill=\"none\" stroke=\"#444\" marker-end=\"url(#arrow)\">\n",
               p->width, p->height, p->width, p->height);
    json_array_foreach(p->edges, i, v) if (ends(p, v, &a, &b)) draw_edge(p, a, b, to);
    buf_str(to, "</g>\n<g font-family=\"monospace\" font-size=\"13\" text-anchor=\"middle\">\n");
    for (int k = 0; k < p->count; k++)
        draw_box(&p->at[k], json_array_get(p->boxes, (size_t)k), to);
    buf_str(to, "</g>\n</svg>\n");
}

int inspect_svg(const json_t *model, struct buf *to, struct err *e)
{
    const json_t *graph = json_object_get(model, "graph");
    struct picture p = {.boxes = json_object_get(graph, "boxes"),
                        .edges = json_object_get(graph, "edges"),
                        .rows = 1};

    p.count = (int)json_array_size(p.boxes);
    p.at = calloc((size_t)p.count + 1, sizeof *p.at);
    if (!p.at)
        return err_set(e, ERR_NOMEM, "drawing the model");
    for (int i = 0; i < p.count; i++)
        measure(&p.at[i], json_array_get(p.boxes, (size_t)i));
    find_rows(&p);
    place(&p);
    draw(&p, to);
    for (int i = 0; i < p.count; i++)
        buf_release(&p.at[i].text);
    free(p.at);
    return 0;
}
