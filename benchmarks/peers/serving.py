"""Servers of OpenAI's protocol under load: ours, `transformers serve` and vLLM's, on the same work.

    python -m benchmarks.peers.serving --transformers PYTHON --vllm PYTHON
    python -m benchmarks.peers.serving --leak 10000      # ours alone: memory by requests

Clients stream answers to real prompts, each prompt once, greedily in float32 (with `--bf16` in
bfloat16 on all sides), as many at a time as `--clients`; then 16 at a time, for the time to the
first token. A round is a fresh server of each kind, one after another. The client shares the two
cores with all of them. Tokens are counted in the texts that came, by the model's own tokenizer.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmarks.peers import work

NAME = "base"
TOKENS = 64
FEW = 16
"""Clients of the measurement of first tokens."""
START_S = 300.0


@dataclass
class Answer:
    """One request: seconds to its first words and to its end, and its text; None failed."""

    first_s: float
    whole_s: float
    text: str | None


def command(side: str, options: argparse.Namespace, port: int) -> list[str]:
    """How each server starts, at its own defaults but for what the work says."""
    model, dtype = work.base_model(), "bfloat16" if options.bf16 else "float32"
    if side == "accord":
        return [
            options.accord, "-m", "accord.cli", "serve", f"{NAME}={model}", "--port", str(port),
            "--requests_per_minute", "1000000", *(["--bf16"] if options.bf16 else []),
        ]  # fmt: skip
    if side == "transformers":
        return [
            str(Path(options.transformers).with_name("transformers")), "serve", model, "--host",
            "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", dtype,
            "--continuous-batching",
        ]  # fmt: skip
    return [
        options.vllm, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
        "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", dtype,
    ]  # fmt: skip


@contextlib.contextmanager
def serving(side: str, options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Port and process id of a server that answers; it is gone afterwards."""
    from benchmarks.peers.vllm_side import two_cores

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": two_cores(), "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CACHE_ROOT": str(work.ROOT / "build/bench/vllm-cache"),
    }  # fmt: skip
    said = None if options.verbose else subprocess.DEVNULL
    process = subprocess.Popen(
        command(side, options, port), env=environment, start_new_session=True,
        stdout=said, stderr=said,
    )  # fmt: skip
    try:
        asyncio.run(_answers(process, port, side))
        yield port, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


async def _answers(process: "subprocess.Popen[bytes]", port: int, side: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{side} did not start (status {process.returncode}); try --verbose")
        if (await ask(port, "Hello", side)).text is not None:
            return
        await asyncio.sleep(1.0)
    raise SystemExit(f"{side} does not answer")


async def ask(port: int, prompt: Any, side: str) -> Answer:
    """One streamed chat, on a connection of its own."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    model = work.base_model() if side == "transformers" else NAME
    body = json.dumps(
        {"model": model, "messages": messages, "max_tokens": TOKENS, "temperature": 0,
         "stream": True}
    ).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    start, first, lines = time.perf_counter(), 0.0, []
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        async for line in reader:
            if line.startswith(b"data: {"):
                if not first and b'"content":"' in line.replace(b" ", b"").replace(b'""', b""):
                    first = time.perf_counter() - start
                lines.append(line)
        writer.close()
    except OSError:
        return Answer(0.0, 0.0, None)
    return Answer(first, time.perf_counter() - start, _text(lines))


def _text(lines: Sequence[bytes]) -> str | None:
    """What was said; None where it has no end."""
    chunks = [json.loads(line[6:]) for line in lines]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    if not choices or not any(choice.get("finish_reason") for choice in choices):
        return None
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def load(port: int, prompts: Sequence[Any], clients: int, side: str) -> list[Answer]:
    """All prompts, so many at a time."""
    waiting, found = list(reversed(prompts)), []

    async def client() -> None:
        while waiting:
            found.append(await ask(port, waiting.pop(), side))

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


def measure(side: str, options: argparse.Namespace, prompts: Sequence[Any]) -> dict[str, float]:
    """One fresh server: throughput of many clients, then first tokens of few."""
    from transformers import AutoTokenizer

    many, few = prompts[: options.requests], prompts[options.requests :]
    with serving(side, options) as (port, _):
        start = time.perf_counter()
        answers = asyncio.run(load(port, many, options.clients, side))
        seconds = time.perf_counter() - start
        firsts = [a.first_s for a in asyncio.run(load(port, few, FEW, side)) if a.text is not None]
    tokenizer = AutoTokenizer.from_pretrained(work.base_model())
    tokens = sum(len(tokenizer.encode(a.text)) for a in answers if a.text)
    return {
        "tokens_per_s": tokens / seconds,
        "tokens": tokens,
        "failed": sum(a.text is None for a in answers),
        "first_p95_s": float(np.quantile(firsts, 0.95)) if firsts else float("nan"),
    }


def leak(options: argparse.Namespace) -> None:
    """Resident memory of our server over many requests, of `--clients` at a time."""
    prompts = work.read("demonstrations/gpteacher.jsonl.gz", 2000)
    asked = [prompts[i % len(prompts)]["prompt"] for i in range(options.leak)]
    failed = 0
    with serving("accord", options) as (port, pid):
        for start in range(0, len(asked), 1000):
            answers = asyncio.run(
                load(port, asked[start : start + 1000], options.clients, "accord")
            )
            failed += sum(a.text is None for a in answers)
            status = Path(f"/proc/{pid}/status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0]) // 1024
            print(f"{start + len(answers):6,} requests, {failed} failed, {resident:,} MiB resident")


def main() -> None:
    """Rounds of all sides, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accord", default=sys.executable, help="python that has Accord")
    parser.add_argument("--transformers", help="python with transformers[serving]")
    parser.add_argument("--vllm", help="python with vLLM")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--leak", type=int, default=0, metavar="REQUESTS")
    parser.add_argument("--verbose", action="store_true", help="show what servers say")
    options = parser.parse_args()
    if options.leak:
        leak(options)
        return
    sides = ["accord", *(s for s in ("transformers", "vllm") if getattr(options, s))]
    rows = work.read("demonstrations/gpteacher.jsonl.gz", options.requests + 4 * FEW)
    prompts = [row["prompt"] for row in rows]
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(options.rounds):
        for side, results in found.items():
            results.append(measure(side, options, prompts))
            shown = ", ".join(f"{name} {value:.3f}" for name, value in results[-1].items())
            print(f"  {number} {side}: {shown}", file=sys.stderr)
    ours = median(r["tokens_per_s"] for r in found["accord"])
    for side, results in found.items():
        middle = {name: median(r[name] for r in results) for name in results[0]}
        rate = middle["tokens_per_s"]
        print(
            f"{side}: {rate:.0f} tokens/s (ours {ours / rate:.2f} times), first token "
            f"p95 at {FEW} clients {middle['first_p95_s']:.3f} s, "
            f"{sum(r['failed'] for r in results):.0f} of {options.requests * len(results)} failed"
        )


if __name__ == "__main__":
    main()
