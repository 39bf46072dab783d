#!/usr/bin/env bash
# Proves the whole product on a bare Debian 12 with Rust and root: installs what is missing, then format,
# lints, all tests. Nothing is skipped: a test whose server is missing fails. No service is started; the
# tests run their own servers on loopback, on free ports, in temporary folders.
set -euo pipefail
cd "$(dirname "$0")/.."

# command -> Debian package
declare -A needs=(
  [redis-server]=redis-server
  [prometheus-alertmanager]=prometheus-alertmanager
  [chromium]=chromium
  [chromedriver]=chromium-driver
  [oathtool]=oathtool
  [openssl]=openssl
  [kill]=procps
  [cc]="gcc libc6-dev"
  [systemd-analyze]=systemd
  [faketime]="faketime libfaketime"
  [prlimit]=util-linux
  [mount]=mount
  # The vendors' own clients, from PyPI, against our fakes of their services.
  [python3]="python3 python3-venv python3-pip"
  # A Slack that nobody here wrote, from npm, in a network namespace of its own.
  [node]=nodejs
  [npm]=npm
  [unshare]=util-linux
  [ip]=iproute2
)
missing=()
for command in "${!needs[@]}"; do
  if ! type -P "$command" >/dev/null; then missing+=(${needs[$command]}); fi
done
if type -P python3 >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  missing+=(python3-venv python3-pip)
fi
if ((${#missing[@]})); then
  echo "installing: ${missing[*]}" >&2
  if ((EUID != 0)); then
    echo "tests/run.sh: needs root to install ${missing[*]}: run it as root, or apt-get install them first" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  # Packages must not start their services: the tests run their own.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

cargo fmt --check
cargo clippy --all-targets -- -D warnings
cargo test --doc --quiet
# The same tests either way; nextest only runs them side by side.
if command -v cargo-nextest >/dev/null; then
  cargo nextest run --no-fail-fast
else
  cargo test --no-fail-fast --lib --bins --tests
fi

# The fault mix, for three minutes on each store and through Slack side by side, under a seed drawn anew: a
# failure names it, and `tests/faults/run.sh --seed` repeats it. It needs a build that can be told to fail.
FAULTS_SECONDS=180 FAULTS_SEED=${FAULTS_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} \
  cargo test --features fault-injection --test faults a_mix_of_faults -- --nocapture --test-threads 3
