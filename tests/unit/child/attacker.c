/*
 * What a hostile training process would try; each argument is one attempt. It says "WORD done",
 * "WORD refused" (EPERM, EACCES, ENOSYS), or "WORD" and another error. Where an attempt needs
 * somebody to harm, that is its parent; signals are SIGURG, which does nothing where it arrives.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

extern char **environ;

/* ---- the parent's secrets -----------------------------------------------------------------------
 */

static long read_of_parent(const char *file, int flags)
{
    char path[64], bytes[16];
    int fd;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), file);
    fd = open(path, flags);
    return fd < 0 ? -1 : read(fd, bytes, sizeof bytes) < 0 && errno != EIO ? -1 : 0;
}

static long environment(const char *rest)
{
    return read_of_parent("environ", O_RDONLY);
}

static long memory(const char *rest)
{
    return read_of_parent("mem", O_RDWR);
}

static long vm_read(const char *rest)
{
    char bytes[8];
    struct iovec here = {bytes, sizeof bytes}, there = {environ, sizeof bytes};
    long rc = process_vm_readv(getppid(), &here, 1, &there, 1, 0);

    return rc < 0 && errno == EFAULT ? 0 : rc; /* the right was there, the address is another's */
}

static long trace(const char *rest)
{
    long rc = ptrace(PTRACE_SEIZE, getppid(), 0, 0);

    if (rc == 0)
        ptrace(PTRACE_DETACH, getppid(), 0, 0);
    return rc;
}

static long take_file(const char *rest)
{
    int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);

    return fd < 0 ? -1 : syscall(SYS_pidfd_getfd, fd, 0, 0);
}

/* ---- the network --------------------------------------------------------------------------------
 */

static long inet(const char *rest)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long inet6(const char *rest)
{
    return socket(AF_INET6, SOCK_DGRAM, 0);
}

static long netlink(const char *rest)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long abstract_socket(const char *rest)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "\0tripline-attacker"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&to, sizeof to);
}

