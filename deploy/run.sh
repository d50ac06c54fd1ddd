#!/bin/sh
# Runs the agent in the foreground, for a supervisor, with the program, configuration and plugins beside this script. The
# shell is replaced, so that signals reach the agent.
set -eu
cd "$(dirname "$0")"
if [ ! -x ./gauged ]; then
  echo "run.sh: there is no program gauged in $(pwd); copy it there from target/release" >&2
  exit 2
fi
exec ./gauged --config gauged.toml "$@"
