/* Everything that reads bytes from outside, with every allocation failing in turn: tokenizers,
 * CSV, npy, documents, jobs and all other records, settings, segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "platform/base/file.h"
#include "platform/conf/services.h"
#include "platform/json/json.h"
#include "schemas/segment.h"
#include "tests/torture/torture.h"
#include "trainer/data/dataset.h"
#include "trainer/data/npy.h"
#include "trainer/data/tokenizer.h"

#define SAMPLES "schemas/samples/"

/* A file's bytes, read before the torture begins. */
struct input {
    char name[600];
    struct buf bytes;
};

static void input_open(struct input *in, const char *path)
{
    struct err e = ERR_INIT;

    snprintf(in->name, sizeof in->name, "%s", path);
    buf_init(&in->bytes, 1 << 24);
    if (file_read(path, &in->bytes, &e) < 0)
        fail_msg("%s", e.text);
}

static void torture_file(const char *path, int (*work)(void *, uint64_t *, struct err *))
{
    struct input in;

    input_open(&in, path);
    torture(&(struct torture){.name = path, .work = work, .arg = &in});
    buf_release(&in.bytes);
}

/* ---- tokenizers ------------------------------------------------------------------------------ */

static int tokenize(void *arg, uint64_t *print, struct err *e)
{
    static const char text[] =
        "Caf\xc3\xa9 na\xc3\xafve: 12 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80"
        " lower lowest UPPER don't [MASK] <mask> e\xcc\x81";
    const struct input *in = arg;
    struct tokenizer_scratch *s = NULL;
    struct tokenizer *t = NULL;
    int32_t ids[256];
    int count, rc = tokenizer_parse(&t, in->name, in->bytes.data, in->bytes.len, e);

    if (rc == 0 && !(s = tokenizer_scratch_new()))
        rc = err_set(e, ERR_NOMEM, "scratch");
    if (rc == 0)
        rc = tokenizer_encode(t, s, text, sizeof text - 1, ids, 256, &count, e);
    if (rc == 0)
        torture_print(print, ids, (size_t)count * sizeof *ids);
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    return rc;
}

static void test_tokenizers(void **state)
{
    static const char *const files[] = {
        "tests/golden/tokenizer_tiny.json",    "tests/golden/tokenizer_roberta.json",
        "tests/golden/tokenizer_clip.json",    "tests/golden/tokenizer_unigram.json",
        "tests/fuzz/data/tokenizer/bert.json", "tests/fuzz/data/tokenizer/broken.json",
        "tests/fuzz/data/tokenizer/other.json"};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        torture_file(files[i], tokenize);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static int read_rows(void *arg, uint64_t *print, struct err *e)
{
    const struct input *in = arg;
    struct csv_row row;
    struct csv *c;
    int rc = csv_parse(&c, in->name, in->bytes.data, in->bytes.len, NULL, e);

    if (rc < 0)
        return rc;
    while ((rc = csv_next(c, &row, e)) == 1) {
        torture_print(print, row.text, row.text_len + 1);
        torture_print(print, row.label, row.label_len + 1);
    }
    csv_free(c);
    return rc;
}

/* From the file: sealed, held out in part, hashed. */
static int read_dataset(void *arg, uint64_t *print, struct err *e)
{
    const struct input *in = arg;
    struct dataset *d = NULL, *held = NULL;
    unsigned char *mark = NULL;
    char hex[SHA256_HEX];
    int rc = dataset_from_csv(&d, in->name, NULL, DATASET_TRAIN, e);

    if (rc == 0 && !(mark = calloc((size_t)dataset_count(d), 1)))
        rc = err_set(e, ERR_NOMEM, "marks");
    if (rc == 0)
        rc = dataset_stratify(d, 0.3, 7, mark, e);
    if (rc == 0)
        rc = dataset_select(&held, d, mark, 1, e);
    if (rc == 0)
        rc = dataset_hash(held, hex, e);
    if (rc == 0)
        torture_print(print, hex, sizeof hex);
    free(mark);
    dataset_free(held);
    dataset_free(d);
    return rc;
}

static int read_numbers(void *arg, uint64_t *print, struct err *e)
{
    const struct input *in = arg;
    struct npy a = {0}, b = {0};
    int rc = npy_parse(&a, in->name, in->bytes.data, in->bytes.len, e);

    if (rc == 0)
        rc = npy_read(&b, in->name, e);
    if (rc == 0)
        torture_print(print, b.data, b.rows * b.columns * sizeof(float));
    npy_release(&a);
    npy_release(&b);
    return rc;
}

/* `count` rows over a few labels, quotes and all. */
static void write_table(const char *path, int count)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 1 << 20);
    for (int i = 0; i < count; i++)
        buf_printf(&b, "\"word, %d \"\"quoted\"\" %*d\",label %d\n", i, i % 97, i, i % 5);
    assert_int_equal(file_write(path, b.data, b.len, &e), 0);
    buf_release(&b);
}

