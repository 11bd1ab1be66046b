#!/bin/sh
# Makes the object files from their sources, by clang and llvm-strip: code, maps
# and BTF stay, what names the machine goes.
set -e
for src in "$(dirname "$0")"/*.bpf.c "$(dirname "$0")"/bad/*.bpf.c; do
	(
		cd "$(dirname "$src")"
		name=$(basename "$src" .c)
		clang -target bpf -O2 -g -Wall -Wno-unused-variable -fdebug-compilation-dir=. -c "$name.c" -o "$name.o"
		llvm-strip -g "$name.o"
	)
done
