#!/usr/bin/env bash
# What only hardware can settle: builds the CUDA half, runs its tests with the real libraries, under compute-sanitizer
# too, compares TF32 and bfloat16 with float32, checks that runs repeat to the bit, times kernels and training, and writes
# it all into one report. Goes on after a failure: the report says what failed, and so does the exit status.
# Usage, on a machine with an NVIDIA GPU, the CUDA toolkit and cuDNN:  tests/on_gpu.sh [REPORT]
# Environment: BUILD (folder, default build-gpu), JOBS, ARCHITECTURES (default: the card's own).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
report=$(realpath -m "${1:-gpu-report.md}")
build=${BUILD:-build-gpu}
jobs=${JOBS:-$(nproc)}
failed=()

command -v nvidia-smi >/dev/null || { echo "There is no nvidia-smi here: this needs an NVIDIA GPU and its driver." >&2; exit 2; }
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>&1 | head -1)
[[ $capability =~ ^[0-9]+\.[0-9]$ ]] || { echo "No GPU that can be used: nvidia-smi says: $capability" >&2; exit 2; }
architectures=${ARCHITECTURES:-${capability/./}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec > >(tee "$report") 2>&1

# section TITLE COMMAND...: the command's output under a heading, and whether it succeeded.
section() {
  local title=$1 began=$SECONDS status
  shift
  printf '\n## %s\n\n```\n$ %s\n' "$title" "$*"
  "$@"
  status=$?
  printf '```\n'
  if ((status == 0)); then
    echo "Passed in $((SECONDS - began)) s."
  else
    echo "**FAILED** with status $status after $((SECONDS - began)) s."
    failed+=("$title")
  fi
}

build_all() {
  cmake -S . -B "$build" -DSTAGEWISE_CUDA=ON -DSTAGEWISE_CUDA_ARCHITECTURES="$architectures" -DSTAGEWISE_BENCH="${1:-OFF}" &&
    cmake --build "$build" -j "$jobs" | tail -3
}

# A small training; prints its epochs' losses as the journal has them.
train() {
  local name=$1
  shift
  "$build/stagewise" train --data synthetic --validation 0.1 --blocks 1,1,1 --epochs 2 --quiet --device cuda \
    --out "$work/$name" "$@" >/dev/null &&
    sed -nE 's/.*"event":"epoch".*"loss":([-+.e0-9]+).*"validation_loss":([-+.e0-9]+).*/\1 \2/p' "$work/$name/journal.jsonl"
}

repeats_to_the_bit() {
  train first >/dev/null && train second >/dev/null && cmp "$work/first/model.safetensors" "$work/second/model.safetensors" &&
    echo "two trainings of the same seed: the same model, to the bit"
}

# Losses of each precision beside exact float32's; all but the reference line may differ by 5%.
precisions() {
  train exact >"$work/exact.txt" || return 1
  echo "fp32       $(tr '\n' ' ' <"$work/exact.txt")"
  local name
  for name in tf32 bf16; do
    if [[ $name == tf32 ]]; then set -- --tf32 on; else set -- --precision bf16; fi
    train "$name" "$@" >"$work/$name.txt" || return 1
    echo "$name       $(tr '\n' ' ' <"$work/$name.txt")"
    paste "$work/exact.txt" "$work/$name.txt" | awk -v name="$name" '
      { for (i = 1; i <= NF / 2; ++i) { d = ($i - $(i + NF / 2)) / $i; if (d > 0.05 || d < -0.05) bad = 1 } }
      END { if (NR == 0) bad = 1; if (bad) print name ": a loss differs by more than 5%"; exit bad }' || return 1
  done
}

sanitized() {
  # Exact allocations (one a tensor), so that memcheck sees each tensor's end. The large shapes would take hours.
  compute-sanitizer --tool "$1" --error-exitcode 9 --log-file "$work/$1.log" \
    "$build/tests/cuda_primitives_test" --gtest_brief=1 --gtest_filter='-*n2_32x32*:*GivesTheSameBits*'
  local status=$?
  tail -5 "$work/$1.log"
  return "$status"
}

benches() {
  build_all ON && "$build/bench/cuda"
}

echo "# stagewise on a GPU"
echo
echo "$(date -u +%FT%TZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
section 'The machine' nvidia-smi
section 'Build' build_all
section 'Devices' "$build/stagewise" devices
for test in "$build"/tests/cuda_*_test; do section "$(basename "$test")" "$test" --gtest_brief=1; done
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do section "compute-sanitizer $tool" sanitized "$tool"; done
else
  section 'compute-sanitizer' echo 'left out: it is not installed'
fi
section 'The same seed gives the same bits' repeats_to_the_bit
section 'TF32 and bfloat16 beside float32' precisions
for precision in fp32 bf16; do
  section "How cuDNN goes about each convolution in $precision" \
    "$build/stagewise" describe --blocks 3,3,3 --plan --device cuda --precision "$precision"
done
section 'Kernels, timed' benches

printf '\n## Summary\n\n'
if ((${#failed[@]})); then
  printf 'Failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "Everything passed. Report: $report"
