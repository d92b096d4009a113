#!/usr/bin/env bash
# From nothing to a reader of words: data, training, accuracy, a picture.
#
#   bash launch/quickstart.sh [IMAGE ...]
#
# Two CPU cores, under 15 minutes. Run it again to resume, or to read other images.
set -euo pipefail
images=()
for image in "$@"; do
  images+=("$(realpath -m -- "$image")")
done
source "$(dirname "${BASH_SOURCE[0]}")/env.sh" data
config=configs/diffusion/mdiff4str_tiny.py
run="${MDM_RUN:-runs/quickstart}"
began=$SECONDS

step() { printf '\n== %s (%d s)\n' "$1" "$((SECONDS - began))"; }

# Images that cannot be read are better refused now than after ten minutes.
for image in ${images[@]+"${images[@]}"}; do
  mdm data check "$image"
done
step "1. render words in many fonts"
mdm data build "$config"
step "2. train the reader"
mdm train "$config" --workdir "$run"
step "3. measure it on words and fonts it never saw"
mdm eval "$run" --json "$run/eval.json"
step "4. read"
mdm predict "$run" ${images[@]+"${images[@]}"}
step "5. look at a word being un-masked"
mdm plot "$run" ${images[@]+"${images[@]}"} --out denoising.png
step "done"
