#!/bin/bash
# A ribbon camera without a Pi: the real picamera2 on a real libcamera in a chroot, and a camera that is played below them
# (play_csi.cpp), on a kernel that has neither cameras nor /dev/dma_heap. No emulation: it runs at the machine's speed.
#
#   ribbon_camera.sh make ROOTFS       once: Debian trixie, libcamera from Debian's source, picamera2 from PyPI; 1.6 GB,
#                                      a quarter of an hour on two busy cores
#   ribbon_camera.sh test ROOTFS       installs this checkout into it, and runs the suite of tests/edge/sources/cameras/test_picamera.py
#   ribbon_camera.sh run ROOTFS CMD... runs something there; faults by files in ROOTFS/run/play-csi, see play_csi.cpp
#
# Real: picamera2, libcamera's core and its Python module (which holds the interpreter's lock), requests, buffers, EBUSY;
# and that the camera's process is the system's Python, with its NumPy, while edgeemo has its own in an environment that
# sees nothing of the system's. Played: the pipeline handler at the bottom, an imx219 as a Pi describes it, and the DMA
# heap (memfd). So it tells nothing of a Pi's image processor, its colours, its CMA memory or udev.
#
# Needs root and debootstrap.
set -euo pipefail
verb=$1 root=$(realpath -m "$2")
shift 2
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")

inside() {
    # A shell stays process 1 of the namespace: there, a fatal signal would be ignored and look like a hang.
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        root=$0
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t sysfs -o ro sysfs "$root/sys"
        exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/opt/edgeemo/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
            TERM=dumb DEBIAN_FRONTEND=noninteractive PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DEFAULT_TIMEOUT=180 \
            PIP_DISABLE_PIP_VERSION_CHECK=1 /bin/sh -c "\"\$@\"; exit \$?" sh "$@"' "$root" "$@"
}

# Where libcamera and the played camera are: edgeemo hands its environment on to the camera's process.
with_camera() {
    inside env LD_LIBRARY_PATH=/opt/libcamera/lib/x86_64-linux-gnu LD_PRELOAD=/opt/libcamera/play_csi.so \
        PLAY_CSI=/run/play-csi "$@"
}

# The camera that is played, and picamera2 for the system's Python, where apt's packages are on a Pi.
play() {
    cp "$here/play_csi.cpp" "$root/opt/src/"
    inside sh -ec 'cd /opt/src/libcamera
        g++ -std=c++20 -O1 -fPIC -shared -Wall -DLIBCAMERA_BASE_PRIVATE -Iinclude -I../build-include \
            -o /opt/libcamera/play_csi.so ../play_csi.cpp -L/opt/libcamera/lib/x86_64-linux-gnu -lcamera -lcamera-base -ldl
        pip --python /usr/bin/python3 install -q --break-system-packages picamera2
        packages=$(echo /usr/local/lib/python3.*/dist-packages)
        echo /opt/libcamera/lib/python3/dist-packages >"$packages/libcamera.pth"
        # picamera2 imports kms++ for a preview on a screen.
        printf "class _Any(type):\n    def __getattr__(cls, name):\n        return name\n\n\nclass PixelFormat(metaclass=_Any):\n    pass\n" \
            >"$packages/pykms.py"'
}

case $verb in
    make)
        mirror=$({ cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null || true; } |
            grep -E '^(deb |URIs:)' | grep -v security | grep -oE 'https?://[^ ]+' | head -1)
        tools=ca-certificates,gcc,g++,libc6-dev,meson,ninja-build,pkg-config,dpkg-dev,xz-utils
        python=python3,python3-venv,python3-dev,python3-numpy,python3-yaml,python3-ply,python3-jinja2,pybind11-dev
        libraries=kmod,udev,libyaml-dev,libudev-dev,libgnutls28-dev,openssl,libcap-dev,libarchive13t64
        rm -rf "$root.partial"
        mkdir -p "$(dirname "$root")"
        debootstrap --variant=minbase --include=$tools,$python,$libraries trixie "$root.partial" "$mirror" >"$root.log" 2>&1
        target=$root root=$root.partial
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
        cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
        mkdir -p "$root/opt/src" "$root/run/play-csi"
        # Trixie's own libcamera (0.4) has a camera for tests, but that gives NV12 only and has no raw modes: picamera2
        # cannot open it. Sid's source is nearer to what Raspberry Pi OS ships.
        echo "deb-src $mirror sid main" >"$root/etc/apt/sources.list.d/source.list"
        inside sh -ec 'cd /opt/src; apt-get -qq -o Acquire::Check-Valid-Until=false update
            apt-get -qq -o APT::Sandbox::User=root source --download-only libcamera; rm /etc/apt/sources.list.d/source.list
            tar -xf libcamera_*.orig.tar.*; mv libcamera-*/ libcamera; cd libcamera
            meson setup build --prefix=/opt/libcamera --libdir=lib/x86_64-linux-gnu --buildtype=plain -Doptimization=0 \
                -Ddebug=false -Dwrap_mode=nofallback -Dpipelines=uvcvideo -Dipas= -Dpycamera=enabled -Dcam=disabled \
                -Dgstreamer=disabled -Ddocumentation=disabled -Dqcam=disabled -Dlc-compliance=disabled -Dv4l2=disabled \
                -Dtracing=disabled -Dlibunwind=disabled -Dlibdw=disabled
            nice -n 10 ninja -C build install
            mv build/include ../build-include; rm -r build
            python3 -m venv /opt/edgeemo' >>"$root.log" 2>&1
        play >>"$root.log" 2>&1
        mv "$root" "$target"
        ;;
    test)
        play
        rm -rf "$root/opt/checkout"
        mkdir "$root/opt/checkout"
        git -C "$top" ls-files -z | tar -C "$top" --null -T - -c | tar -C "$root/opt/checkout" -x
        inside sh -ec 'cd /opt/checkout; pip install -q -c constraints.txt . pytest hypothesis jsonschema'
        rm -f "$root"/run/play-csi/*
        with_camera sh -c 'cd /opt/checkout && exec python -m pytest -p no:cacheprovider "$@"' sh \
            tests/edge/sources/cameras/test_picamera.py "$@"
        ;;
    run) with_camera "$@" ;;
    *)
        sed -n '2,9p' "$0" >&2
        exit 2
        ;;
esac
