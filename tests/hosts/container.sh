#!/bin/bash
# A Debian with a real systemd as its process 1, booted as a container without any network, or with one of its own.
#
#   container.sh make ROOTFS [SUITE]        once: about a minute, 420 MB
#   container.sh make32 DIR                 once: a 32-bit sh and python3, and what they need, 30 MB
#   container.sh boot ROOTFS NAME [NETNS]   in the foreground; SIGTERM to its child (systemd-nspawn) shuts it down as a
#                                           power button would, SIGKILL to itself is a pulled plug
#
# Needs root and: debootstrap systemd-container. The machine's own process 1 need not be systemd. Real in it: units,
# watchdog, journal, reboot, seccomp, ProtectSystem, MemoryMax and CPUQuota. Not: its own kernel, a camera.
set -euo pipefail
verb=$1 root=$(realpath -m "$2")

mirror=$({ cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
    grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1)

case $verb in
    make)
        suite=${3:-bookworm}
        rm -rf "$root.partial"
        mkdir -p "$(dirname "$root")"
        packages=systemd,systemd-sysv,dbus,libnss-systemd,libpam-systemd,python3,procps,openssh-server,sudo
        debootstrap --variant=minbase --include=$packages,python3-venv,python3-numpy \
            "$suite" "$root.partial" "$mirror" >"$root.log" 2>&1
        rm -rf "$root.partial"/var/cache/apt/archives/*.deb
        : >"$root.partial/etc/machine-id"
        echo device >"$root.partial/etc/hostname"
        echo "127.0.0.1 localhost device" >"$root.partial/etc/hosts"
        chroot "$root.partial" systemctl --quiet disable ssh # for those who have a network
        # Its systemd gets cgroups of its own to write to: without, limits are accepted and not enforced.
        cat >"$root.partial/sbin/init-own-cgroups" <<'INIT'
#!/bin/sh
for controller in memory pids cpu cpuacct; do
    [ ! -d /sys/fs/cgroup/$controller ] || mount -o remount,bind,rw /sys/fs/cgroup/$controller
done
exec /sbin/init
INIT
        chmod +x "$root.partial/sbin/init-own-cgroups"
        mv "$root.partial" "$root"
        ;;
    make32)
        rm -rf "$root.partial"
        mkdir -p "$root.partial/apt"/{state/lists/partial,cache/archives/partial} "$root.partial/tmp"
        echo "deb $mirror bookworm main" >"$root.partial/apt/sources.list"
        apt="apt-get -qq -o Dir::State=$root.partial/apt/state -o Dir::Cache=$root.partial/apt/cache
            -o Dir::State::status=/dev/null -o Dir::Etc::SourceList=$root.partial/apt/sources.list
            -o Dir::Etc::SourceParts=/dev/null -o APT::Architecture=i386 -o APT::Architectures=i386 -o APT::Sandbox::User=root"
        $apt update
        (cd "$root.partial/tmp" && $apt download dash libc6 zlib1g libexpat1 python3.11-minimal libpython3.11-minimal \
            libpython3.11-stdlib)
        for package in "$root.partial"/tmp/*.deb; do dpkg -x "$package" "$root.partial"; done
        rm -rf "$root.partial/apt" "$root.partial"/tmp/*
        ln -s python3.11 "$root.partial/usr/bin/python3"
        ln -sf dash "$root.partial/bin/sh"
        mv "$root.partial" "$root"
        ;;
    boot)
        name=$3
        network=--private-network
        [ $# -lt 4 ] || network=--network-namespace-path=/run/netns/$4
        for controller in memory pids cpu cpuacct; do
            [ -d "/sys/fs/cgroup/$controller" ] || continue # cgroups v2 delegate by themselves
            mkdir -p "/sys/fs/cgroup/$controller/$name"
            echo $$ >"/sys/fs/cgroup/$controller/$name/cgroup.procs"
        done
        # In a process namespace of its own: when this process is killed, all inside is, too.
        exec unshare --pid --fork --kill-child --mount --mount-proc --propagation private \
            systemd-nspawn --quiet --directory="$root" --machine="$name" --register=no --keep-unit \
                "$network" --kill-signal=SIGRTMIN+3 /sbin/init-own-cgroups
        ;;
    *)
        echo "container.sh make|boot ROOTFS ..." >&2
        exit 2
        ;;
esac
