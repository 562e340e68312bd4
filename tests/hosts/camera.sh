#!/bin/bash
# `edgeemo run` on a real /dev/video0: an emulated PC with its own kernel and the vivid camera driver.
#
#   camera.sh BUILD     root only; needs debootstrap, qemu-system-x86, seabios, ipxe-qemu and test-bare's root
#
# A run over 20 frames of camera 0, an unplug in mid-run, and a camera that is not there.
set -euo pipefail
build=$(realpath -m "$1") here=$(dirname "$(realpath "$0")")
bare=$build/bare-bookworm root=$build/camera
[ -x "$bare/opt/edgeemo/.venv/bin/edgeemo" ] || "$here/bare_demo.sh" "$build"
if [ ! -e "$root/ready" ]; then
    rm -rf "$root"
    cp -a "$bare" "$root"
    chroot "$root" sh -c 'export DEBIAN_FRONTEND=noninteractive; apt-get update -qq
        apt-get install -y -qq --no-install-recommends initramfs-tools linux-image-amd64 kmod zstd' >"$root.log" 2>&1
    touch "$root/ready"
fi
git -C "$here/../.." archive HEAD | tar -x -C "$root/opt/edgeemo"
cat >"$root/opt/scenes.sh" <<'SCENES'
#!/bin/sh
export PATH=/opt/edgeemo/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
modprobe vivid n_devs=1 node_types=0x1
sleep 2
cd /tmp
edgeemo run --source 0 --max-frames 20 --log-dir /tmp/seen
echo "SCENE frames: exit $?, $(tail -n 1 /tmp/seen/edgeemo.jsonl)"
(
    while ! grep -q service_started /tmp/unplugged/edgeemo.jsonl 2>/dev/null; do sleep 1; done
    sleep 8
    echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
) &
edgeemo run --source /dev/video0 --log-dir /tmp/unplugged
echo "SCENE unplugged: exit $?, $(grep camera_lost /tmp/unplugged/edgeemo.jsonl)"
edgeemo run --source 0 --log-dir /tmp/absent
echo "SCENE absent: exit $?"
sync
echo o >/proc/sysrq-trigger
sleep 5
SCENES
chmod +x "$root/opt/scenes.sh"
rm -f "$build/camera.img"
truncate -s 3G "$build/camera.img"
mkfs.ext4 -q -F -d "$root" "$build/camera.img"
timeout 400 qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=512 -cpu Nehalem -smp 2 -m 1024 \
    -kernel "$root"/boot/vmlinuz-*-amd64 -initrd "$root"/boot/initrd.img-*-amd64 \
    -append "console=ttyS0 root=/dev/vda rw init=/opt/scenes.sh panic=5 mitigations=off audit=0 nokaslr quiet" \
    -drive "file=$build/camera.img,format=raw,if=none,id=d0,cache=writeback" -device virtio-blk-pci,drive=d0 \
    -device virtio-rng-pci -nic none -display none -vga none -monitor none -no-reboot \
    -serial "file:$build/camera.console" </dev/null
scenes=$(grep -a SCENE "$build/camera.console" | tr -d '\r')
echo "$scenes"
grep -q 'frames: exit 0, .*"reason":"frame limit","frames":20' <<<"$scenes"
grep -q 'unplugged: exit 1, .*"kind":"camera_lost"' <<<"$scenes"
grep -q 'absent: exit 1' <<<"$scenes"
echo "camera: all scenes as they should be"
