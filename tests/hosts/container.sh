#!/bin/bash
# A Debian with a real systemd as its process 1, booted as a container without any network.
#
#   container.sh make ROOTFS [SUITE]     once: about a minute, 340 MB
#   container.sh boot ROOTFS NAME        in the foreground; SIGTERM to its child (systemd-nspawn) shuts it down as a
#                                        power button would, SIGKILL to itself is a pulled plug
#
# Needs root and: debootstrap systemd-container. The machine's own process 1 need not be systemd. Real in it: units,
# watchdog, journal, reboot, seccomp, ProtectSystem, MemoryMax and CPUQuota. Not: its own kernel, a camera.
set -euo pipefail
verb=$1 root=$(realpath -m "$2")

case $verb in
    make)
        suite=${3:-bookworm}
        mirror=$({ cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
            grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1)
        rm -rf "$root.partial"
        mkdir -p "$(dirname "$root")"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libnss-systemd,python3,python3-venv,procps \
            "$suite" "$root.partial" "$mirror" >"$root.log" 2>&1
        rm -rf "$root.partial"/var/cache/apt/archives/*.deb
        : >"$root.partial/etc/machine-id"
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
    boot)
        name=$3
        for controller in memory pids cpu cpuacct; do
            [ -d "/sys/fs/cgroup/$controller" ] || continue # cgroups v2 delegate by themselves
            mkdir -p "/sys/fs/cgroup/$controller/$name"
            echo $$ >"/sys/fs/cgroup/$controller/$name/cgroup.procs"
        done
        # In a process namespace of its own: when this process is killed, all inside is, too.
        exec unshare --pid --fork --kill-child --mount --mount-proc --propagation private \
            systemd-nspawn --quiet --directory="$root" --machine="$name" --register=no --keep-unit \
                --private-network --kill-signal=SIGRTMIN+3 /sbin/init-own-cgroups
        ;;
    *)
        echo "container.sh make|boot ROOTFS ..." >&2
        exit 2
        ;;
esac
