#!/bin/sh
# Bring edgeemo to a device from a bare checkout: deploy/push.sh pi@pi-3.lab [options of `edgeemo deploy push`]
set -eu
cd "$(dirname "$0")/.."
environment=build/venv-deploy-tool
if ! "$environment/bin/python" -c 'import edge, pyinfra' 2>/dev/null; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt -e '.[deploy]'
fi
exec "$environment/bin/edgeemo" deploy push "$@"
