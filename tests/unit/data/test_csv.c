#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/buf.h"
#include "trainer/data/csv.h"

static struct err e;

/* All rows as text[label], text+second[] or text+second=score[]; behind them "!message" when it
 * ends with an error. */
static char *rows(const char *text, size_t n, const struct csv_options *o, const char *dialect,
                  int header)
{
    struct csv *c = NULL;
    struct csv_row row;
    struct buf b;
    int rc;

    buf_init(&b, 1 << 20);
    buf_str(&b, "");
    rc = csv_parse(&c, "f.csv", text, n, o, &e);
    if (rc == 0) {
        if (dialect)
            assert_string_equal(csv_dialect(c), dialect);
        if (header >= 0)
            assert_int_equal(csv_has_header(c), header);
        while ((rc = csv_next(c, &row, &e)) > 0)
            if (csv_kind(c) == CSV_SCORED)
                buf_printf(&b, "%s+%s=%g[]", row.text, row.second, row.score);
            else if (csv_kind(c) == CSV_PAIRS)
                buf_printf(&b, "%s+%s[]", row.text, row.second);
            else
                buf_printf(&b, "%s[%s]", row.text, row.label);
    }
    if (rc < 0)
        buf_printf(&b, "!%s", e.text);
    csv_free(c);
    buf_printf(&b, "%s", "");
    return buf_detach(&b, NULL);
}

static void check(const char *text, const char *dialect, int header, const char *expected)
{
    char *got = rows(text, strlen(text), NULL, dialect, header);

    assert_string_equal(got ? got : "", expected);
    free(got);
}

static void fails(const char *text, const char *says)
{
    char *got = rows(text, strlen(text), NULL, NULL, -1);
    const char *message = got ? strchr(got, '!') : NULL;

    if (!message || !strstr(message, says))
        fail_msg("\"%s\" does not say \"%s\"", got, says);
    free(got);
}

static void as(enum csv_kind kind, const char *text, const char *expected)
{
    char *got = rows(text, strlen(text), &(struct csv_options){.kind = kind}, NULL, -1);

    if (!got || !strstr(got, expected))
        fail_msg("\"%s\" gives \"%s\", not \"%s\"", text, got, expected);
    free(got);
}

static void pairs_are_found_by_their_header(void **state)
{
    check("text,text,score\na,b,1\nc,d,-0.5\n", "excel", 1, "a+b=1[]c+d=-0.5[]");
    check("score\ttext\ttext\n1e2\ta, x\tb\n", "excel-tab", 1, "a, x+b=100[]");
    check("id,Sentence2,sentence1,similarity\n7,b,a, 3 \n", "excel", 1, "a+b=3[]");
    check("text1,text2\na,b\n", "excel", 1, "a+b[]");
    check("positive,anchor\nb,a\n", "excel", 1, "a+b[]");
    check("text,text\na,b\n", "excel", 1, "a+b[]");
    /* a label column is a label column, and words of the data are no header */
    check("text,text1,text2,label\na,x,y,l\n", "excel", 1, "a[l]");
    check("anchor,positive\nanchor,b\nc,d\n", "excel", 0, "anchor[positive]anchor[b]c[d]");
}

static void pairs_are_asked_for(void **state)
{
    as(CSV_SCORED, "a,b,1\nc,d,2\n", "a+b=1[]c+d=2[]");
    as(CSV_SCORED, "a\tb, c\t1\n", "a+b, c=1[]");
    as(CSV_SCORED, "text,text,score\na,b,1\n", "a+b=1[]");
    as(CSV_PAIRS, "a,b\ntext,label\n", "a+b[]text+label[]");
    as(CSV_PAIRS, "text,text,score\na,b,1\n", "a+b[]");
    as(CSV_LABELED, "text1,text2\na,b\n", "text1[text2]a[b]");
    as(CSV_SCORED, "text,text\na,b\n", "!f.csv:1: the header names no score");
    as(CSV_SCORED, "a,b\n", "f.csv:1: 2 columns where 3 are expected, the score is missing");
}

static void bad_pairs_are_refused(void **state)
{
    static const char *const bad[] = {"nan", "inf", "-inf", "1e7",  "1000001",
                                      "",    "x",   "1,5",  "0x1p3"};
    char text[64], says[96];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "text,text,score\na,b,1\n\nc,d,\"%s\"\n", bad[i]);
        snprintf(says, sizeof says, "f.csv:4: score: '%s' is not a number from", bad[i]);
        fails(text, says);
    }
    fails("text,text,score\na,b,1\na,,1\n", "f.csv:3: the second text is empty");
    fails("text,text,score\n ,b,1\n", "f.csv:2: the content is empty");
    fails("text,text,score\na,b\n",
          "f.csv:2: 2 columns where 3 are expected, the score is missing: "
          "write text,text,score on each line");
    fails("text1,text2\na,b\nc\n", "f.csv:3: 1 column where 2 are expected, the second text is");
    fails("text,text,score\na,b,c,1\n", "f.csv:2: 4 columns where 3");
    fails("text1\ttext2\na\tb\nc\n", "with tabs between");
}

