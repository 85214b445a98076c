#!/usr/bin/env bash
# The first run on a GPU in one command: are the kernels right there, how fast are they, how fast are the peers.
#
#   benches/gpu.sh                  builds what it needs and runs everything; the results lie in runs/gpu-DATE/
#   benches/gpu.sh --pack FOLDER    builds, and gathers in FOLDER what a machine without Rust and without a network needs:
#
#     instdisc                     correctness, calibration, kernels, tuning, training
#     emoji                        the demo, a short training with its pictures inside
#     ops                          the tests of every op
#     instdisc-peer-ours           for the comparison, as are all below
#     instdisc-peer-burn           Burn in WGSL
#     instdisc-peer-burn-vulkan    Burn with its own SPIR-V
#     compare, torch/bench.py      which want Python 3.8 there, with PyTorch where that is to be compared
#     gpu.sh, COMMIT
#
#   Carry the folder there and say `bash FOLDER/gpu.sh`. The machine needs its GPU's driver with the Vulkan loader
#   (libvulkan.so.1), and a C library no older than that of the machine that built.
#
# A part that cannot be built or run is named in summary.txt and at the end, the others go on, and the status is 1 then.
#
#   QUICK=1        small sizes and few cases: minutes, also on a software adapter
#   STEPS="a b"    only these of: adapters selftest calibration quick rates profile tune tuned peers train variants
#                  data bench50 variants50 tune50 tuned50 peers50 ops
#   OUT=FOLDER     where the results go; what several calls leave there adds up
#   DATA=FOLDER    images, or CIFAR's binary files, to train on for two epochs too
#   LIMIT=SECONDS  what a step may take [3600]
#   PYTHON=PATH    a Python 3, with PyTorch where PyTorch is to be compared [python3]
#   BURN=0         without Burn, whose build takes long
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
QUICK=${QUICK:-0} LIMIT=${LIMIT:-3600} PYTHON=${PYTHON:-python3} BURN=${BURN:-1} DATA=${DATA:-}
all="adapters selftest calibration quick rates profile tune tuned peers train data variants
    bench50 variants50 tune50 tuned50 peers50 ops"
STEPS=$(echo ${STEPS:-$all})

# Build everything and put it into $bin under short names.
build() {
    mkdir -p "$bin/torch"
    cd "$root"
    : >"$bin/UNBUILT"
    part instdisc target/release/instdisc cargo build --release --features cli --bin instdisc --target-dir target
    part emoji target/release/examples/emoji cargo build --release --all-features --example emoji --target-dir target
    part ops "" cargo test --release --all-features --no-run --test ops --target-dir target
    local peers=benches/peers
    part instdisc-peer-ours $peers/ours/target/release/instdisc-peer-ours \
        cargo build --release --manifest-path $peers/ours/Cargo.toml --target-dir $peers/ours/target
    if [ "$BURN" != 0 ]; then
        local burn=(cargo build --release --manifest-path $peers/burn/Cargo.toml --target-dir $peers/burn/target)
        part instdisc-peer-burn $peers/burn/target/release/instdisc-peer-burn "${burn[@]}"
        part instdisc-peer-burn-vulkan $peers/burn/target/release/instdisc-peer-burn "${burn[@]}" --features vulkan
    fi
    cp "$here/gpu.sh" $peers/compare "$bin"
    cp $peers/torch/bench.py "$bin/torch"
    git describe --always --dirty >"$bin/COMMIT" 2>/dev/null || echo unknown >"$bin/COMMIT"
}

# Build the part NAME with a command that makes the program FROM, or says where it is; that it failed is written down.
part() {
    local name=$1 from=$2 said
    shift 2
    echo "== building $name"
    rm -f "$bin/$name" "$bin/$name.exe"
    if said=$("$@" 2>&1 | tee >(cat >&2)); then
        take "${from:-$(echo "$said" | sed -n 's/.*Executable .*(\(.*\)).*/\1/p' | tail -1)}" "$name" && return
    fi
    echo "$name" >>"$bin/UNBUILT"
}

