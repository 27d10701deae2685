#!/usr/bin/env bash
# TensorFlow Serving, a Locust master and workers in containers on a model folder; the runs stay on this machine.
#
#   docker/load-test.sh MODEL_DIR [SCENARIO...]      scenarios: rest and grpc without a name
#
#   WORKERS=3 RUN_TIME=60s docker/load-test.sh my-model rest single-stream
#
#   DEVICE       cpu or gpu (default: cpu)
#   RESULTS_DIR  folder of the runs (default: results); they belong to the caller, or as root to the folder's owner
#   MORE_COMPOSE one more Compose file, which changes or adds services
#   LOAD_PROJECT name of the Compose project (default: one that nobody has); COMPOSE_PROJECT_NAME is not read
#   LOAD_IMAGE, WORKER_IMAGE  other images than IMAGE:load and IMAGE:worker; they are pulled if they are missing, those
#                             of IMAGE are built
# and the variables of docker/compose.cpu.yml and of docker/build.sh.
#
# Exit code: that of the first run that does not end with 0; 2 usage, 4 Serving or a container failed, 130 after Ctrl-C.
# Containers and network are removed at the end, whatever it is.
set -euo pipefail
# It would let cd print, and go elsewhere.
unset CDPATH
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  echo "load-test.sh: $1" >&2
  exit "$2"
}

[ -n "${1:-}" ] || fail "give the model folder: docker/load-test.sh MODEL_DIR [SCENARIO...]" 2
model=$1
shift
[ $# -gt 0 ] || set -- rest grpc
[ -d "$model" ] || fail "the model folder $model does not exist; export one with bertbench export --checkpoint CHECKPOINT --out $model" 2
ls -- "$model" | grep -Eq '^[0-9]+$' || fail "$model has no version folder, such as $model/1; give an exported model" 2
# The file of a scenario, by its name (grpc, single-stream) or by the file's own.
scenario_file() {
  local file
  for file in "$1" "${1//-/_}" "${1}_api"; do
    if [ -f "$here/../scenarios/$file.py" ]; then
      echo "$file"
      return
    fi
  done
  return 1
}
scenarios=()
for scenario in "$@"; do
  file=$(scenario_file "$scenario") || fail "there is no scenario $scenario; give one of $(
    cd "$here/../scenarios" && ls -- *.py | sed 's/\.py$//; s/_api$//; s/_/-/g' | paste -sd ' '
  )" 2
  scenarios+=("$file")
done
device=${DEVICE:-cpu}
case $device in cpu | gpu) ;; *) fail "DEVICE is cpu or gpu, not $device" 2 ;; esac
command -v docker >/dev/null || fail "docker is not installed; install the Docker Engine" 4
docker version >/dev/null 2>&1 || fail "no Docker Engine answers; start it, let this user use it, or set DOCKER_HOST" 4
docker compose version >/dev/null 2>&1 || fail "docker compose is missing; install the Compose plugin, version 2" 4

results=${RESULTS_DIR:-results}
made=""
[ -d "$results" ] || made=yes
mkdir -p -- "$results" || fail "the folder $results cannot be made; name another with RESULTS_DIR" 2
MODEL_DIR=$(cd -- "$model" && pwd)
RESULTS_DIR=$(cd -- "$results" && pwd)

# Who writes the runs. Without capabilities root writes into no folder of others: the folder's owner does, who is the
# caller of sudo if it was made here. To an Engine without root, the caller is root.
RUN_AS=$(id -u):$(id -g)
if [ "$(id -u)" -eq 0 ]; then
  [ -z "$made" ] || [ -z "${SUDO_UID:-}" ] || chown -- "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$RESULTS_DIR"
  RUN_AS=$(stat --format %u:%g -- "$RESULTS_DIR")
fi
case $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) in *name=rootless*) RUN_AS=0:0 ;; esac
export MODEL_DIR RESULTS_DIR RUN_AS

# Serving's container reads it, maybe as another user: a checkout under a umask of 077 has files for its owner only.
chmod -R a+rX "$here/serving" 2>/dev/null || true

