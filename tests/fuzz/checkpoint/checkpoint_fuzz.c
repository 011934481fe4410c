/* A checkpoint's bytes, as they come and with the digest that fits them: then its head is read. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/schemas/fuzz.h"
#include "trainer/checkpoint.h"

static void verify(const uint8_t *data, size_t size, const char *digest)
{
    static struct checkpoint found;
    struct err e = ERR_INIT;
    char path[64];
    int fd = memfd_create("checkpoint", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
        write(fd, digest, SHA256_HEX - 1) != SHA256_HEX - 1)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (checkpoint_verify(path, &found, &e) == 0 &&
        (found.point_count < 0 || found.point_count > CHECKPOINT_HISTORY_MAX || found.step < 0 ||
         found.identity[sizeof found.identity - 1] != '\0' ||
         found.fingerprint[sizeof found.fingerprint - 1] != '\0'))
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char other[SHA256_HEX] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    char digest[SHA256_HEX];

    sha256_of(data, size, digest);
    verify(data, size, digest);
    verify(data, size, other);
    return 0;
}
