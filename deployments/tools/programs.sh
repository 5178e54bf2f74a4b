#!/usr/bin/env bash
# Makes sure that the programs which the end-to-end tests drive are there: a Chromium, and a Prometheus
# that sends alerts. Debian's are installed where they are missing.
set -euo pipefail

missing=()
found=
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then found=yes; fi
done
if [ -z "$found" ]; then missing+=(chromium fonts-dejavu-core); fi
if ! command -v prometheus >/dev/null; then missing+=(prometheus); fi
if [ ${#missing[@]} = 0 ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
  echo "The end-to-end tests need ${missing[*]}: install them so that \`chromium\` and \`prometheus\` are on PATH." >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
echo "Installing ${missing[*]} for the end-to-end tests…"
"${sudo[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
