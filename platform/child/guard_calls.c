/*
 * A seccomp filter (seccomp(2)): system calls by which a process reaches another one, the network,
 * or a corner of the kernel that a training process has no use for. A refused call fails with
 * EPERM, clone3 with ENOSYS, so that the C library makes its threads by clone, whose flags a filter
 * can see.
 */
#include <errno.h>
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
    /* the kernel */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_fanotify_init, SYS_syslog, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_sethostname,
    SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime};

#define REFUSED ((unsigned)(sizeof refused / sizeof refused[0]))

/* These take a process as their first argument: only the child itself, or 0, which means it. */
static const unsigned own_only[] = {SYS_kill, SYS_tgkill, SYS_prlimit64};

#define OWN_ONLY ((unsigned)(sizeof own_only / sizeof own_only[0]))

#define LOAD(field)       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(op, k, t, f) BPF_JUMP(BPF_JMP | BPF_K | BPF_##op, k, t, f)
#define ANSWER(k)         BPF_STMT(BPF_RET | BPF_K, k)
#define REFUSE            (SECCOMP_RET_ERRNO | EPERM)

/* A call's number is loaded. One that is listed goes on with the `tail` behind all of them. */
static unsigned compare(struct sock_filter *at, const unsigned *list, unsigned n, unsigned tail)
{
    unsigned i;

    for (i = 0; i < n; i++)
        at[i] = (struct sock_filter)JUMP(JEQ, list[i], (unsigned char)(n - 1 - i + tail), 0);
    return n;
}

int guard_calls(void)
{
    /* Behind the comparisons: the answers. Their places are counted from the first. */
    enum { ALLOW, CLONE3, CLONE, REFUSE_AT = CLONE + 3, OWN = REFUSE_AT + 1, TAIL = OWN + 4 };
    const struct sock_filter tail[TAIL] = {
        [ALLOW] = ANSWER(SECCOMP_RET_ALLOW),
        [CLONE3] = ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
        [CLONE] = LOAD(args[0]), /* the low half: both processors are little-endian */
        [CLONE + 1] = JUMP(JSET, CLONE_THREAD, 0, 1),
        [CLONE + 2] = ANSWER(SECCOMP_RET_ALLOW),
        [REFUSE_AT] = ANSWER(REFUSE),
        [OWN] = LOAD(args[0]),
        [OWN + 1] = JUMP(JEQ, (unsigned)getpid(), 1, 0),
        [OWN + 2] = JUMP(JEQ, 0, 0, 1),
        [OWN + 3] = ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_filter code[8 + REFUSED + OWN_ONLY + TAIL + 1] = {
        LOAD(arch),
        JUMP(JEQ, ARCH, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        JUMP(JGE, X32_CALLS, 0, 1),
        ANSWER(REFUSE),
        JUMP(JEQ, SYS_clone3, REFUSED + OWN_ONLY + 1 + CLONE3, 0),
        JUMP(JEQ, SYS_clone, REFUSED + OWN_ONLY + CLONE, 0),
    };
    struct sock_fprog program = {.filter = code};
    unsigned n = 8, i;

    n += compare(code + n, refused, REFUSED, OWN_ONLY + REFUSE_AT);
    n += compare(code + n, own_only, OWN_ONLY, OWN);
    for (i = 0; i < TAIL; i++)
        code[n++] = tail[i];
    code[n++] = (struct sock_filter)ANSWER(REFUSE);
    program.len = (unsigned short)n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#else

int guard_calls(void)
{
    errno = ENOSYS;
    return -1;
}

#endif
