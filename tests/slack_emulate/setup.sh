#!/bin/sh
# A Slack that nobody here wrote, in a folder of the build: tests/slack/emulate.rs speaks to it.
set -eu
folder="$(dirname "$0")/../../target/emulate"
mkdir -p "$folder"
[ -d "$folder/node_modules/emulate" ] ||
    npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" emulate@0.11.2
