/* The model as a Graphviz graph: `tripline inspect MODEL --dot | dot -Tpng`. */
#include <string.h>

#include "cli/inspect.h"

/* Inside double quotes: \ would begin an escape, " would end the string. */
static void quoted(const char *text, size_t len, struct buf *to)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            buf_str(to, "\\n");
            continue;
        }
        if (text[i] == '"' || text[i] == '\\')
            buf_char(to, '\\');
        buf_char(to, text[i]);
    }
}

static void box(const json_t *v, size_t index, struct buf *to)
{
    const char *kind = inspect_string(v, "kind");
    bool outside = strcmp(kind, "input") == 0 || strcmp(kind, "output") == 0;
    struct buf lines;

    buf_init(&lines, (size_t)1 << 20);
    inspect_lines(v, &lines);
    buf_printf(to, "  n%zu [label=\"", index);
    quoted(lines.data ? lines.data : "", lines.len ? lines.len - 1 : 0, to);
    buf_printf(to, "\"%s%s];\n", outside ? ", shape=ellipse" : "",
               inspect_is_frozen(v) ? ", fillcolor=\"#d8d8d8\"" : "");
    buf_release(&lines);
}

void inspect_dot(const json_t *model, struct buf *to)
{
    const json_t *graph = json_object_get(model, "graph");
    json_t *v;
    size_t i;

    buf_str(to,
            "digraph model {\n"
            "  node [shape=box, style=filled, fillcolor=\"#ffffff\", fontname=\"monospace\"];\n");
    json_array_foreach(json_object_get(graph, "boxes"), i, v) box(v, i, to);
    json_array_foreach(json_object_get(graph, "edges"), i, v)
        buf_printf(to, "  n%lld -> n%lld;\n", (long long)json_integer_value(json_array_get(v, 0)),
                   (long long)json_integer_value(json_array_get(v, 1)));
    buf_str(to, "}\n");
}