own=${LOAD_PROJECT:-bertbench-$$-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')}
export COMPOSE_PROJECT_NAME=$own
[ -z "$(docker ps --all --quiet --filter "label=com.docker.compose.project=$own")" ] ||
  fail "the Compose project $own has containers, which would be removed; name another with LOAD_PROJECT" 2

files=(--file "$here/compose.$device.yml")
[ -z "${MORE_COMPOSE:-}" ] || files+=(--file "$MORE_COMPOSE")
sampled=()
signal=""
since=""
compose() {
  docker compose "${files[@]}" ${sampled[@]+"${sampled[@]}"} --profile load --ansi never --progress quiet "$@"
}

# Lets the master sample Serving's CPU and memory, where its control groups are on this machine: an Engine elsewhere has
# processes of its own, in groups that do not have the container's id.
options=${LOAD_OPTIONS:-}
sample_serving() {
  local container pid v1 v2
  sampled=() LOAD_OPTIONS=$options
  container=$(compose ps --quiet serving) || gone
  pid=$(docker inspect --format '{{.State.Pid}}' "$container" 2>/dev/null) || return 0
  v1=$(sed -En "s/^[0-9]+:([a-z_]+,)*cpuacct(,[a-z_]+)*:(.*$container.*)$/\3/p" "/proc/$pid/cgroup" 2>/dev/null) || return 0
  v2=$(sed -En "s/^0::(.*$container.*)$/\1/p" "/proc/$pid/cgroup" 2>/dev/null) || return 0
  SERVING_CPU_CGROUP=/sys/fs/cgroup${v1:+/cpuacct}${v1:-$v2}
  SERVING_MEMORY_CGROUP=/sys/fs/cgroup${v1:+/memory}${v1:-$v2}
  [ -n "$v1$v2" ] && [ -d "$SERVING_CPU_CGROUP" ] && [ -d "$SERVING_MEMORY_CGROUP" ] || return 0
  sampled=(--file "$here/compose.cgroup.yml")
  LOAD_OPTIONS="$options --server-cgroup /host/cpuacct"
}
export LOAD_OPTIONS SERVING_CPU_CGROUP SERVING_MEMORY_CGROUP

stop() {
  # The first signal ends the run, which is then stored; the next one everything.
  [ -z "$signal" ] || exit "$signal"
  signal=$1
  since=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
  compose kill --signal SIGINT master >/dev/null 2>&1 || true
}
# For a command that failed: one that a signal ended has not failed by itself.
failed() {
  [ -z "$signal" ] || exit "$signal"
  fail "$1" 4
}
gone() {
  failed "the Docker Engine or the container does not answer any more; start the Engine and run again, what $RESULTS_DIR has of this run may be unfinished"
}

# An image of build.sh's, under its name, is built; any other is pulled.
require_image() {
  ! docker image inspect "$1" >/dev/null 2>&1 || return 0
  if [ "$1" = "$built:$2" ]; then
    "$here/build.sh" "$2"
  else
    docker pull --quiet "$1" >/dev/null || failed "the image $1 is not here and cannot be pulled; see above"
  fi
}

# A command that Ctrl-C ends too may end the script with a code of its own.
trap 'exit "${signal:-$?}"' EXIT
remove() {
  local ended=$?
  trap '' INT TERM HUP
  compose down --volumes --timeout 3 >/dev/null 2>&1 ||
    echo "load-test.sh: containers are left; docker compose -p $COMPOSE_PROJECT_NAME down removes them" >&2
  exit "${signal:-$ended}"
}
trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP

built=${IMAGE:-bertbench}
export LOAD_IMAGE=${LOAD_IMAGE:-$built:load} WORKER_IMAGE=${WORKER_IMAGE:-$built:worker}
require_image "$LOAD_IMAGE" load
require_image "$WORKER_IMAGE" worker
[ -z "$signal" ] || exit "$signal"

trap remove EXIT
compose up --detach --wait serving >/dev/null || {
  [ -n "$signal" ] || compose logs --no-log-prefix --tail 5 serving >&2 || true
  failed "Serving did not start on $MODEL_DIR; its last output is above"
}
code=0
for scenario in "${scenarios[@]}"; do
  [ -z "$signal" ] || break
  echo "$scenario on $device, ${WORKERS:-2} workers, ${RUN_TIME:-60s}"
  export SCENARIO=$scenario
  case ${TARGET:-} in "" | *://serving:*) sample_serving ;; esac
  compose up --detach --no-deps --force-recreate master worker >/dev/null || failed "master and workers did not start"
  # Nothing was measured yet, and the master may not have been there to be told.
  [ -z "$signal" ] || break
  master=$(compose ps --all --quiet master) || gone
  docker logs --follow "$master" &
  logs=$!
  while kill -0 "$logs" 2>/dev/null; do wait "$logs" || true; done
  # Ctrl-C ends the command above too, and not the run, which is stored first.
  while [ "$(docker inspect --format '{{.State.Running}}' "$master")" = true ]; do sleep 0.2 || true; done
  [ -z "$since" ] || docker logs --since "$since" "$master" || gone
  ended=$(docker inspect --format '{{.State.ExitCode}}' "$master") || gone
  if [ "$ended" -eq 137 ]; then
    echo "load-test.sh: the master was killed; its run in $RESULTS_DIR is unfinished" >&2
    ended=4
  fi
  [ "$code" -ne 0 ] || code=$ended
done
[ -n "$signal" ] && [ -z "${master:-}" ] || echo "the runs are in $RESULTS_DIR"
exit "${signal:-$code}"
