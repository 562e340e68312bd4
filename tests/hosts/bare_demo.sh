#!/bin/bash
# `make demo` on a bare Debian: python3, python3-venv, pip and make; no GL, no X, no compiler.
#
#   bare_demo.sh BUILD [SUITE]     root only, needs debootstrap; the root is made anew every time
set -euo pipefail
build=$(realpath -m "$1") suite=${2:-bookworm}
root=$build/bare-$suite
top=$(dirname "$(realpath "$0")")/../..
mirror=$({ cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
    grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1)
rm -rf "$root" && mkdir -p "$build"
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,make,ca-certificates \
    "$suite" "$root" "$mirror" >"$root.log" 2>&1
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
mkdir "$root/opt/edgeemo"
git -C "$top" archive HEAD | tar -x -C "$root/opt/edgeemo"
if find "$root" -name 'libGL*' -o -name 'libEGL*' -o -name 'libX11*' -o -name 'libxcb*' | grep -q .; then
    echo "this root is not bare" >&2
    exit 1
fi
unshare --mount --pid --fork --kill-child --propagation private bash -c '
    root=$0
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        LANG=C.UTF-8 PIP_DEFAULT_TIMEOUT=180 PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        chroot "$root" make -C /opt/edgeemo demo
' "$root"
echo "bare $suite: the demo runs; $(du -sm "$root/opt/edgeemo/.venv" | cut -f1) MB in its environment"
