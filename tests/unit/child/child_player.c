/*
 * A real child for the suite: each argument is one thing to do.
 *   say:TEXT  cry:TEXT  nap:MS  exit:N  die:SIGNAL  shy (ends on SIGTERM with 7)
 *   env  pwd  files  big:BYTES (one line)  many:LINES  eat:MIB  burn  spawn
 * and what a guard may refuse; each says "WORD done" or "WORD" and the error:
 *   net  netns  spy (its parent's environment)  read:PATH  write:PATH  link:PATH  fork  threads
 *   term (kills its parent)  fill:FOLDER (with small files, without end)
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

/* What came of it: rc < 0 with errno, or done. */
static void tell(const char *what, int rc)
{
    printf("%s %s\n", what, rc < 0 ? strerror(errno) : "done");
}

static void try_net(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    tell("net", fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to));
    close(fd);
}

static void try_netns(void)
{
    char name[64] = "";

    if (readlink("/proc/self/ns/net", name, sizeof name - 1) < 0)
        puts("netns unknown");
    else
        puts(name);
}

static void try_open(const char *what, const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    char bytes[1];

    tell(what, fd < 0 || (flags == O_RDONLY && read(fd, bytes, 1) < 0) ? -1 : 0);
    close(fd);
}

static void try_fork(void)
{
    int i, made = 0;
    pid_t pid = 0;

    for (i = 0; i < 50 && pid >= 0; i++) {
        if ((pid = fork()) == 0)
            _exit(0);
        made += pid > 0;
    }
    if (made == 0)
        tell("fork", -1);
    else
        printf("fork %d times\n", made);
}

static void *nothing(void *arg)
{
    return arg;
}

static void try_threads(void)
{
    pthread_t t[8];
    int i, made = 0;

    for (i = 0; i < 8; i++)
        made += pthread_create(&t[i], NULL, nothing, NULL) == 0;
    for (i = 0; i < made; i++)
        pthread_join(t[i], NULL);
    printf("threads %d\n", made);
}

static void fill(const char *folder)
{
    static const char bytes[65536] = {1};
    char path[4096];
    long i;
    int fd;

    for (i = 0;; i++) {
        snprintf(path, sizeof path, "%s/%ld", folder, i);
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0 || write(fd, bytes, sizeof bytes) < 0)
            tell("fill", -1);
        close(fd);
        usleep(1000);
    }
}

/* True: it was one of those that a guard may refuse. */
static bool try_word(const char *word, const char *rest)
{
    char path[64];

    if (!strcmp(word, "net"))
        try_net();
    else if (!strcmp(word, "netns"))
        try_netns();
    else if (!strcmp(word, "spy")) {
        snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
        try_open("spy", path, O_RDONLY);
    } else if (!strncmp(word, "read:", 5))
        try_open("read", rest, O_RDONLY);
    else if (!strncmp(word, "write:", 6))
        try_open("write", rest, O_WRONLY | O_CREAT);
    else if (!strncmp(word, "link:", 5))
        tell("link", symlink("/etc/passwd", rest));
    else if (!strcmp(word, "fork"))
        try_fork();
    else if (!strcmp(word, "threads"))
        try_threads();
    else if (!strcmp(word, "term"))
        tell("term", kill(getppid(), SIGURG)); /* which does nothing where it arrives */
    else if (!strncmp(word, "fill:", 5))
        fill(rest);
    else
        return false;
    return true;
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
        const char *colon = strchr(argv[i], ':');

        if (!try_word(argv[i], colon ? colon + 1 : ""))
            do_word(argv[i]);
        fflush(stdout);
    }
    return 0;
}