static void test_tables(void **state)
{
    char path[64];
    float numbers[12] = {1, 2, 3};
    struct err e = ERR_INIT;

    torture_file("tests/fuzz/data/csv/excel.csv", read_rows);
    torture_file("tests/fuzz/data/csv/open_quote.csv", read_rows);
    snprintf(path, sizeof path, "/tmp/tripline-torture-%d", getpid());
    write_table(path, 2000);
    torture_file(path, read_rows);
    torture_file(path, read_dataset);
    assert_int_equal(npy_write_f32(path, numbers, 3, 4, &e), 0);
    torture_file(path, read_numbers);
    unlink(path);
}

/* ---- records --------------------------------------------------------------------------------- */

static const struct record *type_of(const char *file)
{
    size_t n = strcspn(file, "-");

    for (size_t i = 0; record_all[i]; i++)
        if (strlen(record_all[i]->name) == n && !memcmp(record_all[i]->name, file, n))
            return record_all[i];
    fail_msg("%s: no such type", file);
    return NULL;
}

/* Read, then written in both formats. */
static int read_record(void *arg, uint64_t *print, struct err *e)
{
    static _Alignas(16) char record[4096];
    const struct input *in = arg;
    const struct record *r = type_of(strrchr(in->name, '/') + 1);
    struct arena a;
    struct buf b;
    int rc;

    assert_true(r->size <= sizeof record);
    arena_init(&a, 1 << 24);
    buf_init(&b, 1 << 20);
    rc = record_read(r, &a, in->bytes.data, in->bytes.len, RECORD_SNIFF, record, e);
    if (rc == 0)
        rc = record_write(r, record, RECORD_JSON, &b, e);
    if (rc == 0)
        rc = record_write(r, record, RECORD_MSGPACK, &b, e);
    if (rc == 0)
        torture_print(print, b.data, b.len);
    buf_release(&b);
    arena_release(&a);
    return rc;
}

static int admit_job(void *arg, uint64_t *print, struct err *e)
{
    const struct input *in = arg;
    char hash[SHA256_HEX];
    struct arena a;
    struct job job;
    int rc;

    arena_init(&a, 1 << 24);
    rc = job_admit(NULL, 0, in->bytes.data, in->bytes.len, &a, &job, hash, e);
    if (rc == 0)
        torture_print(print, hash, sizeof hash);
    arena_release(&a);
    return rc;
}

static int admit_document(void *arg, uint64_t *print, struct err *e)
{
    const struct input *in = arg;
    struct document_message m = {"k", 1, in->bytes.data, in->bytes.len, NULL, 0};
    enum document_kind kind;
    struct document d;
    struct arena a;
    int rc;

    arena_init(&a, 1 << 24);
    rc = document_admit(&m, "acme", &a, &kind, &d, e);
    if (rc == 0)
        torture_print(print, &kind, sizeof kind);
    arena_release(&a);
    return rc;
}

static void torture_samples(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    char path[600];
    int seen = 0;

    assert_non_null(d);
    while ((entry = readdir(d))) {
        const char *dot = strrchr(entry->d_name, '.');

        if (!dot || (strcmp(dot, ".json") && strcmp(dot, ".msgpack")))
            continue;
        snprintf(path, sizeof path, "%s%s", folder, entry->d_name);
        torture_file(path, read_record);
        if (strncmp(entry->d_name, "job-", 4) == 0)
            torture_file(path, admit_job);
        if (strncmp(entry->d_name, "document-", 9) == 0)
            torture_file(path, admit_document);
        seen++;
    }
    closedir(d);
    assert_true(seen > 10);
}

