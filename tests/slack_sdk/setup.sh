#!/bin/sh
# The vendor's own client, in a folder of the build: tests/slack_sdk.rs speaks to our fake Slack with it.
set -eu
venv="$(dirname "$0")/../../target/slack-sdk"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import slack_sdk' 2>/dev/null ||
    "$venv/bin/pip" install --quiet --disable-pip-version-check slack_sdk==3.39.0
