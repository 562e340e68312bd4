#!/bin/bash
# edgeemo as a service of a real systemd: is it installed without a network, does it come back whatever happens?
# And `edgeemo deploy` over a real sshd: whole or not at all, whatever is cut, and back by itself?
#
#   service.sh BUILD PYTHON     root only; BUILD: a directory to keep things in; PYTHON: of a device's environment here
#   service.sh BUILD            only make what is booted there, if it is not yet
#
# Needs debootstrap, systemd-container, iproute2, openssh-client and chromium. Nothing listens outside. The Debian is made once and kept; the container is a copy of it, and is gone
# at the end, however that comes.
set -euo pipefail
build=$(realpath -m "$1") python=${2:+$(realpath -s "$2")}
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
[ "$(id -u)" = 0 ] || { echo "service-test: needs root, for a container" >&2; exit 1; }
for tool in debootstrap systemd-nspawn ip ssh-keygen chromium; do
    command -v $tool >/dev/null || {
        echo "service-test: needs $tool: apt-get install debootstrap systemd-container iproute2 openssh-client chromium" >&2
        exit 1
    }
done
cd "$top"
[ -d "$build/service-debian/usr/lib/python3/dist-packages/numpy" ] || rm -rf "$build/service-debian" # made before it was needed
[ -d "$build/service-debian" ] || "$here/container.sh" make "$build/service-debian"
[ -d "$build/service-debian32" ] || "$here/container.sh" make32 "$build/service-debian32"
[ -n "$python" ] || exit 0

# What a run that was itself killed has left behind; its container died with it.
for left in "$build"/service-debian-[0-9]* /sys/fs/cgroup/*/edgeemo-[0-9]* /run/netns/edgeemo-*; do
    number=${left##*-}
    [ ! -e "$left" ] || [ -d "/proc/${number%.console}" ] && continue
    case $left in
        /run/*) ip netns del "${left##*/}" ;;
        /sys/*) find "$left" -depth -type d -exec rmdir {} + ;;
        *) rm -rf "${left:?}" ;;
    esac
done

# A workstation's edgeemo, from its wheel as a user installs it.
payload=$build/service-payload tool=$build/service-tool
rm -rf "$payload"
mkdir -p "$payload/wheels" "$payload/tool" "$payload/assets"
pip="-m pip --disable-pip-version-check --quiet"
"$python" $pip wheel --no-deps -w "$payload" . 2>/dev/null
wheel=$(echo "$payload"/edgeemo-*.whl)
if ! "$tool/bin/python" -c 'import pyinfra, edge, uvicorn' 2>/dev/null; then
    rm -rf "$tool"
    "$python" -m venv "$tool"
    "$tool/bin/python" $pip install -c constraints.txt "$wheel[deploy,view]" 2>/dev/null
fi
"$tool/bin/python" $pip install --no-deps --force-reinstall "$wheel" 2>/dev/null

# What a device without internet gets: wheels, as a push resolves them; the two assets; the files of systemd/. And the
# wheels of the workstation's own tool, for a device that is its own workstation.
(cd / && "$tool/bin/python" - "$payload" <<'PYTHON'
import pathlib, shutil, sys
from deploy.release.device_wheel import requirements
from deploy.release.systemd_files import packaged_file
from deploy.release.wheelhouse import Kind, wheelhouse
from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path

payload = pathlib.Path(sys.argv[1])
for folder, needs in (("wheels", []), ("tool", ["pyinfra>=3.2,<4", "pyyaml>=6"])):
    needs = [*requirements(), *needs]
    for wheel in wheelhouse(Kind("x86_64", "3.11", 36), needs, packaged_file("constraints.txt"), lambda line: None):
        shutil.copy(wheel, payload / folder)
for asset in (ASTRONAUT, FACE_LANDMARKER):
    shutil.copy(asset_path(asset), payload / "assets")
PYTHON
)
cp "$wheel" "$payload/wheels"
# What Raspberry Pi OS Bookworm has beside its NumPy 1.24: compiled for that, and no good with ours.
"$python" $pip download --no-deps --only-binary :all: --python-version 3.11 --platform manylinux2014_x86_64 \
    -d "$payload/system" simplejpeg==1.6.6 2>/dev/null
cp -r systemd "$payload/systemd"

"$python" "$here/service_scenes.py" "$build/service-debian" "$payload"
"$python" "$here/deploy_scenes.py" "$build/service-debian" "$payload" "$tool"
