/* The XML answers of an S3 server, which may be anybody's. */
#include <stdlib.h>
#include <string.h>

#include "platform/blob/s3_xml.h"
#include "tests/fuzz/fuzz.h"

static int check(void *arg, const char *key, uint64_t size)
{
    struct err e = ERR_INIT;

    if (blob_key_check(key, &e) < 0)
        abort(); /* a listing promises well-formed keys */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *xml = (const char *)data;
    char code[64], message[256];
    struct err e = ERR_INIT;
    struct s3_page page;
    struct buf field;

    if (s3_page_parse(xml, size, &page, &e) == 0) {
        if (page.truncated && !page.token)
            abort();
        s3_page_each(&page, "", NULL, check, NULL);
        s3_page_release(&page);
    } else if (page.objects || page.token) {
        abort();
    }
    s3_error_parse(xml, size, code, message);
    buf_init(&field, 64);
    s3_field_parse(xml, size, "UploadId", &field, &e);
    buf_release(&field);
    return 0;
}
