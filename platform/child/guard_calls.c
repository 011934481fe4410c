/*
 * A seccomp filter (seccomp(2)): system calls by which a process reaches another one, the network,
 * files past Landlock, memory past its limit, or a corner of the kernel that a training process has
 * no use for. A refused call fails with EPERM, clone3 with ENOSYS, so that the C library makes its
 * threads by clone, whose flags a filter can see; so do openat2 and every call that is newer than
 * this list. fchmod does nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/child/child_int.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#define X32_CALLS 0x40000000 /* x86-64's second numbering of the same calls */
#define NEW_CALLS 452        /* Linux 6.6: what came later has not been judged, and is not there */
#define CODE_MAX  512

static const unsigned refused[] = {
    /* the network */
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    /* io_uring would do all of that unseen */
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
/* other processes */
#ifdef SYS_fork
    SYS_fork, SYS_vfork,
#endif
    SYS_setsid, SYS_setpgid, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_process_madvise, SYS_tkill,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_setpriority, SYS_ioprio_set,
    SYS_sched_setscheduler, SYS_sched_setparam, SYS_sched_setattr, SYS_migrate_pages,
    SYS_move_pages, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semctl,
    SYS_semtimedop, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink,
    /* other places */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_open_tree,
    SYS_move_mount, SYS_fsopen, SYS_fsmount, SYS_fspick, SYS_fsconfig, SYS_mount_setattr,
    SYS_name_to_handle_at, SYS_open_by_handle_at,
/* what Landlock leaves open: its user's other files, by their names, and a look at who uses them */
#ifdef SYS_open
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_inotify_init,
    SYS_symlink, SYS_link, SYS_mknod,
#endif
    SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_truncate,
    SYS_inotify_init1, SYS_symlinkat, SYS_linkat, SYS_mknodat, SYS_ioctl,
    /* memory that no limit counts */
    SYS_memfd_create, 447 /* memfd_secret */,
    /* the kernel */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_fanotify_init, SYS_syslog, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_sethostname,
    SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime};

/* These take a process as their first argument: only the child itself, or 0, which means it. */
static const unsigned own_only[] = {SYS_kill, SYS_tgkill, SYS_prlimit64, SYS_sched_setaffinity};

/* Refused where (argument & mask) == value. */
static const struct rule {
    unsigned nr, arg, mask, value;
} rules[] = {
    {SYS_clone, 0, CLONE_THREAD, 0}, /* another process */
    /* a pipe's signal to whomever one likes */
    {SYS_fcntl, 1, ~0U, F_SETOWN},
    {SYS_fcntl, 1, ~0U, F_SETOWN_EX},
    {SYS_fcntl, 1, ~0U, F_SETSIG},
    /* a life after its parent's; a /proc that its parent cannot read */
    {SYS_prctl, 0, ~0U, PR_SET_PDEATHSIG},
    {SYS_prctl, 0, ~0U, PR_SET_DUMPABLE},
    /* Old Landlock sees no truncation (before Linux 6.2), none sees the access mode 3. */
    {SYS_openat, 2, O_ACCMODE | O_TRUNC, O_RDONLY | O_TRUNC},
    {SYS_openat, 2, O_ACCMODE, O_ACCMODE},
#ifdef SYS_open
    {SYS_open, 1, O_ACCMODE | O_TRUNC, O_RDONLY | O_TRUNC},
    {SYS_open, 1, O_ACCMODE, O_ACCMODE},
#endif
};

#define COUNT(list)       ((unsigned)(sizeof(list) / sizeof(list)[0]))
#define LOAD(offset)      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define LOAD_NUMBER       LOAD(offsetof(struct seccomp_data, nr))
#define JUMP(op, k, t, f) BPF_JUMP(BPF_JMP | BPF_K | BPF_##op, k, t, f)
#define ANSWER(k)         BPF_STMT(BPF_RET | BPF_K, k)
#define REFUSE            ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define NOTHING           ANSWER(SECCOMP_RET_ERRNO | 0) /* 0: as if it were done */
#define UNKNOWN           ANSWER(SECCOMP_RET_ERRNO | ENOSYS)
#define PASS              ANSWER(SECCOMP_RET_ALLOW)

struct code {
    struct sock_filter at[CODE_MAX];
    unsigned short n;
};

static void add(struct code *c, const struct sock_filter *steps, unsigned n)
{
    unsigned i;

    for (i = 0; i < n && c->n < CODE_MAX; i++)
        c->at[c->n++] = steps[i];
}

/* The low half of an argument: both processors are little-endian. */
static unsigned low_half(unsigned arg)
{
    return (unsigned)(offsetof(struct seccomp_data, args) + arg * sizeof(__u64));
}

static void add_begin(struct code *c)
{
    const struct sock_filter steps[] = {LOAD(offsetof(struct seccomp_data, arch)),
                                        JUMP(JEQ, ARCH, 1, 0),
                                        ANSWER(SECCOMP_RET_KILL_PROCESS),
                                        LOAD_NUMBER,
                                        JUMP(JGE, X32_CALLS, 0, 1),
                                        REFUSE,
                                        JUMP(JGE, NEW_CALLS, 2, 0),
                                        JUMP(JEQ, SYS_openat2, 1, 0),
                                        JUMP(JEQ, SYS_clone3, 0, 1),
                                        UNKNOWN};

    add(c, steps, COUNT(steps));
}

static void add_refused(struct code *c, unsigned nr)
{
    const struct sock_filter steps[] = {JUMP(JEQ, nr, 0, 1), REFUSE};

    add(c, steps, COUNT(steps));
}

/* Programs set the mode of a file that they wrote, and shall not fail for that: its parent is its
 * user, whatever the mode. */
static void add_ignored(struct code *c, unsigned nr)
{
    const struct sock_filter steps[] = {JUMP(JEQ, nr, 0, 1), NOTHING};

    add(c, steps, COUNT(steps));
}

static void add_own_only(struct code *c, unsigned nr, unsigned pid)
{
    const struct sock_filter steps[] = {JUMP(JEQ, nr, 0, 5),
                                        LOAD(low_half(0)),
                                        JUMP(JEQ, pid, 1, 0),
                                        JUMP(JEQ, 0, 0, 1),
                                        PASS,
                                        REFUSE};

    add(c, steps, COUNT(steps));
}

static void add_rule(struct code *c, const struct rule *r)
{
    const struct sock_filter steps[] = {JUMP(JEQ, r->nr, 0, 5),
                                        LOAD(low_half(r->arg)),
                                        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask),
                                        JUMP(JEQ, r->value, 0, 1),
                                        REFUSE,
                                        LOAD_NUMBER};

    add(c, steps, COUNT(steps));
}

int guard_calls(void)
{
    const struct sock_filter end = PASS;
    struct code c = {.n = 0};
    struct sock_fprog program = {.filter = c.at};
    unsigned i;

    _Static_assert(13 + 2 * COUNT(refused) + 6 * (COUNT(own_only) + COUNT(rules)) < CODE_MAX,
                   "the filter fits");
    add_begin(&c);
    for (i = 0; i < COUNT(refused); i++)
        add_refused(&c, refused[i]);
    add_ignored(&c, SYS_fchmod);
    for (i = 0; i < COUNT(own_only); i++)
        add_own_only(&c, own_only[i], (unsigned)getpid());
    for (i = 0; i < COUNT(rules); i++)
        add_rule(&c, &rules[i]);
    add(&c, &end, 1);
    program.len = c.n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#else

int guard_calls(void)
{
    errno = ENOSYS;
    return -1;
}

#endif
