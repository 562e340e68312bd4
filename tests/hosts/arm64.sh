#!/bin/bash
# An arm64 Debian under user-mode emulation (qemu): what a Raspberry Pi installs, imports and computes.
# Not how fast: an inference takes seconds here.
#
#   arm64.sh make ROOTFS SUITE     bookworm (Python 3.11) or trixie (3.13); minutes, about 400 MB
#   arm64.sh run ROOTFS CMD...     with QEMU_CPU=cortex-a53 (Pi 3, Zero 2 W) | cortex-a72 (Pi 4) | cortex-a76 (Pi 5)
#   arm64.sh unpack ROOTFS SUITE   only the files of one with Python, in a minute: nothing is emulated, nothing set up
#   arm64.sh alone ROOTFS QEMU_OPTIONS CMD...   runs a program of either, which starts no other; takes plugins (count.c)
#
# Needs root and: debootstrap qemu-user-static binfmt-support; the last two debootstrap and qemu-user. The programs see a Pi's /proc/cpuinfo: with
# that of an x86 machine LiteRT crashes in its CPU detection. Packages come from where this machine's do.
set -euo pipefail
verb=$1 root=$(realpath -m "$2")
shift 2

features() {
    case ${QEMU_CPU:-cortex-a72} in
        cortex-a76) echo "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" ;;
        *) echo "fp asimd evtstrm crc32 cpuid" ;;
    esac
}

cpuinfo() {
    for n in 0 1 2 3; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$n" "$(features)"
        printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
    done
}

mirror() { # where this machine's packages come from
    { cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
        grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1
}

case $verb in
    make)
        mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        update-binfmts --enable qemu-aarch64
        mirror=$(mirror)
        debootstrap --arch=arm64 --variant=minbase \
            --include=python3,python3-venv,python3-pip,ca-certificates "$1" "$root.partial" "$mirror" >"$root.log" 2>&1
        cp -L /etc/ssl/certs/ca-certificates.crt "$root.partial/etc/ssl/certs/"
        cp -L /etc/resolv.conf /etc/hosts "$root.partial/etc/"
        mv "$root.partial" "$root"
        ;;
    unpack)
        mirror=$(mirror)
        debootstrap --foreign --arch=arm64 --variant=minbase --include=python3 "$1" "$root.partial" "$mirror" >"$root.log" 2>&1
        for package in "$root.partial"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root.partial"; done
        rm -rf "$root.partial/var/cache/apt/archives" "$root.partial/debootstrap"
        mkdir -p "$root.partial/host"
        mv "$root.partial" "$root"
        ;;
    alone)
        cpuinfo >"$root/opt/cpuinfo"
        options=$1
        shift
        # The qemu that takes plugins needs this machine's libraries, which are found below /host.
        libraries=/host/lib/x86_64-linux-gnu:/host/usr/lib/x86_64-linux-gnu
        exec unshare --mount --pid --fork --kill-child --propagation private bash -ec '
            root=$0 libraries=$1 options=$2
            mount --rbind / "$root/host"
            mount -t proc proc "$root/proc"
            mount --rbind /dev "$root/dev"
            mount -t sysfs -o ro sysfs "$root/sys"
            mount -t tmpfs tmpfs "$root/tmp"
            mount --bind "$root/opt/cpuinfo" "$root/proc/cpuinfo"
            env -i HOME=/root TERM=dumb LANG=C.UTF-8 EDGEEMO_ASSETS=/opt/assets PYTHONPATH="$PYTHONPATH" PYTHONHASHSEED=0 \
                "$(command -v chroot)" "$root" "/host$(realpath /lib64/ld-linux-x86-64.so.2)" --library-path "$libraries" "/host$(command -v qemu-aarch64)" \
                $options "${@:3}"; exit $?' "$root" "$libraries" "-cpu ${QEMU_CPU:-cortex-a72} $options" "$@"
        ;;
    run)
        cpuinfo >"$root/opt/cpuinfo"
        # A shell stays process 1 of the namespace: there, a fatal signal would be ignored and look like a hang.
        exec unshare --mount --pid --fork --kill-child --propagation private bash -c '
            root=$0
            mount -t proc proc "$root/proc"
            mount --rbind /dev "$root/dev"
            mount -t sysfs -o ro sysfs "$root/sys"
            mount -t tmpfs tmpfs "$root/tmp"
            mount --bind "$root/opt/cpuinfo" "$root/proc/cpuinfo"
            exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                TERM=dumb LANG=C.UTF-8 PIP_DEFAULT_TIMEOUT=180 PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
                SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt EDGEEMO_ASSETS=/opt/assets \
                QEMU_CPU="${QEMU_CPU:-cortex-a72}" chroot "$root" /bin/sh -c "\"\$@\"; exit \$?" sh "$@"
        ' "$root" "$@"
        ;;
    *)
        echo "arm64.sh make|run|unpack|alone ROOTFS ..." >&2
        exit 2
        ;;
esac
