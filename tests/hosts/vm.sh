#!/bin/bash
# A whole Debian in an emulated PC: its own kernel, systemd and cgroups, a V4L2 camera (the kernel module vivid), reboot,
# and a power cut. No KVM is needed, so it is slow: some 20 times slower than the machine it runs on.
#
#   vm.sh make DIR [SUITE]     once: a few minutes, 1.5 GB
#   vm.sh boot DIR DISK PORT   in the foreground; ssh at 127.0.0.1:PORT for root and pi (who may use sudo), with DIR/key.
#                              SIGKILL is a power cut: DISK keeps its tables in memory until the guest flushes them, so
#                              that what it wrote last and did not flush is lost, as in the cache of a real disk.
#                              DISK is made where there is none, and holds what differs from DIR/root.img.
#
# Needs root and: debootstrap e2fsprogs openssh-client qemu-system-x86 qemu-utils seabios ipxe-qemu.
set -euo pipefail
verb=$1 work=$(realpath -m "$2")

case $verb in
    make)
        suite=${3:-bookworm}
        mirror=$({ cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
            grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1)
        rm -rf "$work.partial"
        mkdir -p "$work.partial"
        cd "$work.partial"
        # The packages come from where this machine's do. initramfs-tools is told what its image needs and no more.
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libnss-systemd,udev,kmod,procps,iproute2 \
            "$suite" rootfs "$mirror" >make.log 2>&1
        echo 'MODULES=list' >rootfs/modules.conf
        mkdir -p rootfs/etc/initramfs-tools/conf.d
        mv rootfs/modules.conf rootfs/etc/initramfs-tools/conf.d/modules
        printf 'virtio_pci\nvirtio_blk\next4\n' >rootfs/etc/initramfs-tools/modules
        cp -L /etc/resolv.conf /etc/hosts rootfs/etc/
        chroot rootfs sh -c 'export DEBIAN_FRONTEND=noninteractive
            apt-get update -qq
            apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold \
                openssh-server sudo python3 initramfs-tools zstd linux-image-amd64
            apt-get clean; rm -rf /var/lib/apt/lists/*
            useradd --create-home --shell /bin/bash pi
            echo "pi ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/pi
            systemctl enable systemd-networkd ssh
            systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer' >>make.log 2>&1
        ssh-keygen -q -t ed25519 -N '' -C edgeemo-vm-test -f key
        for home in root home/pi; do
            install -d -m 700 "rootfs/$home/.ssh"
            install -m 600 key.pub "rootfs/$home/.ssh/authorized_keys"
        done
        chroot rootfs chown -R pi:pi /home/pi
        echo edgepc >rootfs/etc/hostname
        printf '127.0.0.1 localhost edgepc\n' >rootfs/etc/hosts
        : >rootfs/etc/machine-id
        : >rootfs/etc/resolv.conf
        echo '/dev/vda / ext4 defaults,errors=remount-ro 0 1' >rootfs/etc/fstab
        printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\nIPv6AcceptRA=no\n' >rootfs/etc/systemd/network/20-wired.network
        # The journal survives a power cut as far as it was written; the camera is there at boot, as a plugged-in one.
        mkdir -p rootfs/var/log/journal
        echo vivid >rootfs/etc/modules-load.d/vivid.conf
        echo 'options vivid n_devs=1 node_types=0x1' >rootfs/etc/modprobe.d/vivid.conf
        cp rootfs/boot/initrd.img-*-amd64 initrd
        # An unpacked kernel boots faster under emulation.
        python3 -c 'import lzma, sys
packed = open(sys.argv[1], "rb").read()
open("vmlinux", "wb").write(lzma.LZMADecompressor().decompress(packed[packed.find(b"\xfd7zXZ\0"):]))' rootfs/boot/vmlinuz-*-amd64
        truncate -s 3G root.img
        mkfs.ext4 -q -F -d rootfs root.img
        rm -rf rootfs
        mv "$work.partial" "$work"
        ;;
    boot)
        disk=$(realpath -m "$3") port=$4
        [ -e "$disk" ] || qemu-img create -q -f qcow2 -F raw -b "$work/root.img" "$disk"
        exec qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=512 -cpu Nehalem,+aes,+pclmulqdq -smp 2 -m 1024 \
            -kernel "$work/vmlinux" -initrd "$work/initrd" \
            -append "console=ttyS0 root=/dev/vda rw panic=5 mitigations=off audit=0 nokaslr quiet" \
            -drive "file=$disk,format=qcow2,if=none,id=d0,cache=writeback" -device virtio-blk-pci,drive=d0 \
            -netdev "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=n0,romfile= \
            -device virtio-rng-pci -display none -vga none -monitor none -serial "file:$disk.console"
        ;;
    *)
        echo "vm.sh make|boot DIR ..." >&2
        exit 2
        ;;
esac
