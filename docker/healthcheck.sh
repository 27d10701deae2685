#!/bin/sh
# The images' health check. A Locust master is healthy while it listens for workers, a worker while it is connected to
# its master, any other command while it runs. It reads the kernel's table of connections: starting Python every ten
# seconds would take CPU time from the load generator.
#
#   healthcheck [PROC]      PROC is read in the place of /proc
proc=${1:-/proc}
listens=${LOCUST_MASTER_BIND_PORT:-5557}
connects=${LOCUST_MASTER_NODE_PORT:-5557}
role=""
before=""
# Of the command line, which wins over the variables; as words, none of which is a pattern.
set -f
for word in $(tr '\0' ' ' <"$proc/1/cmdline"); do
  case "$before $word" in
    *" --master-bind-port="*) listens=${word#*=} ;;
    "--master-bind-port "*) listens=$word ;;
    *" --master-port="*) connects=${word#*=} ;;
    "--master-port "*) connects=$word ;;
    *" --worker") role=worker ;;
    *" --master") role=master ;;
  esac
  before=$word
done
case $role in
  worker) pattern=":[0-9A-F]{4} [0-9A-F]+:$(printf '%04X' "$connects") 01 " ;;
  master) pattern=":$(printf '%04X' "$listens") [0-9A-F]+:0000 0A " ;;
  *) exit 0 ;;
esac
cat "$proc/net/tcp" "$proc/net/tcp6" 2>/dev/null | grep -Eq "$pattern"
