"""Where and in which precision a stage computes, and its random state."""

import os
import platform
import random
from typing import Any

import numpy as np
import torch

from accord.core import processes


def default_device() -> torch.device:
    """This process's GPU when there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """All generator states, as tensors and plain values that `torch.save` keeps."""
    state: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = state
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, torch.from_numpy(keys.copy()), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo everything drawn since `random_state()` gave `state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy(), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        # It may have been another machine, with more of them.
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def describe_hardware() -> dict[str, Any]:
    """What the manifest says of the machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "processes": processes.count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
    }
