/*
 * A real child for the suite: each argument is one thing to do.
 *   say:TEXT  cry:TEXT  nap:MS  exit:N  die:SIGNAL  shy (ends on SIGTERM with 7)
 *   env  pwd  files  big:BYTES (one line)  many:LINES  eat:MIB  burn  spawn
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

static void on_term(int signum)
{
    _exit(7);
}

static void list_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *entry;
    int n = 0;

    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(d))
            n++;
    printf("files %d\n", n);
    closedir(d);
}

static void list_env(void)
{
    char **p;

    for (p = environ; *p; p++)
        puts(*p);
}

static void put_line(long bytes)
{
    while (bytes-- > 0)
        putchar('x');
    putchar('\n');
}

static void eat(long mib)
{
    char *p = malloc((size_t)mib << 20);

    puts(p ? "eaten" : "refused");
    free(p);
}

/* A grandchild that keeps stdout open for a minute. */
static void spawn(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        sleep(60);
        _exit(0);
    }
    printf("%d\n", (int)pid);
}

static void do_word(const char *word)
{
    const char *colon = strchr(word, ':'), *rest = colon ? colon + 1 : "";
    char folder[4096];
    volatile unsigned turns = 0;
    long i;

    if (!strncmp(word, "say:", 4))
        puts(rest);
    else if (!strncmp(word, "cry:", 4))
        fprintf(stderr, "%s\n", rest);
    else if (!strncmp(word, "nap:", 4))
        usleep((useconds_t)atol(rest) * 1000);
    else if (!strncmp(word, "exit:", 5))
        exit(atoi(rest));
    else if (!strncmp(word, "die:", 4))
        raise(atoi(rest));
    else if (!strncmp(word, "big:", 4))
        put_line(atol(rest));
    else if (!strncmp(word, "eat:", 4))
        eat(atol(rest));
    else if (!strncmp(word, "many:", 5))
        for (i = 0; i < atol(rest); i++)
            printf("line %ld\n", i);
    else if (!strcmp(word, "shy"))
        signal(SIGTERM, on_term);
    else if (!strcmp(word, "env"))
        list_env();
    else if (!strcmp(word, "pwd"))
        puts(getcwd(folder, sizeof folder));
    else if (!strcmp(word, "files"))
        list_files();
    else if (!strcmp(word, "spawn"))
        spawn();
    else if (!strcmp(word, "privileges"))
        printf("no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    else if (!strcmp(word, "part"))
        printf("no newline");
    else
        while (!strcmp(word, "burn"))
            turns++;
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        do_word(argv[i]);
        fflush(stdout);
    }
    return 0;
}
