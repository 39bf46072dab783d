#!/bin/sh
# Runs a command beside the emulator, in a network of their own: it listens on all interfaces. $SLACK_EMULATE is where.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
ip link set lo up
export SLACK_EMULATE=http://127.0.0.1:4003
node "$here/../../target/emulate/node_modules/emulate/dist/index.js" \
    start --service slack --port 4003 --seed "$here/seed.yaml" >/dev/null 2>&1 &
emulator=$!
trap 'kill $emulator' EXIT
"$@"
