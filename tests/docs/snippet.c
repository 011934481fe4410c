/* Is standard input one well-formed JSON value? For the snippets of the pages. */
#include <stdio.h>

#include "platform/json/json.h"

int main(void)
{
    struct err e = ERR_INIT;
    struct buf b;
    json_t *v = NULL;
    char chunk[4096];
    size_t n;
    int rc;

    buf_init(&b, 1 << 20);
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        buf_add(&b, chunk, n);
    rc = buf_check(&b, "standard input", &e);
    if (rc == 0)
        rc = json_parse(b.data, b.len, NULL, &v, &e);
    if (rc < 0)
        fprintf(stderr, "%s\n", e.text);
    json_decref(v);
    buf_release(&b);
    return err_exit_status(rc);
}
