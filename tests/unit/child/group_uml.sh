#!/bin/bash
# group_uml.sh BIN: group_test.c under a kernel of its own (User Mode Linux), which has cgroup v2 whole: as
# root in the root group, and as a plain user in a group that is delegated to it. The machine's files are read
# only there. Skipped where that kernel (package user-mode-linux) is not installed, or does not boot.
set -euo pipefail
bin=${1:?the folder of the test programs}
if [ "${2:-}" != inside ]; then
    kernel=${TRIPLINE_UML:-$(command -v linux.uml || true)}
    [ -x "$kernel" ] || { echo "linux.uml is not installed (package user-mode-linux)"; exit 77; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    self=$(realpath "${BASH_SOURCE[0]}")
    TMPDIR=$work timeout 100 "$kernel" mem=1G rootfstype=hostfs rootflags=/ ro quiet con0=null,fd:1 con=null \
        init="$self" -- "$bin" inside </dev/null >"$work/log" 2>&1 || true
    grep -q '^began' "$work/log" || { echo "the kernel does not boot here"; tail -n 5 "$work/log"; exit 77; }
    cat "$work/log"
    [ "$(grep -c '^ended 0' "$work/log")" = 2 ] || exit 1
    exit
fi

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 dev /dev/shm 2>/dev/null || { mkdir -m 1777 /dev/shm; mount -t tmpfs -o mode=1777 dev /dev/shm; }
cp "$bin/test_child_group" "$bin/test_child_attacker" /run
mount -t tmpfs -o mode=1777 tmp /tmp
echo began
wholly() { # COMMAND...: runs it; nothing of it may be skipped
    local rc=0
    "$@" >/run/log 2>&1 || rc=1
    cat /run/log
    if grep -q SKIPPED /run/log; then rc=1; fi
    echo "ended $rc"
}
group=/sys/fs/cgroup/delegated
wholly env TRIPLINE_TEST_ATTACKER=/run/test_child_attacker /run/test_child_group
mkdir "$group"
chown -R 65534 "$group"
wholly sh -c "echo \$\$ >$group/cgroup.procs && exec setpriv --reuid 65534 --clear-groups env TRIPLINE_TEST_ATTACKER=/run/test_child_attacker /run/test_child_group"
echo o >/proc/sysrq-trigger
sleep 10
