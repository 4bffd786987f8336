#!/usr/bin/env bash
# What only hardware can settle, in the order of what it settles, so that the report is useful wherever it is cut off. Goes on
# after a failure: the report says what failed, and so does the exit status.
#
# Usage, on a machine with an NVIDIA GPU and its driver, cuDNN 9 and cuRAND:
#   tests/on_gpu.sh [--minutes N] [--no-build FOLDER] [--report FILE] [SECTION...]
#
#   --minutes N        no section begins after N minutes, and none goes on beyond them (default 30)
#   --no-build FOLDER  use the programs that tests/pack_for_gpu put into FOLDER, build nothing
#   SECTION            devices cudnn recording repeats tuning epochs filters steps together kernels plans primitives
#                      sanitizers benches; default all
#
# Environment: BUILD (folder, default build-gpu), JOBS, ARCHITECTURES (default: the card's own).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
all_sections=(devices cudnn recording repeats tuning epochs filters steps together kernels plans primitives sanitizers
  benches)
report=gpu-report.md minutes=30 packed='' sections=()
while (($#)); do
  case $1 in
    --minutes) minutes=$2; shift ;;
    --no-build) packed=$2; shift ;;
    --report) report=$2; shift ;;
    -*) sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
    *) [[ " ${all_sections[*]} " == *" $1 "* ]] || { echo "on_gpu.sh: no section $1; there are: ${all_sections[*]}" >&2; exit 2; }
       sections+=("$1") ;;
  esac
  shift
done
((${#sections[@]})) || sections=("${all_sections[@]}")
report=$(realpath -m "$report")
failed=()

command -v nvidia-smi >/dev/null || { echo "There is no nvidia-smi here: this needs an NVIDIA GPU and its driver." >&2; exit 2; }
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>&1 | head -1)
[[ $capability =~ ^[0-9]+\.[0-9]$ ]] || { echo "No GPU that can be used: nvidia-smi says: $capability" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec > >(tee "$report") 2>&1

# The folders of the CUDA libraries that the programs don't find by themselves: the toolkit's, or pip's.
find_libraries() {
  local name found
  for name in libcudart.so libcudnn.so.9 libcurand.so.10 libnvrtc.so libcupti.so; do
    ldconfig -p 2>/dev/null | grep -q "$name" && continue
    found=$(find -L /usr/local/cuda*/ /usr/lib /opt -name "$name*" -not -path '*/stubs/*' 2>/dev/null | head -1)
    if [[ -n $found ]]; then LD_LIBRARY_PATH=$(dirname "$found"):${LD_LIBRARY_PATH:-}; fi
  done
  export LD_LIBRARY_PATH=${packed:+$packed/lib:}${LD_LIBRARY_PATH:-}
}

if [[ -n $packed ]]; then
  packed=$(realpath "$packed")
  stagewise=$packed/stagewise tests=$packed bench=$packed/cuda whole_steps=$packed/steps
else
  build=${BUILD:-build-gpu}
  cmake -S . -B "$build" -DSTAGEWISE_CUDA=ON -DSTAGEWISE_CUDA_ARCHITECTURES="${ARCHITECTURES:-${capability/./}}" \
    -DSTAGEWISE_BENCH=ON && cmake --build "$build" -j "${JOBS:-$(nproc)}" | tail -3 || exit 1
  stagewise=$build/stagewise tests=$build/tests bench=$build/bench/cuda whole_steps=$build/bench/steps
fi
find_libraries
export XDG_CACHE_HOME=$work/cache  # where no plans are found but those that are made here
export stagewise tests bench whole_steps work

# A small training on built-in data: its folder is $work/NAME.
train() {
  local name=$1
  shift
  "$stagewise" train --data synthetic --quiet --device cuda --out "$work/$name" "$@" >/dev/null
}

journal() { sed -nE "s/.*\"event\":\"epoch\".*\"$2\":([-+.e0-9]+).*/\1/p" "$work/$1/journal.jsonl" | tr '\n' ' '; }

precision_flags() {
  case $1 in fp32) ;; tf32) echo --tf32 on ;; bf16) echo --precision bf16 ;; esac
}

devices() { "$stagewise" devices; }

# GoogleTest's output, but only what failed or was skipped of it.
cudnn() {
  "$tests/cuda_cudnn_test" --gtest_brief=1 && "$tests/cuda_curand_test" --gtest_brief=1 &&
    "$tests/cuda_filter_gradient_test" --gtest_brief=1
}
recording() {
  "$tests/cuda_primitives_test" --gtest_brief=1 --gtest_filter='Recording*:Draws*:GuardBytes*' &&
    "$tests/cuda_search_test" --gtest_brief=1
}

