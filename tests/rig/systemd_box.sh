#!/bin/bash
# Boots the systemd of this machine as PID 1 of a box: an overlay of the machine's own root, in its own namespaces.
# usage: systemd_box.sh boot ID NOTIFY_DIR [HOST_PATH:BOX_PATH]...    exec's unshare(1), whose one child is PID 1
#        systemd_box.sh clean ID                                      removes the box's cgroups
# Run it as `unshare --mount --propagation private systemd_box.sh …`: every mount below is then gone with the box.
set -euo pipefail

own_cgroups() { # a pure cgroup2 tree: the machine may have v1 mounted, and systemd takes what it finds
    cgroups=/run/systemd-box/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p $cgroups
    mount -t cgroup2 cgroup2 $cgroups
}

clean() {
    own_cgroups
    local group=$cgroups/systemd-box-$1 tries
    [ -d "$group" ] || return 0
    echo 1 >"$group/cgroup.kill"
    for tries in {1..100}; do # what was killed takes a moment to be gone
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && return
        sleep 0.05
    done
    find "$group" -depth -type d -exec rmdir {} +
}

boot() {
    local id=$1 notify=$2
    shift 2
    local binds=()
    for bind; do # pinned before /run is covered: a path may lie there
        exec {fd}<"${bind%%:*}"
        binds+=("$fd:${bind#*:}")
    done
    exec {notify_fd}<"$notify"
    own_cgroups

    local overlay=/run/systemd-box/overlay
    mkdir -p $overlay/{upper,work,root}
    mount -t overlay -o "lowerdir=/,upperdir=$overlay/upper,workdir=$overlay/work" overlay $overlay/root
    cd $overlay/root
    : >etc/machine-id
    rm -rf var/log/journal # volatile: the machine's own journal is not the box's
    box_target
    mount -t tmpfs -o mode=1777 tmpfs tmp # systemd-tmpfiles would empty the overlaid /tmp, file by file
    mount -t tmpfs -o mode=755 tmpfs run
    mkdir -p run/host
    mount --bind "/proc/self/fd/$notify_fd" run/host
    for bind in "${binds[@]}"; do
        mkdir -p ".${bind#*:}"
        mount --bind "/proc/self/fd/${bind%%:*}" ".${bind#*:}"
    done

    mkdir "$cgroups/systemd-box-$id"
    echo $$ >"$cgroups/systemd-box-$id/cgroup.procs" # the root of the cgroup namespace made next
    exec unshare --pid --fork --kill-child=KILL --cgroup --net --uts --ipc --mount --propagation private \
        /bin/bash -euc "$(declare -f become_init); become_init"
}

box_target() { # basic.target, less what would touch the machine's devices or wait for the network
    cat >etc/systemd/system/box.target <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
UNIT
    local unit
    for unit in systemd-udevd.service systemd-udevd-{kernel,control}.socket systemd-udev-trigger.service \
        systemd-sysctl.service systemd-modules-load.service kmod-static-nodes.service \
        sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount dev-{hugepages,mqueue}.mount \
        modprobe@.service \
        {apt-daily,apt-daily-upgrade,man-db,e2scrub_all,dpkg-db-backup,fstrim,logrotate,systemd-tmpfiles-clean}.timer; do
        ln -sf /dev/null "etc/systemd/system/$unit"
    done
    # A unit of this name that the machine has installed must not stand in for the one under test.
    rm -rf etc/systemd/system/edged* {usr/,}lib/systemd/system/edged*
}

become_init() { # in the new namespaces, in the overlay's root
    hostname box
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev # its own: the machine's devtmpfs is shared
    for node in null zero full random urandom tty; do cp -a /dev/$node dev/; done
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    mkdir -p dev/pts dev/shm .machine
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs tmpfs dev/shm
    pivot_root . .machine
    umount -l /.machine
    rmdir /.machine
    cd /
    mount --make-rshared / # systemd's credentials mounts are otherwise not seen by the services
    exec env -i container=box NOTIFY_SOCKET=/run/host/notify PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=box.target --log-color=no --show-status=yes
}

"$@"
