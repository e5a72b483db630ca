#!/usr/bin/env bash
# In: a file name, and programs. Out: an initial root file system of that name: the first program is its /init, the others
# lie beside it under their own names, and with them the libraries that they need. Refuses programs that are not there.
set -euo pipefail

archive=$(realpath "$1")
programs=("${@:2}")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

chmod 755 "$root"
mkdir -p "$root"/{dev,proc,sys,tmp}
# Until /dev is mounted, the first process talks to this one.
mknod -m 600 "$root/dev/console" c 5 1
for program in "${programs[@]}"; do
    install -m 755 "$program" "$root/"
    while read -r library; do
        install -D -m 755 "$library" "$root$library"
    done < <(ldd "$program" | grep -oE '/[^ ]+')
done
strip "$root/${programs[0]##*/}"
mv "$root/${programs[0]##*/}" "$root/init"
(cd "$root" && find . -print0 | cpio --quiet --null --create --format=newc | gzip -1) >"$archive"
