/*
 * A training process that comes to a bad end, of the kind that its run is named
 * after; `drained` waits for SIGTERM and leaves a checkpoint. Started as
 * PROGRAM --child FOLDER.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/checkpoint.h"

#define CHUNK ((size_t)8 << 20)

static volatile sig_atomic_t asked;

static void on_term(int signum)
{
    asked = 1;
}

static void eat_memory(void)
{
    void *p;

    while ((p = malloc(CHUNK)))
        memset(p, 1, CHUNK);
    puts("{\"event\":\"error\",\"code\":\"NOMEM\",\"text\":\"out of memory\"}");
    exit(70);
}

static void leave_checkpoint(const char *folder)
{
    char path[4096];
    int fd;

    signal(SIGTERM, on_term);
    puts("{\"event\":\"phase\",\"phase\":\"training\"}");
    while (!asked)
        usleep(10000);
    snprintf(path, sizeof path, "%s/checkpoints/" CHECKPOINT_NAME, folder, 5LL);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "five", 4) != 4)
        exit(74);
    close(fd);
    puts("{\"event\":\"checkpoint\",\"step\":5}");
    exit(75);
}

int main(int argc, char **argv)
{
    char path[4096], orders[65536];
    FILE *f;
    size_t n;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3)
        return 64;
    snprintf(path, sizeof path, "%s/child.json", argv[2]);
    if (!(f = fopen(path, "r")))
        return 66;
    n = fread(orders, 1, sizeof orders - 1, f);
    orders[n] = '\0';
    fclose(f);
    fprintf(stderr, "first words\nin attempt of %s\n", strstr(orders, "\"run\":") ? "a run" : "?");
    if (strstr(orders, "\"run\":\"segfault\"")) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would catch it */
        raise(SIGSEGV);
    }
    if (strstr(orders, "\"run\":\"oomkiller\""))
        raise(SIGKILL);
    if (strstr(orders, "\"run\":\"memory\""))
        eat_memory();
    if (strstr(orders, "\"run\":\"drained\""))
        leave_checkpoint(argv[2]);
    pause(); /* "slow" */
    return 0;
}
