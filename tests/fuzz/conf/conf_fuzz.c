/* Any bytes as a file of settings: read, or refused with a message; what is printed reads back. */
#include <stdlib.h>

#include "platform/conf/conf.h"
#include "platform/conf/services.h"
#include "tests/fuzz/fuzz.h"

static struct conf *fresh(struct settings *s)
{
    struct err e = ERR_INIT;
    struct conf *c;

    if (conf_new(&c, &e) < 0 || settings_add(c, s, SETTINGS_ALL, &e) < 0)
        abort();
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct settings s, again;
    struct err e = ERR_INIT;
    struct conf *c = fresh(&s), *c2 = fresh(&again);
    struct buf b;
    int rc = conf_text(c, "fuzz", (const char *)bytes, n, &e);

    if (rc < 0 && (e.code != rc || !e.text[0]))
        abort();
    if (rc == 0) {
        buf_init(&b, 1 << 20);
        conf_print(c, &b);
        if (b.failed || conf_text(c2, "printed", b.data, b.len, &e) < 0)
            abort();
        if (s.s3.part_size != again.s3.part_size || s.s3.deadline != again.s3.deadline)
            abort();
        buf_release(&b);
    }
    conf_free(c);
    conf_free(c2);
    return 0;
}
