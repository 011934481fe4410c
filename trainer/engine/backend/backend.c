/* Backends by name. The only place that knows which there are. */
#include "trainer/engine/backend/backend.h"

#include <string.h>

static const struct {
    const char *name;
    int (*open)(struct backend **, const struct backend_options *, struct err *);
} backends[] = {
    {"cpu", backend_cpu},
    {"reference", backend_reference},
};

int backend_open(struct backend **out, const char *name, const struct backend_options *options,
                 struct err *e)
{
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++)
        if (strcmp(backends[i].name, name) == 0)
            return backends[i].open(out, options, e);
    return err_set(e, ERR_CONFIG, "no backend is called '%.40s': there are cpu and reference",
                   name);
}

const char *backend_fingerprint(struct backend *b)
{
    return b->fingerprint;
}
