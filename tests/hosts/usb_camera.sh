#!/bin/bash
# USB cameras without any: Debian's kernel in an emulated PC whose disk is a folder of this machine (9p), and in it
# vhci_hcd and uvcvideo with usb_camera.py as the devices, which usb_scenes.py plugs in and out.
#
#   usb_camera.sh make DIR           kernel, modules and initrd; 30 s, 140 MB
#   usb_camera.sh test DIR ROOTFS    boots ROOTFS, which ribbon_camera.sh made, with this checkout; some minutes
#
# Real: the kernel's USB, UVC and V4L2, udev, OpenCV. Played: the devices, whose pictures go over bulk
# endpoints. Speed tells nothing: all is 10 to 20 times slower.
#
# Needs root and: qemu-system-x86 seabios xz-utils kmod, and apt to download a kernel.
set -euo pipefail
verb=$1 dir=$(realpath -m "$2")
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")

case $verb in
    make)
        rm -rf "$dir.partial"
        mkdir -p "$dir.partial/initrd"/{bin,mods,mnt,proc,dev}
        cd "$dir.partial"
        package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -1)
        apt-get -o APT::Sandbox::User=root download -qq "$package" busybox-static
        dpkg-deb -x linux-image-*.deb image
        dpkg-deb -x busybox-static*.deb busybox
        cp "$(find busybox -path '*bin/busybox' -type f)" initrd/bin/
        mv image/boot/vmlinuz-* kernel
        modules=$(find image -path '*/lib/modules/*' -maxdepth 4 -name '[0-9]*' | head -1)
        version=$(basename "$modules")
        for part in drivers/usb drivers/media fs/9p fs/netfs fs/fscache net/9p drivers/virtio; do
            [ ! -d "$modules/kernel/$part" ] || {
                mkdir -p "modules/$version/kernel/$(dirname $part)"
                cp -r "$modules/kernel/$part" "modules/$version/kernel/$part"
            }
        done
        cp "$modules"/modules.{builtin,order}* "modules/$version/"
        mkdir -p base/lib
        ln -s ../../modules base/lib/modules
        depmod -b base "$version"
        n=10
        for module in virtio_pci 9pnet_virtio 9p; do
            modprobe -d base -S "$version" --show-depends $module | awk '$1 == "insmod" { print $2 }'
        done | awk '!seen[$0]++' | while read -r file; do
            case $file in
                *.xz) xz -dc "$file" >"initrd/mods/$n-$(basename "${file%.xz}")" ;;
                *) cp "$file" initrd/mods/$n-"$(basename "$file")" ;;
            esac
            n=$((n + 1))
        done
        cat >initrd/init <<'EOT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /mods/*.ko; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose root /mnt
$b mount --move /dev /mnt/dev
exec $b switch_root /mnt /opt/usb/init
EOT
        chmod +x initrd/init
        (cd initrd && find . | bin/busybox cpio -o -H newc 2>/dev/null) >initrd.img
        rm -rf image busybox base initrd ./*.deb
        mv "$dir.partial" "$dir"
        ;;
    test)
        root=$(realpath "$3") version=$(basename "$dir"/modules/*)
        rm -rf "$root/opt/usb" "$root/opt/checkout"
        mkdir -p "$root/opt/usb" "$root/opt/checkout" "$root/usr/lib/modules"
        cp "$here"/usb_{camera,scenes}.py "$root/opt/usb/"
        git -C "$top" ls-files -z | tar -C "$top" --null -T - -c | tar -C "$root/opt/checkout" -x
        cp -r "$dir/modules/$version" "$root/usr/lib/modules/"
        depmod -b "$root" "$version"
        cat >"$root/opt/usb/init" <<'EOT'
#!/bin/bash
export PATH=/opt/edgeemo/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb PYTHONPATH=/opt/checkout
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
exec >/dev/ttyS0 2>&1
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger
modprobe vhci_hcd
modprobe uvcvideo
cd /tmp
python /opt/usb/usb_scenes.py && echo "usb: all as it should be"
sync
echo o >/proc/sysrq-trigger
sleep 60
EOT
        chmod +x "$root/opt/usb/init"
        console=$(mktemp)
        trap 'rm -f "$console"' EXIT
        timeout 3600 qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=512 -cpu Nehalem -smp 2 -m 1024 \
            -kernel "$dir/kernel" -initrd "$dir/initrd.img" \
            -append "console=ttyS0 panic=-1 mitigations=off audit=0 nokaslr quiet" \
            -fsdev "local,id=root,path=$root,security_model=none" -device virtio-9p-pci,fsdev=root,mount_tag=root \
            -nic none -device virtio-rng-pci -display none -vga none -monitor none -serial "file:$console" -no-reboot
        tr -d '\r' <"$console"
        grep -q "usb: all as it should be" "$console"
        ;;
    *)
        sed -n '5,6p' "$0" >&2
        exit 2
        ;;
esac
