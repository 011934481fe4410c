/* How much a child's files hold. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/child/child_int.h"

#define DEPTH_MAX   64
#define DEEP_BYTES  ((uint64_t)1 << 50) /* nothing honest goes so deep: more than any limit */
#define ENTRY_BYTES 4096 /* an entry costs at least this, so that empty files are not free */
#define BLOCK_BYTES 512  /* unit of st_blocks */

static DIR *open_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        close(fd);
    return d;
}

static bool is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static uint64_t used_at(int parent, const char *name, int depth, uint64_t enough)
{
    DIR *d = open_folder(parent, name);
    struct dirent *entry;
    struct stat st;
    uint64_t bytes = 0;

    while (d && bytes <= enough && (entry = readdir(d))) {
        if (!is_entry(entry) || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bytes += ENTRY_BYTES + (uint64_t)st.st_blocks * BLOCK_BYTES;
        if (S_ISDIR(st.st_mode))
            bytes += depth < DEPTH_MAX ? used_at(dirfd(d), entry->d_name, depth + 1, enough)
                                       : DEEP_BYTES;
    }
    if (d)
        closedir(d);
    return bytes;
}

uint64_t space_used(const char *folder, uint64_t enough)
{
    return used_at(AT_FDCWD, folder, 0, enough);
}

uint64_t space_unlinked(pid_t pid)
{
    char path[64];
    struct dirent *entry;
    struct stat st;
    uint64_t bytes = 0;
    DIR *d;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    d = open_folder(AT_FDCWD, path);
    while (d && (entry = readdir(d)))
        if (is_entry(entry) && fstatat(dirfd(d), entry->d_name, &st, 0) == 0 &&
            S_ISREG(st.st_mode) && st.st_nlink == 0)
            bytes += (uint64_t)st.st_blocks * BLOCK_BYTES;
    if (d)
        closedir(d);
    return bytes;
}
