"""Several processes that train one model, started by `accelerate launch` (or `torchrun`).

Every process runs the same program on the same data and computes its share of each batch; sums over
all processes make the results those of one process. What is written is written by the main one.
Imports torch only when there is more than one process.
"""

import contextlib
import datetime
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


_IS_ALONE = False


def count() -> int:
    """How many processes work together."""
    return 1 if _IS_ALONE else int(os.environ.get("WORLD_SIZE", "1"))


def shards() -> bool:
    """Whether each process keeps a part of what trains (`accelerate launch` with FSDP), or all."""
    return count() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, the main process works as if there were no other; the others stay outside."""
    global _IS_ALONE
    _IS_ALONE = True
    try:
        yield
    finally:
        _IS_ALONE = False


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def start() -> None:
    """Meet the other processes; call it before anything else of this module but the above."""
    if count() == 1:
        return
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        return
    # Each process loads the whole model before it keeps its part; transformers, told by the
    # launcher to spare memory, would leave all but the first without weights.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    # Counts and objects travel as CPU tensors, gradients on the devices. The limit is long because
    # the others wait while the main process does a whole stage that does not train.
    backend = "cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(backend, timeout=datetime.timedelta(days=7))


def share(rows: Sequence[T]) -> Sequence[T]:
    """This process's part of a batch: every count-th row."""
    return rows[rank() :: count()]


def gathered(mine: T) -> list[T]:
    """What every process has, in the order of their ranks; anything that can be pickled."""
    if count() == 1:
        return [mine]
    import torch.distributed as dist

    everybody: list[Any] = [None] * count()
    dist.all_gather_object(everybody, mine)
    return everybody


def unshared(mine: Sequence[T]) -> list[T]:
    """The whole list of which every process has its `share`."""
    parts = gathered(list(mine))
    whole: list[Any] = [None] * sum(map(len, parts))
    for number, part in enumerate(parts):
        whole[number :: len(parts)] = part
    return whole


def summed(totals: Mapping[str, float]) -> dict[str, float]:
    """Sums over processes, by name; a process whose share was empty may lack names."""
    parts = gathered(dict(totals))
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def summed_tensor(mine: "Tensor") -> "Tensor":
    """The sum over processes of a tensor of one shape; without gradient."""
    if count() > 1:
        import torch.distributed as dist

        dist.all_reduce(mine)
    return mine


def sum_gradients(parameters: "Iterable[nn.Parameter]") -> None:
    """Give every process the sum of all gradients; one that computed nothing adds 0.

    Those of sharded weights are sums already.
    """
    if count() == 1:
        return
    import torch
    from torch.distributed.tensor import DTensor

    trained = [p for p in parameters if p.requires_grad and not isinstance(p, DTensor)]
    if not trained:
        return
    has_one = torch.tensor([p.grad is not None for p in trained], dtype=torch.int32)
    used = [p for p, n in zip(trained, summed_tensor(has_one).tolist(), strict=True) if n]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
    together = summed_tensor(torch.cat([g.reshape(-1) for g in gradients]))
    sizes = [g.numel() for g in gradients]
    for parameter, flat in zip(used, torch.split(together, sizes), strict=True):
        parameter.grad = flat.view_as(parameter)


def by_main(work: Callable[[], T]) -> T:
    """What the main process found by itself, for all; an error of its own is everybody's."""
    if count() == 1:
        return work()
    found, error = None, None
    if is_main():
        try:
            with alone():
                found = work()
        except Exception as reason:
            error = reason
    found, told = gathered((found, error and _that_travels(error)))[0]
    error = error or told  # the main process's own says where it was raised
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def _that_travels(error: Exception) -> Exception:
    """The error, or one that says the same where the other processes could not be sent it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def wait() -> None:
    """Until every process is here."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier()
