#!/usr/bin/env bash
# The first run on a GPU in one command: are the kernels right there, how fast are they, how fast are the peers.
#
#   benches/gpu.sh                  builds what it needs and runs everything; the results lie in runs/gpu-DATE/
#   benches/gpu.sh --pack FOLDER    builds, and gathers in FOLDER what a machine without Rust needs; there: bash FOLDER/gpu.sh
#
#   QUICK=1        small sizes and few cases: minutes, also on a software adapter
#   STEPS="a b"    only these of: adapters selftest ops rates bench bench50 tune tune50 tuned tuned50 peers peers50
#   OUT=FOLDER     where the results go
#   LIMIT=SECONDS  what a step may take [3600]
#   PYTHON=PATH    a Python 3, with PyTorch where PyTorch is to be compared [python3]
#   BURN=0         without Burn, whose build takes long
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
QUICK=${QUICK:-0} LIMIT=${LIMIT:-3600} PYTHON=${PYTHON:-python3} BURN=${BURN:-1}
STEPS=${STEPS:-adapters selftest ops rates bench bench50 tune tune50 tuned tuned50 peers peers50}

# Build everything and put it into $bin under short names.
build() {
    mkdir -p "$bin/torch"
    cd "$root"
    cargo build --release --features cli --target-dir target
    take target/release/instdisc
    tests=$(cargo test --release --all-features --no-run --test ops --target-dir target 2>&1 | tee /dev/stderr)
    take "$(echo "$tests" | sed -n 's/.*Executable .*(\(.*\)).*/\1/p' | tail -1)" ops
    cargo build --release --manifest-path benches/peers/ours/Cargo.toml --target-dir target
    take target/release/instdisc-peer-ours
    if [ "$BURN" != 0 ]; then
        burn=benches/peers/burn
        cargo build --release --manifest-path $burn/Cargo.toml --target-dir $burn/target
        take $burn/target/release/instdisc-peer-burn
        cargo build --release --manifest-path $burn/Cargo.toml --target-dir $burn/target --features vulkan
        take $burn/target/release/instdisc-peer-burn instdisc-peer-burn-vulkan
    fi
    cp "$here/gpu.sh" benches/peers/compare "$bin"
    cp benches/peers/torch/bench.py "$bin/torch"
    git describe --always --dirty >"$bin/COMMIT" 2>/dev/null || echo unknown >"$bin/COMMIT"
}

# Copy a program into $bin, under another name where one is given.
take() {
    local end=""
    [ -e "$1" ] || end=.exe
    local to="$bin/${2:-$(basename "$1")}$end"
    cp "$1$end" "$to"
    # Burn's program is a third smaller without its symbols.
    if command -v strip >/dev/null; then strip "$to"; fi
}

# Run a command as the step NAME: what it prints goes into $OUT/NAME.txt too; that it failed is written down, and the next goes on.
step() {
    local name=$1 start=$SECONDS verdict=ok
    shift
    case " $STEPS " in *" $name "*) ;; *) return 0 ;; esac
    echo "== $name: $*"
    local limit=()
    if command -v timeout >/dev/null; then limit=(timeout "$LIMIT"); fi
    # `+` since bash 3 takes an empty array for an unset one.
    { echo "\$ $*"; ${limit[@]+"${limit[@]}"} "$@"; } 2>&1 | tee "$OUT/$name.txt" || verdict=FAILED
    echo "$name $((SECONDS - start)) s $verdict" >>"$OUT/summary.txt"
}

