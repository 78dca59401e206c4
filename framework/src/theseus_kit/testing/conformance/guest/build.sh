#!/bin/sh
# Builds guest.so, which the suites of symbolication and unwinding load: build [OUTPUT]
set -eu
cd "$(dirname "$0")"
output=${1:-guest.so}
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
common="-c -O1 -g -fPIC -fno-stack-protector -fcf-protection=none -fasynchronous-unwind-tables
        -fvisibility=default -ffile-prefix-map=$PWD=/theseus-kit"
${CC:-cc} $common -o "$objects/names.o" names.c
${CC:-cc} $common -fno-omit-frame-pointer -DPREFIX=kept -o "$objects/kept.o" frames.c
${CC:-cc} $common -fomit-frame-pointer -DPREFIX=omitted -o "$objects/omitted.o" frames.c
${CC:-cc} $common -fexceptions -o "$objects/cleanups.o" cleanups.c
${CC:-cc} -shared -nostdlib -Wl,--build-id=none -Wl,-soname,guest.so -o "$output" "$objects"/*.o
