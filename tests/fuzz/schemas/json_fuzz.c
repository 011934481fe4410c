/* The quick reader of JSON takes nothing that jansson refuses, and reads the same values. */
#include <stdlib.h>

#include "schemas/record_int.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_limits limits = {RECORD_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_VALUES_MAX,
                                       RECORD_OBJECTS_MAX};
    json_t *quick = NULL, *slow = NULL;
    struct err e = ERR_INIT;
    msgpack_object tree;
    struct arena a;

    arena_init(&a, (size_t)256 << 20);
    if (tree_read_json(&a, data, size, &tree) == 1 &&
        (json_parse(data, size, &limits, &slow, &e) < 0 || tree_to_json(&tree, &quick, &e) < 0 ||
         !json_equal(quick, slow)))
        abort();
    json_decref(quick);
    json_decref(slow);
    arena_release(&a);
    return 0;
}
