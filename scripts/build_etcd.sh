#!/usr/bin/env bash
# Builds a current etcd (server, etcdctl, etcdutl) from its Go modules, as a peer to measure against.
#
#   scripts/build_etcd.sh            makes build/peers/etcd-<version>/{etcd,etcdctl,etcdutl} if they
#                                    are not there, and points build/peers/bin at that folder
#   ETCD_VERSION=v3.7.1              which release; the wire facts were taken from the default
#
# Exit 0: the binaries are there; their folder is the last line of standard output.
# Exit 3: this machine cannot build it; the reason is in build/peers/etcd-<version>/why-not, so that
# a report can say why this peer did not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${ETCD_VERSION:-v3.7.1}
target=$PWD/build/peers/etcd-${version#v}
programs=(etcd etcdctl etcdutl)
declare -A package=(
  [etcd]=go.etcd.io/etcd/server/v3
  [etcdctl]=go.etcd.io/etcd/etcdctl/v3
  [etcdutl]=go.etcd.io/etcd/etcdutl/v3
)

give_up() {
  mkdir -p "$target"
  printf '%s\n' "$1" >"$target/why-not"
  echo "build_etcd: $1" >&2
  exit 3
}

complete() {
  local program
  for program in "${programs[@]}"; do [[ -x $target/$program ]] || return 1; done
}

publish() {
  ln -sfn "$(basename "$target")" "$(dirname "$target")/bin"
  echo "$target"
}

if complete; then
  publish
  exit 0
fi
command -v go >/dev/null || give_up "Go is not installed, so etcd $version was not built (apt-get install golang, or go.dev)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# etcd's own go.mod files point at each other by relative path, which `go install name@version`
# refuses; a module of our own that requires all three has no such lines.
cat >"$work/go.mod" <<MOD
module peers
MOD
echo 'package peers' >"$work/peers.go"

echo "build_etcd: fetching the modules of etcd $version" >&2
cd "$work"
if ! go get "${package[etcd]}@$version" "${package[etcdctl]}@$version" "${package[etcdutl]}@$version" \
    >get.log 2>&1; then
  give_up "the Go modules of etcd $version could not be had: $(tail -n 1 get.log)"
fi
mkdir -p "$target"
for program in "${programs[@]}"; do
  echo "build_etcd: compiling $program" >&2
  if ! nice -n 10 go build -trimpath -ldflags '-s -w' -o "$work/out/$program" "${package[$program]}" \
      >build.log 2>&1; then
    give_up "etcd $version: $program did not compile: $(grep -v '^#' build.log | head -n 1)"
  fi
done
for program in "${programs[@]}"; do mv "$work/out/$program" "$target/$program"; done
rm -f "$target/why-not"
publish