# The peers that are there, as options of `compare`.
find_peers() {
    peers=()
    peer() { if [ -e "$2" ]; then peers+=(--peer "$1='$2'${4:+ '$4'}${3:+ $3}"); fi; }
    peer Burn "$bin/instdisc-peer-burn"
    peer Burn-Vulkan "$bin/instdisc-peer-burn-vulkan"
    local python torch=$bin/torch/bench.py
    python=$(command -v "$PYTHON")
    case $("$PYTHON" -c 'import torch; print(torch.cuda.is_available())' 2>/dev/null || true) in
        True)
            peer PyTorch "$python" "" "$torch"
            peer PyTorch-TF32 "$python" --tf32 "$torch"
            peer PyTorch-AMP "$python" "--amp --channels-last" "$torch"
            ;;
        False) peer PyTorch "$python" "" "$torch" ;;
        *) echo "no PyTorch in $PYTHON" ;;
    esac
}

if [ "${1:-}" = --pack ]; then
    mkdir -p "${2:?which folder?}"
    bin=$(cd "$2" && pwd)
    build
    du -sh "$bin"
    exit
fi

if [ -e "$here/COMMIT" ]; then
    bin=$here
else
    bin=$root/target/gpu
    build
fi
commit=$(cat "$bin/COMMIT")
OUT=${OUT:-runs/gpu-$(date +%Y%m%d-%H%M%S)}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
{
    date '+date    %Y-%m-%d %H:%M %z'
    echo "commit  $commit"
    echo "system  $(uname -srm)"
    "$bin/instdisc" adapters
} | tee "$OUT/head.txt"
: >"$OUT/summary.txt"

# What is measured on a GPU: ResNet-18 as for CIFAR, ResNet-50 at 224.
if [ "$QUICK" = 1 ]; then
    full="" tests=(errors) level=quick
    small=(--batch 1 --width 8) large=(--batch 1 --width 8 --arch resnet50 --size 96)
    some=(--filter k1) few=(--rounds 1 --samples 1 --seconds 0.01 --filter "gemm 512|train_step .* w8 |k1 s2")
else
    full=--full tests=() level=full
    small=(--batch 128) large=(--batch 64 --arch resnet50 --size 224)
    some=() few=()
fi
# What is measured is kept with the results, and no earlier tuning is believed.
export INSTDISC_CACHE=$OUT/cache
bench=("$bin/instdisc" bench ${some[@]+"${some[@]}"})
tune=("$bin/instdisc" tune "--$level" --loss nce)
find_peers
compare=("$PYTHON" "$bin/compare" --commit "$commit" --ours "'$bin/instdisc-peer-ours' --tuned"
    --peer "untuned='$bin/instdisc-peer-ours'" ${peers[@]+"${peers[@]}"} ${few[@]+"${few[@]}"})

step adapters "$bin/instdisc" adapters --json
step selftest "$bin/instdisc" selftest $full
# `complete` reads the sources, which are not everywhere.
step ops "$bin/ops" ${tests[@]+"${tests[@]}"} --skip complete --test-threads 1
# Rates of every case as JSON, to compare later runs with.
step rates bash -c '"$@" --json >"$0"' "$OUT/rates.jsonl" "${bench[@]}" "${small[@]}"
step bench "${bench[@]}" "${small[@]}" --roofline --plot "$OUT/bench.svg" --variants
step bench50 "${bench[@]}" "${large[@]}" --roofline --plot "$OUT/bench50.svg" --variants
step tune "${tune[@]}" "${small[@]}"
step tune50 "${tune[@]}" "${large[@]}"
step tuned "${bench[@]}" "${small[@]}" --tune $level --compare "$OUT/rates.jsonl"
step tuned50 "${bench[@]}" "${large[@]}" --tune $level
step peers "${compare[@]}" "${small[@]}" --json "$OUT/peers.json"
step peers50 "${compare[@]}" "${large[@]}" --json "$OUT/peers50.json"

{
    cat "$OUT/head.txt" "$OUT/summary.txt"
    for name in $STEPS; do
        if [ -e "$OUT/$name.txt" ]; then echo && cat "$OUT/$name.txt"; fi
    done
} >"$OUT/report.txt"
echo "== done: $OUT/report.txt"
cat "$OUT/summary.txt"
! grep -q FAILED "$OUT/summary.txt"
