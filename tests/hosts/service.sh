#!/bin/bash
# edgeemo as a service of a real systemd: is it installed without a network, does it come back whatever happens?
#
#   service.sh BUILD PYTHON     root only; BUILD: a directory to keep things in; PYTHON: of a device's environment here
#
# Needs debootstrap and systemd-container. The Debian is made once and kept; the container is a copy of it, and is gone
# at the end, however that comes.
set -euo pipefail
build=$(realpath -m "$1") python=$(realpath -s "$2")
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
[ "$(id -u)" = 0 ] || { echo "service-test: needs root, for a container" >&2; exit 1; }
for tool in debootstrap systemd-nspawn; do
    command -v $tool >/dev/null || { echo "service-test: needs $tool: apt-get install debootstrap systemd-container" >&2; exit 1; }
done
cd "$top"
[ -d "$build/service-debian" ] || "$here/container.sh" make "$build/service-debian"

# What a run that was itself killed has left behind; its container died with it.
for left in "$build"/service-debian-[0-9]* /sys/fs/cgroup/*/edgeemo-[0-9]*; do
    number=${left##*-}
    [ ! -e "$left" ] || [ -d "/proc/${number%.console}" ] && continue
    case $left in
        /sys/*) find "$left" -depth -type d -exec rmdir {} + ;;
        *) rm -rf "${left:?}" ;;
    esac
done

# What a device without internet gets: wheels, the two assets, and the files of systemd/.
payload=$build/service-payload
rm -rf "$payload"
mkdir -p "$payload/wheels" "$payload/assets"
pip="$python -m pip --disable-pip-version-check --quiet"
$pip wheel --no-deps -w "$payload/wheels" . 2>/dev/null
$pip download -c constraints.txt --only-binary=:all: --python-version 3.11 -d "$payload/wheels" "$payload"/wheels/*.whl 2>/dev/null
"$python" -c "
import shutil, sys
from edge.assets import ASTRONAUT, FACE_LANDMARKER, asset_path
for asset in (ASTRONAUT, FACE_LANDMARKER):
    shutil.copy(asset_path(asset), sys.argv[1])" "$payload/assets"
cp -r systemd "$payload/systemd"

exec "$python" "$here/service_scenes.py" "$build/service-debian" "$payload"
