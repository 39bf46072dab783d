#!/bin/sh
# The fault mix for as long as you like: tests/faults/run.sh --minutes 30 --seed 7 --store redis --chat slack
# Or kill -9 as often as you like, in the middle of work: tests/faults/run.sh --kills 1000 --store redis
# Prints the history file, the windows passed, the faults, the invariants checked, and the seed that
# repeats the schedule.
set -eu
cd "$(dirname "$0")/../.."
minutes=3 store=sqlite chat=web seed= kills=
while [ $# -gt 0 ]; do
    case "$1" in
        --minutes) minutes=$2 ;;
        --seed) seed=$2 ;;
        --store) store=$2 ;;
        --chat) chat=$2 ;;
        --kills) kills=$2 ;;
        # Only the faults whose name has this in it: Storm, Redis, Window.
        --only) export FAULTS_ONLY="$2" ;;
        *) echo "usage: $0 [--minutes N] [--seed S] [--store sqlite|redis] [--chat web|slack] [--only WORD]
       $0 --kills N [--seed S] [--store sqlite|redis]" >&2; exit 2 ;;
    esac
    shift 2
done
seed=${seed:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
if [ -n "$kills" ]; then
    export CRASH_KILLS="$kills" CRASH_SEED="$seed"
    exec cargo test --test crash "fifty_crashes_on_${store}_change_nothing_but_the_delay" -- --exact --nocapture
fi
export FAULTS_SECONDS=$((minutes * 60)) FAULTS_SEED="$seed" FAULTS_STORE="$store" FAULTS_CHAT="$chat"
export FAULTS_HISTORY="${FAULTS_HISTORY:-${TMPDIR:-/tmp}/faults-$chat-$store-$seed.jsonl}"
exec cargo test --features fault-injection --test faults "a_mix_of_faults_breaks_no_promise_on_$store" \
    -- --exact --nocapture