static long socket_pair(const char *rest)
{
    int fds[2];

    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

static long uring(const char *rest)
{
    struct io_uring_params p = {0};

    return syscall(SYS_io_uring_setup, 4, &p);
}

/* ---- files that are not its own -----------------------------------------------------------------
 */

static long open_and_close(const char *path, int flags)
{
    int fd = open(path, flags, 0600);

    return fd < 0 ? -1 : close(fd);
}

static long read_file(const char *path)
{
    return open_and_close(path, O_RDONLY);
}

static long list_folder(const char *path)
{
    return open_and_close(path, O_RDONLY | O_DIRECTORY);
}

static long write_file(const char *path)
{
    return open_and_close(path, O_WRONLY);
}

static long create_file(const char *path)
{
    return open_and_close(path, O_WRONLY | O_CREAT);
}

static long make_folder(const char *path)
{
    return mkdir(path, 0700);
}

static long remove_file(const char *path)
{
    return unlink(path);
}

static long rename_file(const char *path)
{
    char to[4096];

    snprintf(to, sizeof to, "%s-renamed", path);
    return rename(path, to);
}

static long truncate_file(const char *path)
{
    return truncate(path, 0);
}

static long read_truncate(const char *path)
{
    return open_and_close(path, O_RDONLY | O_TRUNC);
}

static long mode_three(const char *path)
{
    return open_and_close(path, O_ACCMODE | O_TRUNC);
}

static long change_mode(const char *path)
{
    return chmod(path, 0777);
}

static long change_open_mode(const char *path)
{
    int fd = open(path, O_RDONLY);

    return fd < 0 ? -1 : fchmod(fd, 0777);
}

static long change_mode_2(const char *path)
{
    return syscall(452 /* fchmodat2 */, AT_FDCWD, path, 0777, 0);
}

static long change_owner(const char *path)
{
    return chown(path, geteuid(), getegid());
}

static long change_times(const char *path)
{
    return utimes(path, NULL);
}

static long set_attribute(const char *path)
{
    return setxattr(path, "user.tripline", "x", 1, 0);
}

static long hard_link(const char *path)
{
    char to[4096];

    snprintf(to, sizeof to, "%s-linked", path);
    return link(path, to);
}

static long symbolic_link(const char *path)
{
    return symlink("/etc/passwd", path);
}

static long named_pipe(const char *path)
{
    return mkfifo(path, 0600);
}

static long see_changes(const char *path)
{
    int fd = inotify_init1(0);

    return fd < 0 ? -1 : inotify_add_watch(fd, path, IN_ALL_EVENTS);
}

/* ---- more processes -----------------------------------------------------------------------------
 */

static long ended(long pid)
{
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : waitpid((pid_t)pid, NULL, 0);
}

static long by_fork(const char *rest)
{
    return ended(fork());
}

static long by_clone(const char *rest)
{
    return ended(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static long by_clone3(const char *rest)
{
    unsigned long args[11] = {[4] = SIGCHLD}; /* of struct clone_args: exit_signal */

    return ended(syscall(SYS_clone3, args, sizeof args));
}

static long by_spawn(const char *rest)
{
    const char *const argv[] = {"true", NULL};
    pid_t pid = 0;

    errno = posix_spawn(&pid, "/bin/true", NULL, NULL, (char *const *)argv, environ);
    return errno ? -1 : ended(pid);
}

static void *sleep_on(void *arg)
{
    for (;;)
        pause();
    return arg;
}

/* Threads without end, up to what a test may ask of a machine; then it waits to be killed. */
static long bomb(const char *rest)
{
    pthread_attr_t small;
    pthread_t t;
    int made = 0;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    while (made < 4000 && pthread_create(&t, &small, sleep_on, NULL) == 0)
        made++;
    printf("bomb %d\n", made);
    fflush(stdout);
    sleep_on(NULL);
    return 0;
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* Takes and touches memory that is `take`n up to 96 MiB: was all of it had? */
static long eat(void *(*take)(size_t))
{
    size_t eaten = 0;
    char *p;

    while (eaten < 96 && (p = take(16 * MIB)) && p != MAP_FAILED) {
        memset(p, 1, 16 * MIB);
        eaten += 16;
    }
    return eaten == 96 ? 0 : -1;
}

static void *private_pages(size_t n)
{
    return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *shared_pages(size_t n)
{
    return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static long eat_heap(const char *rest)
{
    return eat(malloc);
}

static long eat_private(const char *rest)
{
    return eat(private_pages);
}

static long eat_shared(const char *rest)
{
    return eat(shared_pages);
}

/* Written, not mapped: no limit on address space counts it. */
static long eat_memfd(const char *rest)
{
    static const char bytes[65536] = {1};
    int fd = memfd_create("eaten", 0), i;

    for (i = 0; fd >= 0 && i < 1024; i++)
        if (write(fd, bytes, sizeof bytes) < 0)
            return -1;
    return fd < 0 ? -1 : 0;
}

/* A file that is kept in memory, if its file system does so. */
static long eat_file(const char *path)
{
    static const char bytes[65536] = {1};
    int fd = open(path, O_WRONLY | O_CREAT, 0600), i;

    for (i = 0; fd >= 0 && i < 1024; i++)
        if (write(fd, bytes, sizeof bytes) < 0)
            return -1;
    return fd < 0 ? -1 : close(fd);
}

static long eat_system_v(const char *rest)
{
    int id = shmget(IPC_PRIVATE, 64 * MIB, IPC_CREAT | 0600);

    return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}

/* ---- others -------------------------------------------------------------------------------------
 */

static long signal_parent(const char *rest)
{
    return kill(getppid(), SIGURG);
}

static long signal_all(const char *rest)
{
    return kill(-1, 0); /* asks only whether it might */
}

static long signal_thread(const char *rest)
{
    return syscall(SYS_tgkill, getppid(), getppid(), SIGURG);
}

static long signal_queue(const char *rest)
{
    return sigqueue(getppid(), SIGURG, (union sigval){0});
}

static long signal_pidfd(const char *rest)
{
    int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);

    return fd < 0 ? -1 : syscall(SYS_pidfd_send_signal, fd, SIGURG, NULL, 0);
}

/* A pipe tells whom it is told to tell, with any signal. */
static long signal_by_pipe(const char *rest)
{
    int fds[2];

    if (pipe(fds) < 0 || fcntl(fds[0], F_SETOWN, getppid()) < 0 ||
        fcntl(fds[0], F_SETSIG, SIGURG) < 0 || fcntl(fds[0], F_SETFL, O_ASYNC) < 0)
        return -1;
    return write(fds[1], "x", 1);
}

static long limit_parent(const char *rest)
{
    struct rlimit now;

    return prlimit(getppid(), RLIMIT_CORE, NULL, &now);
}

static long slow_parent(const char *rest)
{
    return setpriority(PRIO_PROCESS, (id_t)getppid(), 0);
}

static long pin_parent(const char *rest)
{
    cpu_set_t set;

    return sched_getaffinity(getppid(), sizeof set, &set) < 0
               ? -1
               : sched_setaffinity(getppid(), sizeof set, &set);
}

static long outlive(const char *rest)
{
    return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

static long leave_group(const char *rest)
{
    return setpgid(0, 0);
}

static long hide(const char *rest)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- what it may, up to a limit -----------------------------------------------------------------
 */

static long network(const char *rest)
{
    char name[64] = "";
    long n = readlink("/proc/self/ns/net", name, sizeof name - 1);

    return n < 0 ? -1 : printf("%s ", name);
}

static void *nothing(void *arg)
{
    return arg;
}

static long threads(const char *rest)
{
    pthread_t t[8];
    int i, made = 0;

    for (i = 0; i < 8; i++)
        made += pthread_create(&t[i], NULL, nothing, NULL) == 0;
    for (i = 0; i < made; i++)
        pthread_join(t[i], NULL);
    return made == 8 ? 0 : -1;
}

/* Small files without end. */
static long fill(const char *folder)
{
    static const char bytes[65536] = {1};
    char path[4096];
    long i;
    int fd;

    for (i = 0;; i++) {
        snprintf(path, sizeof path, "%s/%ld", folder, i);
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0 || write(fd, bytes, sizeof bytes) < 0)
            return -1;
        close(fd);
        usleep(1000);
    }
}

/* Files that nobody can find any more, without end. */
static long hoard(const char *folder)
{
    static const char bytes[65536] = {1};
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/hoard", folder);
    for (;;) {
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0 || unlink(path) < 0 || write(fd, bytes, sizeof bytes) < 0)
            return -1;
        usleep(1000);
    }
}

/* ---- the kernel ---------------------------------------------------------------------------------
 */

static long bpf(const char *rest)
{
    char attr[128] = {1};

    return syscall(SYS_bpf, 0, attr, sizeof attr);
}

static long perf(const char *rest)
{
    struct perf_event_attr attr = {.size = sizeof attr, .type = PERF_TYPE_SOFTWARE};

    return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long fault(const char *rest)
{
    return syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */);
}

static long keyring(const char *rest)
{
    return syscall(SYS_keyctl, 0, -3 /* the session's */, 0);
}

static long key(const char *rest)
{
    return syscall(SYS_add_key, "user", "tripline", "x", 1, -2 /* the process's */);
}

static long user_namespace(const char *rest)
{
    return unshare(CLONE_NEWUSER);
}

static long unmount(const char *rest)
{
    return umount2("/nonexistent", 0);
}

static long secret_memory(const char *rest)
{
    return syscall(447 /* memfd_secret */, 0);
}

static long newer_call(const char *rest)
{
    return syscall(453 /* map_shadow_stack: the list's end */, 0, 4096, 0);
}

static long device(const char *rest)
{
    return syscall(SYS_ioctl, 0, 0x5401 /* TCGETS */, NULL);
}

#define WORD(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }

static const struct {
    const char *name;
    long (*attempt)(const char *rest);
} words[] = {
    WORD(environment),   WORD(memory),
    WORD(vm_read),       WORD(trace),
    WORD(take_file),     WORD(inet),
    WORD(inet6),         WORD(netlink),
    WORD(socket_pair),   WORD(abstract_socket),
    WORD(uring),         WORD(read_file),
    WORD(list_folder),   WORD(write_file),
    WORD(create_file),   WORD(make_folder),
    WORD(remove_file),   WORD(rename_file),
    WORD(truncate_file), WORD(read_truncate),
    WORD(mode_three),    WORD(change_mode),
    WORD(change_mode_2), WORD(change_open_mode),
    WORD(change_owner),  WORD(change_times),
    WORD(set_attribute), WORD(hard_link),
    WORD(symbolic_link), WORD(named_pipe),
    WORD(see_changes),   WORD(by_fork),
    WORD(by_clone),      WORD(by_clone3),
    WORD(by_spawn),      WORD(bomb),
    WORD(eat_heap),      WORD(eat_private),
    WORD(eat_shared),    WORD(eat_memfd),
    WORD(eat_file),      WORD(eat_system_v),
    WORD(signal_parent), WORD(signal_all),
    WORD(signal_thread), WORD(signal_queue),
    WORD(signal_pidfd),  WORD(signal_by_pipe),
    WORD(limit_parent),  WORD(slow_parent),
    WORD(pin_parent),    WORD(outlive),
    WORD(leave_group),   WORD(hide),
    WORD(bpf),           WORD(perf),
    WORD(fault),         WORD(keyring),
    WORD(key),           WORD(user_namespace),
    WORD(unmount),       WORD(secret_memory),
    WORD(newer_call),    WORD(device),
    WORD(network),       WORD(threads),
    WORD(fill),          WORD(hoard),
};

static void attempt(const char *word)
{
    size_t n = strcspn(word, ":"), i;
    long rc;

    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].name) != n || strncmp(words[i].name, word, n) != 0)
            continue;
        rc = words[i].attempt(word[n] ? word + n + 1 : "");
        if (rc < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
            printf("%s refused\n", words[i].name);
        else
            printf("%s %s\n", words[i].name, rc < 0 ? strerror(errno) : "done");
        fflush(stdout);
        return;
    }
    printf("%s is no attempt\n", word);
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++)
        attempt(argv[i]);
    return 0;
}