# Copy a program into $bin under another name.
take() {
    local end=""
    [ -e "$1" ] || end=.exe
    cp "${1%.exe}$end" "$bin/$2$end" || return
    # Burn's program is a third smaller without its symbols.
    if command -v strip >/dev/null; then strip "$bin/$2$end" || true; fi
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
    python=$(command -v "$PYTHON") || { echo "no $PYTHON: nothing is compared" && return; }
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
    if [ -s "$bin/UNBUILT" ]; then echo "not built:" $(cat "$bin/UNBUILT") && exit 1; fi
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
    "$bin/instdisc" adapters || true
} | tee "$OUT/head.txt"
sed 's/.*/building & FAILED/' "$bin/UNBUILT" >>"$OUT/summary.txt"

# What is measured on a GPU: ResNet-18 as for CIFAR, ResNet-50 at 224.
if [ "$QUICK" = 1 ]; then
    selftest=() tests=(errors) search=(--quick)
    variants=(--variants "tiled 64x64x8") kind="tiled 64x64x8"
    small=(--batch 1 --width 8) large=(--batch 1 --width 8 --arch resnet50 --size 96)
    some=(--filter "k1 s2") few=(--rounds 1 --samples 1 --seconds 0.01 --filter "gemm 512|train_step .* w8 |k1 s2")
    demo=(--pictures 64 --epochs 20 --seconds 60) train=(--width 8 --limit 256 --epochs 1)
else
    selftest=(--full) tests=() search=(--full --budget 1500)
    variants=(--variants) kind=tiled
    small=(--batch 128) large=(--batch 64 --arch resnet50 --size 224)
    some=() few=()
    demo=(--seconds 150) train=(--epochs 2)
fi
# What is measured is kept with the results, and no earlier tuning is believed.
export INSTDISC_CACHE=$OUT/cache
bench=("$bin/instdisc" bench)
# A rest of the tuning that found no time is not made up for.
tuned=("${bench[@]}" ${some[@]+"${some[@]}"} --tune quick)
tune=("$bin/instdisc" tune --loss nce)
find_peers
compare=("$PYTHON" "$bin/compare" --commit "$commit" --ours "'$bin/instdisc-peer-ours' --tuned"
    --peer "untuned='$bin/instdisc-peer-ours'" ${peers[@]+"${peers[@]}"} ${few[@]+"${few[@]}"})

step adapters "$bin/instdisc" adapters --json
step selftest "$bin/instdisc" selftest ${selftest[@]+"${selftest[@]}"}
step calibration "${bench[@]}" --filter peak. --repeat 3
step quick "${tune[@]}" "${small[@]}" --quick
# Rates of every case as JSON, to compare later runs with.
step rates bash -c '"$@" --json >"$0"' "$OUT/rates.jsonl" "${bench[@]}" ${some[@]+"${some[@]}"} "${small[@]}"
step profile "${bench[@]}" "${small[@]}" --profile
step tune "${tune[@]}" "${small[@]}" "${search[@]}"
step tuned "${tuned[@]}" "${small[@]}" --compare "$OUT/rates.jsonl"
step peers "${compare[@]}" "${small[@]}" --json "$OUT/peers.json"
step train "$bin/emoji" "${demo[@]}" --out "$OUT/emoji"
if [ -n "$DATA" ]; then step data "$bin/instdisc" train "$DATA" --out "$OUT/run" --tune quick "${train[@]}"; fi
step variants "${bench[@]}" ${some[@]+"${some[@]}"} "${small[@]}" --roofline --plot "$OUT/variants.svg" "${variants[@]}"
step bench50 "${bench[@]}" ${some[@]+"${some[@]}"} "${large[@]}" --roofline --plot "$OUT/bench50.svg"
# Of the many shapes those where algorithms differ most, by what is made for GPUs: all would take hours.
step variants50 "${bench[@]}" "${large[@]}" --filter "k3 s1" --variants "$kind"
step tune50 "${tune[@]}" "${large[@]}" "${search[@]}"
step tuned50 "${tuned[@]}" "${large[@]}"
step peers50 "${compare[@]}" "${large[@]}" --json "$OUT/peers50.json"
# `complete` reads the sources, which are not everywhere.
step ops "$bin/ops" ${tests[@]+"${tests[@]}"} --skip complete --test-threads 1

{
    cat "$OUT/head.txt" "$OUT/summary.txt"
    for name in $all; do
        if [ -e "$OUT/$name.txt" ]; then echo && cat "$OUT/$name.txt"; fi
    done
} >"$OUT/report.txt"
echo "== done: $OUT/report.txt"
cat "$OUT/summary.txt"
! grep -q FAILED "$OUT/summary.txt"
