#!/bin/bash
# edgeemo on a whole emulated PC with a camera: pushed, unplugged, rebooted, its power cut. 15 minutes on two idle cores.
#
#   vm_test.sh BUILD PYTHON [SEED [SCENE...]]     root only; BUILD: a directory to keep things in; PYTHON: has
#                                                 edgeemo[deploy]; SEED, SCENE: see vm_scenes.py
#
# The PC's disk is made once and kept; every run works on a copy, which is gone at the end, however that comes.
set -euo pipefail
build=$(realpath -m "$1") python=$(realpath -s "$2")
here=$(dirname "$(realpath "$0")")
[ "$(id -u)" = 0 ] || { echo "vm-test: needs root, to make a Debian" >&2; exit 1; }
for tool in debootstrap mkfs.ext4 ssh qemu-img qemu-system-x86_64; do
    command -v $tool >/dev/null || {
        echo "vm-test: needs $tool: apt-get install debootstrap e2fsprogs openssh-client qemu-system-x86 qemu-utils seabios ipxe-qemu" >&2
        exit 1
    }
done
[ -d "$build/vm" ] || "$here/vm.sh" make "$build/vm"
rm -rf "$build"/edgepc-* # of a run that was itself killed; its PC died with it
exec "$python" "$here/vm_scenes.py" "$build/vm" "${@:3}"