# Trainings of the same seed, twice in each precision, all at once: the same model, to the bit; and the precisions' losses
# side by side, where all but exact float32's may differ from it by 5%.
repeats() {
  local precision batch run status=0
  for batch in 128 1000; do
    for precision in fp32 tf32 bf16; do
      for run in a b; do
        # shellcheck disable=SC2046
        train "$precision-$batch-$run" --blocks 3,3,3 --epochs 2 --validation 0.1 --batch-size "$batch" --threads 1 \
          $(precision_flags "$precision") &
      done
    done
  done
  wait
  for batch in 128 1000; do
    for precision in fp32 tf32 bf16; do
      if cmp "$work/$precision-$batch-"{a,b}/model.safetensors; then
        echo "$precision, batch $batch: the same bits twice; losses $(journal "$precision-$batch-a" loss)," \
          "validation $(journal "$precision-$batch-a" validation_loss)"
      else
        echo "$precision, batch $batch: DIFFERENT BITS; losses $(journal "$precision-$batch-a" loss) and" \
          "$(journal "$precision-$batch-b" loss)"
        status=1
      fi
    done
    for precision in tf32 bf16; do
      paste <(journal "fp32-$batch-a" loss) <(journal "$precision-$batch-a" loss) | awk -v name="$precision, batch $batch" '
        { for (i = 1; i <= NF / 2; ++i) { d = ($i - $(i + NF / 2)) / $i; if (d > 0.05 || d < -0.05) bad = 1 } }
        END { if (NR == 0) bad = 1; if (bad) print name ": a loss differs from float32'\''s by more than 5%"; exit bad }' ||
        status=1
    done
  done
  return "$status"
}

# Plans by time, in three precisions and at a large batch; then trainings by them and by cuDNN's order, which begin as fast as they
# can: images a second of each of three epochs, and all the seconds. By the same file the bits are the same.
tuning() {
  local batch precision run began status=0
  for batch in 128 1024; do
    for precision in fp32 tf32 bf16; do
      [[ $batch == 1024 && $precision != bf16 ]] && continue  # a minute each
      began=$SECONDS
      # shellcheck disable=SC2046
      "$stagewise" tune --quiet --batch-size "$batch" --plans "$work/plans.json" $(precision_flags "$precision") || return 1
      echo "$precision, batch $batch: tuned in $((SECONDS - began)) s; $(stat -c %s "$work/plans.json") bytes"
      for run in none tuned again; do
        began=$SECONDS
        # shellcheck disable=SC2046
        train "tuning-$precision-$batch-$run" --blocks 3,3,3 --epochs 3 --batch-size "$batch" --synthetic-train 16500 \
          --synthetic-test 10 --plans "$([[ $run == none ]] && echo none || echo "$work/plans.json")" \
          $(precision_flags "$precision") || return 1
        printf '%s, batch %4d, %-5s  images/s of epochs 1 to 3: %s (%d s in all)\n' "$precision" "$batch" "$run" \
          "$(journal "tuning-$precision-$batch-$run" images_per_second)" $((SECONDS - began))
      done
      cmp "$work/tuning-$precision-$batch-"{tuned,again}/model.safetensors || status=1
    done
  done
  return "$status"
}

# Images a second of each of three epochs, the first with the plans' making in it.
epochs() {
  local blocks batch precision began
  for blocks in 1,1,1 3,3,3 10,14,8; do
    for batch in 128 512 1024; do
      for precision in fp32 tf32 bf16; do
        # A bfloat16 start compiles for as long as all the others take together.
        [[ $precision == bf16 && ($blocks != 3,3,3 || $batch == 512) ]] && continue
        began=$SECONDS
        # shellcheck disable=SC2046
        train "epochs-$blocks-$batch-$precision" --blocks "$blocks" --epochs 3 --batch-size "$batch" \
          --synthetic-train 16384 --synthetic-test 10 $(precision_flags "$precision") || return 1
        printf '%-8s batch %4d  %s  images/s of epochs 1 to 3: %s (%d s in all)\n' "$blocks" "$batch" "$precision" \
          "$(journal "epochs-$blocks-$batch-$precision" images_per_second)" $((SECONDS - began))
      done
    done
  done
}

# The gradient of the filters at the networks' shapes, sixteen calls a row: by our own kernel and by cuDNN (fp32_cudnn,
# tf32_cudnn, bf16_cudnn).
filters() { "$bench" --benchmark_filter='16_replayed' --benchmark_repetitions=3; }

