#!/bin/bash
# tools/setup.sh - installs the Debian packages that Endec is built from, and only those that are missing.
#
# usage: tools/setup.sh [--check] [--fuzz] [--tsan]
#   --check  only say what is missing; exit 1 when something is
#   --fuzz   also what `make fuzz` needs; --tsan: also what `make tsan` needs
# Works as root, with passwordless sudo, or with sudo at a terminal; where none of them is possible it prints the command to run and exits with 1.
# A library that pkg-config finds counts as present however it was installed. Nothing that is present is installed again, and the package
# lists are only fetched when something is missing.
set -u

check_only=false
extra=()
for arg in "$@"; do
    case "$arg" in
    --check) check_only=true ;;
    --fuzz) extra+=("clang|cmd:clang|compiler" "libclang-rt-dev|-|libFuzzer and the sanitizers of clang") ;;
    --tsan) extra+=("clang|cmd:clang|compiler" "libclang-rt-dev|-|ThreadSanitizer" "libomp-dev|-|OpenMP run time that ThreadSanitizer can follow") ;;
    *)
        echo "setup: unknown argument '$arg' (known: --check --fuzz --tsan)" >&2
        exit 2
        ;;
    esac
done

# package | how else it may be present (cmd:<program>, pc:<pkg-config name>, hdr:<header>, -: package only) | what it is for
packages=(
    "build-essential|cmd:cc|C compiler, linker, make"
    "cmake|cmd:cmake|build configuration and CTest"
    "ninja-build|cmd:ninja|runs the build"
    "pkg-config|cmd:pkg-config|finds the libraries below"
    "libjansson-dev|pc:jansson|JSON"
    "libpcre2-dev|pc:libpcre2-8|regular expressions of tokenizers"
    "libutf8proc-dev|pc:libutf8proc|Unicode normal forms and classes"
    "libyaml-dev|pc:yaml-0.1|configuration files"
    "zlib1g-dev|pc:zlib|compressed files, checksums, PNG"
    "libxxhash-dev|pc:libxxhash|hashes of weights and files"
    "libdnnl-dev|hdr:dnnl.h|oneDNN: large matrix products"
    "libcmocka-dev|pc:cmocka|unit tests"
)

# True when the package, or what it would bring, is here.
present() {
    local package=$1 other=$2
    case "$other" in
    cmd:*) command -v "${other#cmd:}" >/dev/null 2>&1 && return 0 ;;
    pc:*) command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "${other#pc:}" && return 0 ;;
    hdr:*) echo "#include <${other#hdr:}>" | cc -E -x c - >/dev/null 2>&1 && return 0 ;;
    esac
    command -v dpkg-query >/dev/null 2>&1 || return 1
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]
}

missing=()
for row in "${packages[@]}" ${extra[@]+"${extra[@]}"}; do
    IFS='|' read -r package other why <<<"$row"
    if ! present "$package" "$other"; then
        echo "setup: missing $package ($why)"
        missing+=("$package")
    fi
done
[ ${#missing[@]} -eq 0 ] && exit 0
$check_only && exit 1

by_hand() {
    echo "setup: $1. Install the packages by hand and start again:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
}
command -v apt-get >/dev/null 2>&1 || by_hand "there is no apt-get here (names below are Debian's)"
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif ! command -v sudo >/dev/null 2>&1; then
    by_hand "installing needs root, and there is no sudo"
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env)
elif [ -t 0 ] && [ -t 2 ]; then
    echo "setup: sudo may ask for your password"
    as_root=(sudo env)
else
    by_hand "installing needs root, and sudo would ask for a password"
fi
"${as_root[@]}" apt-get update -q </dev/null || echo "setup: the package lists could not be refreshed; trying with those at hand" >&2
"${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null ||
    by_hand "apt-get failed"
echo "setup: installed ${missing[*]}"
