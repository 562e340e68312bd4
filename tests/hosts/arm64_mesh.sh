#!/bin/bash
# edgeemo from its wheel in an emulated arm64 Debian: does it run on every Pi, and see the same mesh?
#
#   arm64_mesh.sh BUILD PYTHON     BUILD: a directory to keep things in; PYTHON: of a device's environment here
#
# For bookworm (Python 3.11) and trixie (3.13) with LiteRT, and bookworm with tflite-runtime and numpy 1:
# `edgeemo run --source demo --max-frames 5` under cortex-a53, a72 and a76, and the points compared with
# those of this machine. Root only; the roots are made once and kept.
set -euo pipefail
here=$(dirname "$(realpath "$0")") build=$(realpath -m "$1") python=$(realpath -s "$2")
top=$(realpath "$here/../..")
limit_px=0.1
mkdir -p "$build"
cd "$top"

rm -rf "$build/dist" && "$python" -m pip --disable-pip-version-check -q wheel --no-deps -w "$build/dist" .
"$python" "$here/mesh_dump.py" "$build/here.npz"

inside() { # ROOTFS CMD...: the slow emulation gets ten minutes a command
    timeout 600 "$here/arm64.sh" run "$@"
}

check() { # ROOTFS VENV RUNTIME...
    local root=$1 venv=$2
    shift 2
    cp "$build"/dist/edgeemo-*.whl constraints.txt "$here/mesh_dump.py" "$root/opt/"
    mkdir -p "$root/opt/assets"
    "$python" -c "
import shutil, sys
from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
for asset in (ASTRONAUT, FACE_LANDMARKER):
    shutil.copy(asset_path(asset), sys.argv[1])" "$root/opt/assets"
    if [ ! -e "$root/opt/$venv/ready" ]; then
        rm -rf "${root:?}/opt/$venv"
        inside "$root" python3 -m venv "/opt/$venv"
        inside "$root" "/opt/$venv/bin/pip" -q --disable-pip-version-check install --only-binary=:all: "$@"
        touch "$root/opt/$venv/ready"
    fi
    inside "$root" sh -c "/opt/$venv/bin/pip -q --disable-pip-version-check install --no-deps --force-reinstall /opt/edgeemo-*.whl"
    for cpu in cortex-a53 cortex-a72 cortex-a76; do
        echo "== $(basename "$root") $venv $cpu"
        QEMU_CPU=$cpu inside "$root" "/opt/$venv/bin/edgeemo" run --source demo --max-frames 5 \
            --emit frame --log-dir "/opt/log-$venv-$cpu"
        QEMU_CPU=$cpu inside "$root" "/opt/$venv/bin/python" /opt/mesh_dump.py "/opt/$cpu.npz"
        "$python" "$here/mesh_dump.py" --compare "$build/here.npz" "$root/opt/$cpu.npz" "$limit_px"
    done
}

for suite in bookworm trixie; do
    [ -d "$build/arm64-$suite" ] || "$here/arm64.sh" make "$build/arm64-$suite" "$suite"
    check "$build/arm64-$suite" venv-litert -c /opt/constraints.txt \
        numpy opencv-python-headless ai-edge-litert msgspec typer rich
done
check "$build/arm64-bookworm" venv-tflite-runtime \
    'numpy<2' opencv-python-headless==4.11.0.86 tflite-runtime==2.14.0 msgspec typer==0.28.0 rich
echo "arm64: all the same within $limit_px px"
