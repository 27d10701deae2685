#!/usr/bin/env bash
# Builds the suite's images and writes their bills of materials and licences.
#
#   docker/build.sh [worker] [load] [full] [serving]      the first three without a name
#
# `serving` is `full` with the embedded server as its command, in the place of TensorFlow Serving's image.
#
#   IMAGE         name of the images (default: bertbench); the tags are worker, load, full and serving
#   PYTHON_IMAGE  the base image (default: that of docker/Dockerfile)
#   WHEELHOUSE    folder of wheels to install from, without a network:
#                 pip download -c constraints.txt -d FOLDER '.[model,score,frame]' cyclonedx-bom pip-licenses setuptools
#   PIP_ARGS      more options of pip, such as --index-url; they stay out of the images and of their history
#   DOCUMENTS     folder for IMAGE-TAG.cdx.json and IMAGE-TAG.licences.json (default: build/images)
set -euo pipefail
# It would let cd print, and go elsewhere.
unset CDPATH
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
image=${IMAGE:-bertbench}
documents=${DOCUMENTS:-$root/build/images}
parts=(bench scenarios requirements docker/Dockerfile docker/requirements.py docker/healthcheck.sh
  constraints.txt pyproject.toml README.md LICENSE)

fail() {
  echo "build.sh: $1" >&2
  exit "$2"
}

[ $# -gt 0 ] || set -- worker load full
for install in "$@"; do
  case $install in
    worker | load | full | serving) ;;
    *) fail "there is no image $install; give worker, load, full or serving" 2 ;;
  esac
done

arguments=()
pip_args=${PIP_ARGS:-}
if [ -n "${WHEELHOUSE:-}" ]; then
  [ -d "$WHEELHOUSE" ] || fail "WHEELHOUSE $WHEELHOUSE is not a folder; give a folder of wheels" 2
  # Whole: tar takes it from the folder of the parts.
  WHEELHOUSE=$(cd -- "$WHEELHOUSE" && pwd)
  pip_args="--no-index --find-links /wheels $pip_args"
fi
[ -z "$pip_args" ] || arguments+=(--build-arg "PIP_ARGS=$pip_args")
[ -z "${PYTHON_IMAGE:-}" ] || arguments+=(--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE")

command -v docker >/dev/null || fail "docker is not installed; install the Docker Engine" 4
docker version >/dev/null 2>&1 || fail "no Docker Engine answers; start it, let this user use it, or set DOCKER_HOST" 4

# The build context, as a tar: the parts that .dockerignore names, and the wheels as ./wheels.
context() {
  local wheels=()
  [ -z "${WHEELHOUSE:-}" ] || wheels=(-C "$WHEELHOUSE" .)
  tar --create --exclude=__pycache__ --sort=name --owner=0 --group=0 --numeric-owner --transform 's,^\.\(/\|$\),wheels/,S' \
    -C "$root" "${parts[@]}" "${wheels[@]}"
}

mkdir -p -- "$documents" || fail "the folder $documents cannot be made; name another with DOCUMENTS" 2
# Whole: docker cp takes what is in front of a colon for a container, unless the path begins with a slash.
documents=$(cd -- "$documents" && pwd)
container=""
remove() {
  [ -z "$container" ] || docker rm "$container" >/dev/null
  container=""
}
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
for install in "$@"; do
  echo "building $image:$install"
  if [ "$install" = serving ]; then
    docker image inspect "$image:full" >/dev/null 2>&1 || fail "$image:serving needs $image:full; give full serving" 2
    docker build --quiet --build-arg "FULL_IMAGE=$image:full" --tag "$image:serving" - <"$root/docker/Dockerfile.serving" \
      >/dev/null || fail "the image serving cannot be built; see above" 4
    continue
  fi
  context | docker build --quiet --file docker/Dockerfile --build-arg "INSTALL=$install" "${arguments[@]}" \
    --tag "$image:$install" - >/dev/null || fail "the image $install cannot be built; see above" 4
  container=$(docker create "$image:$install")
  name=$documents/${image//[\/:]/-}-$install
  for document in sbom.cdx.json:cdx.json licences.json:licences.json; do
    docker cp --quiet "$container:/usr/share/doc/bertbench/${document%:*}" "$name.${document#*:}" ||
      fail "the documents of $image:$install cannot be written to $documents; see above" 4
  done
  remove
  size=$(docker image inspect --format '{{.Size}}' "$image:$install")
  echo "  $((size / 1000000)) MB; $name.cdx.json, $name.licences.json"
done
