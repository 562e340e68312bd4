#!/bin/sh
# mediapipe's library links EGL and GLES, which a bare Debian or Raspberry Pi OS Lite lacks.
# Installs them where that is possible without asking, else says what to do.
set -u
missing=
for library in libEGL.so.1 libGLESv2.so.2; do
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -q "$library" || missing="$missing $library"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing libegl1 and libgles2 (mediapipe needs$missing)" >&2
    apt-get update -qq && apt-get install -qq -y --no-install-recommends libegl1 libgles2 >/dev/null
else
    echo "mediapipe needs$missing: sudo apt-get install libegl1 libgles2" >&2
    exit 1
fi
