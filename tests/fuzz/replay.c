/* Runs a fuzz target over the files of the folders named. */
#include <dirent.h>
#include <stdio.h>

#include "platform/base/file.h"
#include "tests/fuzz/fuzz.h"

static void replay(const char *folder, const char *file)
{
    struct err e = ERR_INIT;
    char path[4096];
    struct buf b;

    snprintf(path, sizeof path, "%s/%s", folder, file);
    buf_init(&b, 1 << 24);
    if (file_read(path, &b, &e) == 0)
        LLVMFuzzerTestOneInput((const uint8_t *)b.data, b.len);
    buf_release(&b);
}

int main(int argc, char **argv)
{
    struct dirent *d;
    int i;

    for (i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);

        if (!folder) {
            fprintf(stderr, "%s: cannot be opened\n", argv[i]);
            return 1;
        }
        while ((d = readdir(folder)))
            replay(argv[i], d->d_name);
        closedir(folder);
    }
    return 0;
}
