#include "platform/conf/nearest.h"

#include <string.h>

#define WORD_MAX 63
#define FAR      1000

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: Damerau 1964, restricted to neighbours that swap once. */
size_t nearest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), i, j;
    unsigned char rows[WORD_MAX + 1][WORD_MAX + 1];

    if (n > WORD_MAX || m > WORD_MAX)
        return FAR;
    for (i = 0; i <= n; i++)
        rows[i][0] = (unsigned char)i;
    for (j = 0; j <= m; j++)
        rows[0][j] = (unsigned char)j;
    for (i = 1; i <= n; i++)
        for (j = 1; j <= m; j++) {
            size_t d = rows[i - 1][j - 1] + (size_t)(a[i - 1] != b[j - 1]);

            d = least(d, least(rows[i - 1][j], rows[i][j - 1]) + (size_t)1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = least(d, rows[i - 2][j - 2] + (size_t)1);
            rows[i][j] = (unsigned char)d;
        }
    return rows[n][m];
}

int nearest_enough(const char *typed, size_t distance)
{
    return distance <= 1 + strlen(typed) / 4;
}