static void test_records(void **state)
{
    torture_samples(SAMPLES "good/");
    torture_samples(SAMPLES "bad/");
}

/* ---- settings -------------------------------------------------------------------------------- */

static int read_settings(void *arg, uint64_t *print, struct err *e)
{
    static const char text[] = "[kafka]\nbrokers = a:1,b:2\n[s3]\nbucket = x\ndeadline = 5m\n"
                               "part_size = 9M\n[log]\nlevel = warn\n";
    struct conf *c = NULL;
    struct settings s;
    struct buf b;
    int rc = conf_new(&c, e);

    buf_init(&b, 1 << 20);
    if (rc == 0)
        rc = settings_add(c, &s, SETTINGS_ALL, e);
    if (rc == 0)
        rc = conf_text(c, "settings", text, sizeof text - 1, e);
    if (rc == 0)
        rc = conf_set(c, "tripline.prefix=other", e);
    if (rc == 0) {
        conf_print(c, &b);
        rc = buf_check(&b, "settings", e);
    }
    if (rc == 0)
        torture_print(print, b.data, b.len);
    buf_release(&b);
    conf_free(c);
    return rc;
}

static void test_settings(void **state)
{
    torture(&(struct torture){.name = "settings", .work = read_settings});
}

/* ---- segments -------------------------------------------------------------------------------- */

static const struct segment_name segment = {"acme", "news", 1, 3, 100};

static int add_document(struct segment_writer *w, int64_t offset, struct err *e)
{
    static const struct document_header header = {"content-type", "application/json", 16};
    char id[32], value[128];
    struct document_message m = {id, 0, value, 0, &header, 1};
    enum document_kind kind;
    struct document d;
    struct arena a;
    int rc;

    m.key_len = (size_t)snprintf(id, sizeof id, "d%lld", (long long)offset);
    m.value_len = (size_t)snprintf(value, sizeof value, "{\"label\":\"l%lld\",\"text\":\"t\"}",
                                   (long long)offset % 7);
    arena_init(&a, 1 << 20);
    rc = document_admit(&m, "acme", &a, &kind, &d, e);
    if (rc == 0)
        rc = segment_writer_add(w, offset, offset, &m, kind, &d, e);
    arena_release(&a);
    return rc;
}

static int write_segment(struct buf *out, char sha256[SHA256_HEX], struct err *e)
{
    struct err why = {ERR_FORMAT, "label: missing"};
    struct segment_writer *w = NULL;
    int rc = segment_writer_new(&w, &segment, "nonce-1", 5, e);

    for (int64_t offset = 100; rc == 0 && offset < 140; offset++)
        rc = add_document(w, offset, e);
    if (rc == 0)
        rc = segment_writer_reject(w, 140, 5, &why, e);
    if (rc == 0)
        rc = segment_writer_missing(w, 141, 150, e);
    if (rc == 0)
        rc = segment_writer_finish(w, out, sha256, e);
    segment_writer_free(w);
    return rc;
}

static int read_segment(const struct buf *file, uint64_t *print, struct err *e)
{
    struct segment_reader *r = NULL;
    struct segment_record record;
    int rc = segment_reader_new(&r, file->data, file->len, e);

    if (rc == 0)
        rc = segment_footer_check(segment_reader_footer(r), &segment, e);
    if (rc == 0)
        while ((rc = segment_reader_next(r, &record, e)) == 1)
            torture_print(print, &record.offset, sizeof record.offset);
    segment_reader_free(r);
    return rc;
}

static int both_ways(void *arg, uint64_t *print, struct err *e)
{
    char sha256[SHA256_HEX];
    struct buf file;
    int rc;

    buf_init(&file, SEGMENT_BYTES_MAX);
    rc = write_segment(&file, sha256, e);
    if (rc == 0) {
        torture_print(print, sha256, sizeof sha256);
        rc = read_segment(&file, print, e);
    }
    buf_release(&file);
    return rc;
}

static void test_segments(void **state)
{
    torture(&(struct torture){.name = "segment", .work = both_ways, .tries = 500});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizers), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_records),    cmocka_unit_test(test_settings),
        cmocka_unit_test(test_segments),
    };

    return cmocka_run_group_tests_name("torture_parsers", tests, NULL, NULL);
}
