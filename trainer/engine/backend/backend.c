/* The one place that knows concrete backends by name. */
#include "trainer/engine/backend/backend.h"

#include <string.h>

int backend_open(struct backend **out, const char *name, const struct backend_options *options,
                 struct err *e)
{
    if (!strcmp(name, "cpu"))
        return backend_cpu(out, options, e);
    if (!strcmp(name, "reference"))
        return backend_reference(out, options, e);
    return err_set(e, ERR_CONFIG, "backend '%s' is unknown: cpu or reference", name);
}

const char *backend_fingerprint(struct backend *b)
{
    return b->fingerprint;
}
