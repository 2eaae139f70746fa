#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC1091
# A kernel was removed: deletes what was made to build rust_kmemcg for it, and its source if no other kernel uses that.
set -e
release=$1
[ ! -r /etc/default/rust-kmemcg-dkms ] || . /etc/default/rust-kmemcg-dkms
if [ ! "$release" ] || [ ! -d "${KMEMCG_CACHE-}/kernel" ]; then exit 0; fi
rm -rf "$KMEMCG_CACHE"/kernel/*/"$release" "$KMEMCG_CACHE/Module.symvers.$release"
for source in "$KMEMCG_CACHE"/source/*; do
	for link in "$KMEMCG_CACHE"/kernel/*/*/source; do
		[ "$(readlink -f "$link")" != "$(readlink -f "$source")" ] || continue 2
	done
	rm -rf "$source"
done
