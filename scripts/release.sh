#!/usr/bin/env bash
# The release: one static binary that needs nothing but a Linux kernel, in TARGET-FOLDER/dist with its SHA-256.
#
#   scripts/release.sh                               builds, checks that it is static, and predicts with it
#   TARGET=aarch64-unknown-linux-musl scripts/release.sh    another musl target of this very machine
#
# Needed: the target's standard library (rustup target add x86_64-unknown-linux-musl) and a C compiler for musl
# (Debian, Ubuntu: apt-get install musl-tools; Alpine: the compiler that is there).
set -euo pipefail
cd "$(dirname "$0")/.."

target=${TARGET:-$(uname -m)-unknown-linux-musl}
folder=${CARGO_TARGET_DIR:-target}
version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)

fail() { echo "release: $*" >&2 && exit 1; }

[ -d "$(rustc --print target-libdir --target "$target")" ] || fail "no standard library for $target: rustup target add $target"
variable=CC_${target//-/_}
if [ -z "${!variable:-}" ]; then
    command -v musl-gcc >/dev/null || fail "no C compiler for musl: apt-get install musl-tools, or set $variable"
    export "$variable=musl-gcc"
fi

cargo build --release --locked --package ariann-cli --target "$target"

mkdir -p "$folder/dist"
name=ariann-$version-$target
binary=$(cd "$folder/dist" && pwd)/$name
strip --strip-debug -o "$binary" "$folder/$target/release/ariann"

# Two witnesses, because each of the two words it in several ways.
kind=$(file --brief "$binary")
grep -Eq 'statically linked|static-pie linked' <<<"$kind" || fail "not static: $kind"
needs=$(ldd "$binary" 2>&1 || true)
grep -Eq 'statically linked|not a dynamic executable' <<<"$needs" || fail "it needs libraries: $needs"

# With nothing around it: no environment, an empty folder, no file of the repository.
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
said=$(cd "$empty" && env -i TMPDIR="$empty" "$binary" predict --limit 100 --json)
grep -Eq '"agreement": 1(\.0)?,?$' <<<"$said" || fail "its predictions differ from those of the clear model: $said"

(cd "$folder/dist" && sha256sum "$name" >"$name.sha256")
echo "$binary: $kind"
echo "$(stat -c %s "$binary") bytes, sha256 $(cut -d' ' -f1 "$binary.sha256"); 100 predictions agree with the clear model"
