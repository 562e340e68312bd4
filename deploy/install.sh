#!/bin/sh
# Install edgeemo on this machine itself: deploy/install.sh [options of `edgeemo deploy push`]
exec "$(dirname "$0")/push.sh" @local "$@"
