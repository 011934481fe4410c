/* How much a folder holds. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/child/child_int.h"

#define DEPTH_MAX   64
#define DEEP_BYTES  ((uint64_t)1 << 50) /* nothing honest goes so deep: more than any limit */
#define ENTRY_BYTES 4096 /* an entry costs at least this, so that empty files are not free */
#define BLOCK_BYTES 512  /* unit of st_blocks */

static uint64_t used_at(int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;
    uint64_t bytes = 0;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bytes += ENTRY_BYTES + (uint64_t)st.st_blocks * BLOCK_BYTES;
        if (S_ISDIR(st.st_mode))
            bytes += depth < DEPTH_MAX ? used_at(fd, entry->d_name, depth + 1) : DEEP_BYTES;
    }
    closedir(d);
    return bytes;
}

uint64_t space_used(const char *folder)
{
    return used_at(AT_FDCWD, folder, 0);
}