# Whole steps without the images' way to the card, in three precisions at batches of 128, 512 and 1024.
steps() { "$whole_steps" --device cuda --benchmark_filter='training/resnet(8|20|56)' --benchmark_repetitions=3; }

# What several trainings at once come to: a small network leaves most of a card idle.
together() {
  local count
  for count in 1 2 4 8; do
    for ((i = 0; i < count; ++i)); do
      train "together-$count-$i" --blocks 2,2,2 --epochs 3 --synthetic-train 32768 --synthetic-test 10 --threads 1 &
    done
    wait
    echo "$count at once, images/s of each one's last epoch:" \
      "$(for ((i = 0; i < count; ++i)); do journal "together-$count-$i" images_per_second | awk '{ print $NF }'; done | tr '\n' ' ')"
  done
}

# The kernels of three eager steps, the longest first: calls and microseconds.
kernels() {
  local precision
  command -v ncu >/dev/null || { echo "left out: Nsight Compute (ncu) is not installed"; return 0; }
  for precision in fp32 bf16; do
    echo "$precision: microseconds in all, calls, kernel (of a step of ResNet-20 at batch 128, and its start)"
    # shellcheck disable=SC2046
    ncu --csv --clock-control none --metrics gpu__time_duration.sum "$stagewise" train --data synthetic --quiet --device cuda \
      --blocks 3,3,3 --epochs 1 --batch-size 128 --synthetic-train 256 --synthetic-test 10 --out "$work/kernels-$precision" \
      $(precision_flags "$precision") 2>/dev/null >"$work/kernels.csv"
    python3 - "$work/kernels.csv" <<'PY' || return 1
import collections, csv, io, sys
text = open(sys.argv[1]).read()
rows = list(csv.DictReader(io.StringIO(text[text.index('"ID"'):])))
total, calls = collections.Counter(), collections.Counter()
for row in rows:
    name = row['Kernel Name'][:110]
    total[name] += float(row['Metric Value'].replace(',', '')) / (1e3 if row['Metric Unit'] in ('ns', 'nsecond') else 1)
    calls[name] += 1
print(f'{sum(total.values()):10.1f} {sum(calls.values()):5d} in all')
for name, time in total.most_common(30):
    print(f'{time:10.1f} {calls[name]:5d} {name}')
PY
  done
}

plans() {
  local precision
  for precision in fp32 tf32 bf16; do
    echo "$precision"
    # shellcheck disable=SC2046
    "$stagewise" describe --blocks 3,3,3 --plan --device cuda $(precision_flags "$precision") || return 1
  done
}

primitives() { "$tests/cuda_primitives_test" --gtest_brief=1; }

sanitizers() {
  local tool status=0 watched
  command -v compute-sanitizer >/dev/null || { echo "left out: compute-sanitizer is not installed"; return 0; }
  for tool in memcheck racecheck initcheck synccheck; do
    # Exact allocations (one a tensor), so that memcheck sees each tensor's end. The large shapes would take hours.
    # What nobody has written is initcheck's to find; for the others it is NaN.
    watched=()
    [[ $tool == initcheck ]] && watched=(env STAGEWISE_WATCHED_MEMORY=1)
    "${watched[@]}" compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$work/$tool.log" \
      "$tests/cuda_primitives_test" --gtest_brief=1 --gtest_filter="${SANITIZED:--*n2_32x32*:*GivesTheSameBits*}" || status=1
    echo "$tool: $(tail -1 "$work/$tool.log")"
  done
  return "$status"
}

benches() { "$bench"; }

export -f train journal precision_flags "${all_sections[@]}"

echo "# stagewise on a GPU"
echo
echo "$(date -u +%FT%TZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(nvidia-smi \
  --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader)"
for name in "${sections[@]}"; do
  left=$((60 * minutes - SECONDS))
  printf '\n## %s\n\n' "$name"
  if ((left <= 0)); then
    echo "Left out: the $minutes minutes are over."
    failed+=("$name (left out)")
    continue
  fi
  began=$SECONDS
  echo '```'
  timeout "$left" bash -c "$name"
  status=$?
  echo '```'
  if ((status == 0)); then
    echo "Passed in $((SECONDS - began)) s."
  else
    echo "**FAILED** with status $status after $((SECONDS - began)) s."
    failed+=("$name")
  fi
done

printf '\n## Summary\n\n'
if ((${#failed[@]})); then
  printf 'Failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "Everything passed. Report: $report"
