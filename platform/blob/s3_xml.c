#include "platform/blob/s3_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    xmlInitParser();
}

/* NULL when it is no well-formed document or has a document type (nothing that S3 sends has one,
 * and entities live there). */
static xmlDoc *parse(const char *xml, size_t n)
{
    xmlDoc *doc;

    pthread_once(&once, init);
    if (n == 0 || n > INT_MAX || memmem(xml, n, "<!DOCTYPE", 9))
        return NULL;
    doc = xmlReadMemory(xml, (int)n, NULL, NULL,
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                            XML_PARSE_NOCDATA | XML_PARSE_COMPACT);
    if (doc && (doc->intSubset || doc->extSubset || !xmlDocGetRootElement(doc))) {
        xmlFreeDoc(doc);
        return NULL;
    }
    return doc;
}

static bool is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child(xmlNode *node, const char *name)
{
    xmlNode *c;

    for (c = node->children; c; c = c->next)
        if (is(c, name))
            return c;
    return NULL;
}

/* The text of a child, "" when it is missing; xmlFree it. NULL: out of memory. */
static char *text_of(xmlNode *node, const char *name)
{
    xmlNode *c = child(node, name);
    xmlChar *text = c ? xmlNodeGetContent(c) : NULL;

    return (char *)(text ? text : xmlStrdup((const xmlChar *)""));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* encoding-type=url is form encoding: '+' is a blank (a plus sign comes as %2B). In place; -1: not
 * decodable. */
static int decode_url(char *text)
{
    char *to = text;

    for (; *text; text++) {
        if (*text == '+') {
            *to++ = ' ';
        } else if (*text == '%') {
            int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);

            if (low < 0 || (high == 0 && low == 0))
                return -1;
            *to++ = (char)(high << 4 | low);
            text += 2;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
    return 0;
}

static int broken(struct err *e, const char *why)
{
    return err_set(e, ERR_PEER, "the server's listing cannot be read: %s", why);
}

int s3_page_add(struct s3_page *page, const char *key, uint64_t size, struct err *e)
{
    struct err malformed = ERR_INIT;
    struct s3_object *o;

    if (!*key || blob_key_check(key, &malformed) < 0)
        return 0;
    if (page->count == page->cap) {
        size_t cap = page->cap ? page->cap * 2 : 256;

        o = realloc(page->objects, cap * sizeof *o);
        if (!o)
            return err_set(e, ERR_NOMEM, "no memory for a listing");
        page->objects = o;
        page->cap = cap;
    }
    o = &page->objects[page->count];
    o->size = size;
    o->key = strdup(key);
    if (!o->key)
        return err_set(e, ERR_NOMEM, "no memory for a listing");
    page->count++;
    return 0;
}

static int add_contents(struct s3_page *page, xmlNode *contents, bool encoded, struct err *e)
{
    char *key = text_of(contents, "Key"), *size = text_of(contents, "Size");
    int64_t bytes = 0;
    int rc = 0;

    if (!key || !size)
        rc = err_set(e, ERR_NOMEM, "no memory for a listing");
    else if (encoded && decode_url(key) < 0)
        rc = broken(e, "a key's encoding");
    else if (text_i64(size, 0, INT64_MAX, &bytes) < 0)
        rc = broken(e, "an object's size");
    else
        rc = s3_page_add(page, key, (uint64_t)bytes, e);
    xmlFree(key);
    xmlFree(size);
    return rc;
}

static int add_token(struct s3_page *page, xmlNode *root, struct err *e)
{
    char *truncated = text_of(root, "IsTruncated"), *token = text_of(root, "NextContinuationToken");
    int rc = 0;

    if (!truncated || !token) {
        rc = err_set(e, ERR_NOMEM, "no memory for a listing");
    } else {
        page->truncated = strcmp(truncated, "true") == 0;
        if (!page->truncated && strcmp(truncated, "false") != 0)
            rc = broken(e, "it does not say whether it is complete");
        else if (*token && !(page->token = strdup(token)))
            rc = err_set(e, ERR_NOMEM, "no memory for a listing");
        else if (page->truncated && !page->token)
            rc = broken(e, "it is cut without a continuation token");
    }
    xmlFree(truncated);
    xmlFree(token);
    return rc;
}

int s3_page_parse(const char *xml, size_t n, struct s3_page *page, struct err *e)
{
    xmlDoc *doc = parse(xml, n);
    xmlNode *root, *c;
    char *encoding = NULL;
    bool encoded;
    int rc;

    memset(page, 0, sizeof *page);
    if (!doc)
        return broken(e, "not well-formed XML");
    root = xmlDocGetRootElement(doc);
    if (!is(root, "ListBucketResult")) {
        rc = broken(e, "its root is not ListBucketResult");
        goto done;
    }
    encoding = text_of(root, "EncodingType");
    encoded = encoding && strcmp(encoding, "url") == 0;
    rc = add_token(page, root, e);
    for (c = root->children; c && rc == 0; c = c->next)
        if (is(c, "Contents"))
            rc = add_contents(page, c, encoded, e);
done:
    xmlFree(encoding);
    xmlFreeDoc(doc);
    if (rc < 0)
        s3_page_release(page);
    return rc;
}

void s3_page_release(struct s3_page *page)
{
    size_t i;

    for (i = 0; i < page->count; i++)
        free(page->objects[i].key);
    free(page->objects);
    free(page->token);
    memset(page, 0, sizeof *page);
}

int s3_page_each(const struct s3_page *page, const char *prefix, const char *after,
                 blob_each_fn each, void *arg)
{
    size_t i, n = strlen(prefix);
    int rc = 0;

    for (i = 0; i < page->count && rc == 0; i++) {
        const struct s3_object *o = &page->objects[i];

        if (strncmp(o->key, prefix, n) == 0 && (!after || strcmp(o->key, after) > 0))
            rc = each(arg, o->key, o->size);
    }
    return rc;
}

bool s3_error_parse(const char *xml, size_t n, char code[64], char message[256])
{
    xmlDoc *doc = parse(xml, n);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    bool found = root && is(root, "Error");
    char *text;

    code[0] = message[0] = '\0';
    if (found && (text = text_of(root, "Code"))) {
        snprintf(code, 64, "%s", text);
        xmlFree(text);
    }
    if (found && (text = text_of(root, "Message"))) {
        snprintf(message, 256, "%s", text);
        xmlFree(text);
    }
    xmlFreeDoc(doc);
    return found;
}

int s3_field_parse(const char *xml, size_t n, const char *field, struct buf *to, struct err *e)
{
    xmlDoc *doc = parse(xml, n);
    char *text = doc ? text_of(xmlDocGetRootElement(doc), field) : NULL;
    int rc = 0;

    if (text && *text)
        buf_str(to, text);
    else
        rc = err_set(e, ERR_PEER, "the server's answer has no %s", field);
    xmlFree(text);
    xmlFreeDoc(doc);
    return rc < 0 ? rc : buf_check(to, field, e);
}
