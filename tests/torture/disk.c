#include "tests/torture/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t __real_fwrite(const void *, size_t, size_t, FILE *);
size_t __wrap_fwrite(const void *, size_t, size_t, FILE *);
FILE *__real_fopen(const char *, const char *);
FILE *__wrap_fopen(const char *, const char *);
int __real_fflush(FILE *);
int __wrap_fflush(FILE *);
int __real_fclose(FILE *);
int __wrap_fclose(FILE *);
int __real_fsync(int);
int __wrap_fsync(int);
int __real_mkostemp(char *, int);
int __wrap_mkostemp(char *, int);
int __real_mkdir(const char *, mode_t);
int __wrap_mkdir(const char *, mode_t);
int __real_rename(const char *, const char *);
int __wrap_rename(const char *, const char *);
ssize_t __real_write(int, const void *, size_t);
ssize_t __wrap_write(int, const void *, size_t);

static struct {
    bool armed, onwards;
    long number, fail, failures;
} disk;

void disk_arm(long fail, bool onwards)
{
    disk.armed = true;
    disk.onwards = onwards;
    disk.fail = fail;
    disk.number = disk.failures = 0;
}

struct memory_tally disk_disarm(void)
{
    disk.armed = false;
    return (struct memory_tally){disk.number, disk.failures, true, 0};
}

static bool full(void)
{
    long n = disk.armed ? ++disk.number : 0;

    if (!disk.armed || disk.fail == 0 || n < disk.fail || (n > disk.fail && !disk.onwards))
        return false;
    disk.failures++;
    errno = ENOSPC;
    return true;
}

size_t __wrap_fwrite(const void *p, size_t size, size_t n, FILE *f)
{
    return full() ? 0 : __real_fwrite(p, size, n, f);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return mode[0] == 'w' && full() ? NULL : __real_fopen(path, mode);
}

int __wrap_fflush(FILE *f)
{
    return full() ? EOF : __real_fflush(f);
}

/* Of a file that was read there is nothing to write. */
int __wrap_fclose(FILE *f)
{
    bool late = __fwriting(f) && full();
    int rc = __real_fclose(f);

    if (late)
        errno = ENOSPC;
    return late ? EOF : rc;
}

int __wrap_fsync(int fd)
{
    return full() ? -1 : __real_fsync(fd);
}

int __wrap_mkostemp(char *path, int flags)
{
    return full() ? -1 : __real_mkostemp(path, flags);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    struct stat st;

    return stat(path, &st) < 0 && full() ? -1 : __real_mkdir(path, mode);
}

int __wrap_rename(const char *from, const char *to)
{
    return full() ? -1 : __real_rename(from, to);
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    return full() ? -1 : __real_write(fd, p, n);
}
