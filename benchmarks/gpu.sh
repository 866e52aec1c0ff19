#!/bin/sh
# On one CUDA GPU: the comparison with the peers, and how near the device's limits Accord comes when it
# fine-tunes, updates a policy by PPO, and samples, with a random Llama of --parameters (0.6e9).
# Without a GPU it says so and does nothing.
#
#     benchmarks/gpu.sh [OUTPUT.md] [options of benchmarks.gpu.measure]
#
# PYTHON is the interpreter that has Accord; PEER and PEER_OLD have TRL's newest release and its last
# with PPO (`make bench` makes them under build/bench), ACCORD_DATA names the folder of real rows;
# without them the comparison is left out. PEER_VLLM has vLLM, if it is to sample beside us. Figures of
# the comparison are kept beside the output, as .json; those of CPUs stay as they are.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
output=build/bench/gpu.md
case "${1:-}" in
    "" | -*) ;;
    *) output=$1; shift ;;
esac

if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA GPU here: nothing to measure"
    exit 0
fi
mkdir -p "$(dirname "$output")"
PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}" "$PYTHON" -m benchmarks.gpu.measure "$@" > "$output.part"
if [ -n "${PEER:-}" ] && [ -n "${PEER_OLD:-}" ] && [ -n "${ACCORD_DATA:-}" ]; then
    # The curves of memory are of a process on a CPU. A work that fails is named, and the others stay.
    PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}" "$PYTHON" -m benchmarks.peers.run \
        --only sft reward dpo kto grpo rloo ppo sft-100m dpo-100m sampling sampling-100m \
        --figures "${output%.md}.json" --trl "$PEER" --trl_old "$PEER_OLD" \
        ${PEER_VLLM:+--vllm "$PEER_VLLM"} >> "$output.part" ||
        echo "Some works failed, and are not in the tables, or with their older figures." >> "$output.part"
else
    echo "The peers were left out: PEER, PEER_OLD and ACCORD_DATA are not all set." >> "$output.part"
fi
mv "$output.part" "$output"
cat "$output"
