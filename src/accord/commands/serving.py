"""accord engine: an engine for trainers elsewhere."""

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

from rich.console import Console


def engine(arguments: list[str]) -> int:
    """Serve an engine, whose weights trainers send it (accord ppo --engine remote ...)."""
    parser = argparse.ArgumentParser(prog="accord engine", description=engine.__doc__)
    parser.add_argument("--model_name_or_path", required=True, help="what the trainer starts from")
    parser.add_argument("--engine", choices=["local", "vllm"], default="local")
    parser.add_argument("--host", default="127.0.0.1", help="others need ACCORD_ENGINE_TOKEN")
    parser.add_argument("--port", type=int, default=8711, help="0 takes any free one")
    parser.add_argument("--bf16", action="store_true", help="sample with bfloat16 weights")
    parser.add_argument("--max_batch_size", type=int, default=128, help="rows that run together")
    options = parser.parse_args(arguments)

    import torch

    from accord.core.assets import resolve_asset
    from accord.core.device import default_device
    from accord.corpora.encoding import ChatEncoder
    from accord.engine.server import EngineServer
    from accord.models.loading import load_policy, load_tokenizer
    from accord.wiring import engine_factory

    name = resolve_asset(options.model_name_or_path)
    dtype = torch.bfloat16 if options.bf16 else torch.float32
    policy = load_policy(str(name), device=default_device(), dtype=dtype)
    encoder = ChatEncoder(load_tokenizer(str(name)))
    sampler = engine_factory(options.engine)(policy, encoder, max_batch_size=options.max_batch_size)
    embeddings: Any = policy.get_input_embeddings()
    server = EngineServer(
        sampler,
        {
            "end_of_turn_id": encoder.end_of_turn_id,
            "vocabulary": embeddings.weight.shape[0],
        },
        host=options.host,
        port=options.port,
        token=os.environ.get("ACCORD_ENGINE_TOKEN"),
        # Float32 weights and the names around them.
        most_weight_bytes=8 * sum(p.numel() for p in policy.parameters()) + 2**20,
    )
    console = Console()
    console.print(f"{options.engine} engine of {Path(str(name)).name}: {server.address}")
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        # From another thread: the server waits for itself to end.
        signal.signal(signal_, lambda *_: threading.Thread(target=server.stop).start())
    server.serve()
    console.print("stopped")
    return 0