static void dialects_are_found(void **state)
{
    check("a b,x\nc,y\n", "excel", 0, "a b[x]c[y]");
    check("a, b\tx\nc\ty\n", "excel-tab", 0, "a, b[x]c[y]");
    check("\"a, b\",\"x\"\n\"c\",\"y\"\n", "unix", 0, "a, b[x]c[y]");
    check("\"a\",\"x\"\r\n\"c\",\"y\"\r\n", "excel", 0, "a[x]c[y]");
    check("\xEF\xBB\xBF"
          "a,x\r\nb,y",
          "excel", 0, "a[x]b[y]");
    check("a,x\rb,y\r", "excel", 0, "a[x]b[y]");
    check("\n\n a,x\n\n  \nb,y\n\n", "excel", 0, " a[x]b[y]");
    check("", "excel", 0, "");
}

static void quotes_hold_anything(void **state)
{
    check("\"a\nb\"\"c\"\",\",x\nd,\"y\nz\"\n", "excel", 0, "a\nb\"c\",[x]d[y\nz]");
    check("say \"hi\",x\n", "excel", 0, "say \"hi\"[x]");
    check("\"a\",x", "excel", 0, "a[x]");
}

static void headers_are_found(void **state)
{
    check("text,category\na,x\n", "excel", 1, "a[x]");
    check("Label,TEXT\nx,a\ny,b\n", "excel", 1, "a[x]b[y]");
    check("category,sentence\nx,a\n", "excel", 1, "a[x]");
    check("id,text,split,label\n1,a,train,x\n2,b,eval,y\n", "excel", 1, "a[x]b[y]");
    check("id\ttext\tlabel\n1\ta,b\tx\n", "excel-tab", 1, "a,b[x]");
    /* a label that is called like a header */
    check("hello,text\nagain,text\nother,label\n", "excel", 0,
          "hello[text]again[text]other[label]");
    check("hello,x\ntext,label\n", "excel", 0, "hello[x]text[label]");
}

static void options_pick_columns(void **state)
{
    struct csv_options one = {.label_optional = true};
    struct csv_options named = {.content = "name", .label = "group"};
    char *got = rows("a b\nc\n", 6, &one, "excel", 0);

    assert_string_equal(got, "a b[]c[]");
    free(got);
    got = rows("unified,name,group\n1,hash,g\n2,star,g\n", 37, &named, "excel", 1);
    assert_string_equal(got, "hash[g]star[g]");
    free(got);
    got = rows("a,x\n", 4, &named, NULL, -1);
    assert_non_null(strstr(got, "no column is named \"name\""));
    free(got);
}

static void errors_say_where(void **state)
{
    fails("a,x\nb,y,z\n", "f.csv:2: 3 columns where 2");
    fails("a,x\n\nb\n", "f.csv:3: 1 column where 2");
    fails("a,x\n\"b,y\nc,z\n", "f.csv:2: a quote is opened");
    fails("a,x\n\"b\nc\" d,y\n", "f.csv:3: text behind a closing quote");
    fails("a,x\nb\xFF,y\n", "f.csv:2: a byte that is not UTF-8");
    fails("a,x\nb,\n", "f.csv:2: the label is empty");
    fails("a,x\nb, \n", "f.csv:2: the label is empty");
    fails("a,x\n,y\n", "f.csv:2: the content is empty");
    fails("\xFF\xFE"
          "a",
          "UTF-16");
    fails("id,label,x\n1,2,3\n", "f.csv:1: the header names no content");
    fails("id,text,x\n1,2,3\n", "f.csv:1: the header names no label");
}

static void binary_is_refused(void **state)
{
    char *got = rows("a,x\nb\0,y\n", 9, NULL, NULL, -1);
    char *wide = malloc(1000);

    assert_non_null(strstr(got, "f.csv:2: a NUL byte"));
    free(got);
    memset(wide, ',', 999);
    wide[999] = '\0';
    fails(wide, "more than 256 columns");
    free(wide);
}

static void absent_file_is_named(void **state)
{
    struct csv *c = NULL;

    assert_int_equal(csv_open(&c, "tests/absent.csv", NULL, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "tests/absent.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_found_by_their_header),
        cmocka_unit_test(pairs_are_asked_for),
        cmocka_unit_test(bad_pairs_are_refused),
        cmocka_unit_test(dialects_are_found),
        cmocka_unit_test(quotes_hold_anything),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(options_pick_columns),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(binary_is_refused),
        cmocka_unit_test(absent_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
