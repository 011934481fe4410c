#include "tests/unit/data/lines.h"

#include <string.h>

#include "platform/base/text.h"
#include "trainer/data/unicode.h"

static uint64_t state;

static uint64_t next(void)
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next() % n);
}

static const uint32_t scripts[][2] = {
    {0x20, 0x7E},       {0x20, 0x7E},       {0xA0, 0xFF},
    {0x100, 0x24F},     {0x250, 0x36F},     {0x370, 0x3FF},
    {0x400, 0x52F},     {0x530, 0x5FF},     {0x600, 0x6FF},
    {0x900, 0x97F},     {0xE00, 0xE7F},     {0x1100, 0x11FF},
    {0x1E00, 0x1FFF},   {0x2000, 0x206F},   {0x20A0, 0x20FF},
    {0x2100, 0x218F},   {0x3000, 0x30FF},   {0x4E00, 0x9FFF},
    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFB00, 0xFB4F},
    {0xFE00, 0xFE6F},   {0xFF00, 0xFFEF},   {0x10400, 0x1044F},
    {0x1D100, 0x1D1FF}, {0x1D400, 0x1D7FF}, {0x1F300, 0x1F64F},
    {0x1F900, 0x1F9FF}, {0x20000, 0x2FA1F}, {0x110000 - 256, 0x10FFFF}};
static const uint32_t marks[][2] = {
    {0x300, 0x36F},   {0x483, 0x487},   {0x591, 0x5C7},   {0x64B, 0x65F},   {0x93C, 0x94D},
    {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x20D0, 0x20F0}, {0x302A, 0x302F}, {0x16FF0, 0x16FF1}};
static const uint32_t blanks[] = {9,      10,     11,     12,     13,     32,     0x85,   0xA0,
                                  0x1680, 0x180E, 0x2003, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F,
                                  0x3000, 0xFEFF, 0,      0x7F,   0xFFFD, 0xAD,   0x200D, 0xFE0F};
static const char *const words[] = {"the",
                                    "card",
                                    "I",
                                    "what's",
                                    "Payment",
                                    "transfer",
                                    "ing",
                                    "un",
                                    "able",
                                    "declined",
                                    "?",
                                    "!!",
                                    "3.14",
                                    "2024-01",
                                    "e-mail",
                                    "top-up",
                                    "Zurich",
                                    "caf\u00e9",
                                    "[UNK]",
                                    "[CLS]",
                                    "[SEP]",
                                    "[MASK]",
                                    "[PAD]",
                                    "[ MASK ]",
                                    "[mask]",
                                    "<ent>",
                                    "Hello",
                                    "hello",
                                    "HELLO",
                                    "bro<x>k",
                                    "internationalization",
                                    "##ing",
                                    "\u0130stanbul"};

static void put(struct buf *b, uint32_t c)
{
    char to[4];

    if (c >= 0xD800 && c < 0xE000)
        c = 0x21;
    buf_add(b, to, text_utf8_encode(c, to));
}

static void from(struct buf *b, const uint32_t (*table)[2], uint32_t count)
{
    uint32_t i = below(count);

    put(b, table[i][0] + below(table[i][1] - table[i][0] + 1));
}

static void letters(struct buf *b, uint32_t n)
{
    while (n-- > 0)
        put(b, 'a' + below(26));
}

#define COUNT(a) (uint32_t)(sizeof(a) / sizeof *(a))

static void piece(struct buf *b, uint32_t kind)
{
    uint32_t n;

    switch (kind) {
    case 0:
        buf_str(b, words[below(COUNT(words))]);
        break;
    case 1:
        letters(b, 1 + below(12));
        break;
    case 2:
        from(b, scripts, COUNT(scripts));
        break;
    case 3:
        put(b, 'a' + below(26));
        for (n = below(5); n > 0; n--)
            from(b, marks, COUNT(marks));
        break;
    case 4:
        put(b, 0x4E00 + below(0x5200));
        break;
    case 5:
        put(b, 0x1F300 + below(0x350));
        break;
    case 6:
        put(b, blanks[below(COUNT(blanks))]);
        break;
    case 7:
        buf_char(b, (char)below(256));
        break;
    case 8:
        put(b, below(CHAR_COUNT));
        break;
    default:
        put(b, 0x21 + below(94));
        break;
    }
}

/* One sequence that a reader sees as one character. */
static void join(struct buf *b)
{
    static const uint32_t people[] = {0x1F468, 0x1F469, 0x1F467, 0x1F466, 0x1F9D1};
    uint32_t n, kind = below(5);

    switch (kind) {
    case 0: /* a family, with skins */
        for (n = 1 + below(4); n > 0; n--) {
            put(b, people[below(COUNT(people))]);
            if (below(3) == 0)
                put(b, 0x1F3FB + below(5));
            if (n > 1)
                put(b, 0x200D);
        }
        break;
    case 1: /* a flag */
        put(b, 0x1F1E6 + below(26));
        put(b, 0x1F1E6 + below(26));
        break;
    case 2: /* a keycap */
        put(b, '0' + below(10));
        put(b, 0xFE0F);
        put(b, 0x20E3);
        break;
    case 3: /* a conjunct of Devanagari */
        for (n = 1 + below(3); n > 0; n--) {
            put(b, 0x915 + below(37));
            put(b, 0x94D);
            if (below(4) == 0)
                put(b, 0x200C + below(2));
        }
        put(b, 0x915 + below(37));
        put(b, 0x93E + below(15));
        break;
    default: /* a syllable of Hangul in its parts */
        put(b, 0x1100 + below(19));
        put(b, 0x1161 + below(21));
        put(b, 0x11A7 + below(28));
        break;
    }
}

static void behind_the_sweep(struct buf *b, unsigned i)
{
    uint32_t c, n;

    if (i < LINES_SWEEP + LINES_CHARS) {
        for (c = (i - LINES_SWEEP) * 256; c < (i - LINES_SWEEP + 1) * 256; c++) {
            put(b, c);
            buf_str(b, c % 3 ? "a" : " b");
        }
    } else if (i < LINES_WORD) {
        for (n = 1 + below(24); n > 0; n--) {
            join(b);
            buf_str(b, below(3) ? "" : " ");
        }
    } else if (i == LINES_WORD) {
        letters(b, LINES_LONG);
    } else {
        for (n = 0; n < LINES_PIECES; n++) {
            if (below(9))
                piece(b, below(10));
            else
                join(b);
            buf_str(b, below(4) ? "" : " ");
        }
    }
}

void lines_make(struct buf *b, unsigned i)
{
    uint32_t kind = i % 16, count;

    buf_reset(b);
    state = i;
    if (i >= LINES_SWEEP) {
        behind_the_sweep(b, i);
        return;
    }
    if (kind == 14) { /* words around and above the maximal number of characters */
        letters(b, 95 + below(10));
        buf_char(b, ' ');
        for (count = 95 + below(10); count > 0; count--)
            put(b, 0x430 + below(32));
    } else if (kind == 15 && i % 64 == 15) { /* a very long line */
        for (count = 3000 + below(3000); count > 0; count--) {
            piece(b, below(10));
            buf_str(b, below(2) ? " " : "");
        }
    } else {
        for (count = below(24); count > 0; count--) {
            piece(b, kind < 10 ? kind : below(10));
            buf_str(b, below(3) ? " " : "");
        }
    }
}
