"""A model in shares, a part of every weight for each process (FSDP2), and whole again.

Weights, gradients and optimizer states are kept in parts; a layer's weights are gathered for the
time of its forward and its backward. Names stay as they are, so a checkpoint is the same however
many processes wrote it. Gradients are sums over processes, as elsewhere.

Source: Zhao et al. 2023, arXiv:2304.11277; `torch.distributed.fsdp.fully_shard`.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from accord.core import processes
from accord.core.errors import ModelError
from accord.models.decoder_layers import run_layers
from accord.models.logprobs import bare_model, hidden_states, run_trunk

T = TypeVar("T")

_ROOT: ContextVar[nn.Module | None] = ContextVar("root", default=None)


def shard(model: nn.Module, *, leads: bool = True) -> nn.Module:
    """Leave each process a part of every weight, in place; all processes call it together.

    Args:
        model: a `transformers` model, bare or under peft, whole on every process.
        leads: whether it is the one that `in_step` passes along; a stage has one.

    Raises:
        ModelError: its family does not name its layers.
    """
    root: Any = bare_model(model)
    names = set(getattr(root, "_no_split_modules", None) or [])
    layers = [module for module in root.modules() if type(module).__name__ in names]
    if not layers:
        raise ModelError(f"{type(root).__name__} names no layers to shard; run it without FSDP")
    model.__dict__["skeleton"] = _with_parameters(
        model, {n: torch.empty_like(p, device="meta") for n, p in model.named_parameters()}
    )
    mesh = init_device_mesh(root.device.type, (processes.count(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # The embeddings and the head stay whole from a forward to its backward: the head is read
    # between the two, from outside the model's own forward.
    fully_shard(root, mesh=mesh, reshard_after_forward=False)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    run_layers(root, False)  # a shard's layers gather their weights in their own forward
    root.run_trunk = MethodType(run_trunk, root)
    register_fsdp_forward_method(root, "run_trunk")
    root.register_load_state_dict_pre_hook(_take_shares)
    if leads:
        _ROOT.set(root)
    return model


def _with_parameters(model: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model with other parameters; tied ones stay tied."""
    memo = {
        id(old): nn.Parameter(parameters[name], requires_grad=old.requires_grad)
        for name, old in model.named_parameters()
    }
    return copy.deepcopy(model, memo)


def _take_shares(root: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let `load_state_dict` take whole tensors, which are the same on every process."""
    for name, parameter in root.named_parameters(remove_duplicate=False):
        given = state.get(prefix + name)
        if given is not None:
            state[prefix + name] = share_of(given, parameter)


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that all have, where `like` is a part; else the tensor."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def gathered(tree: T) -> T:
    """A tree of dicts, lists and tuples with its parts made whole on the CPU, on the main process;
    the others, which all have to take part, get None in their places.
    """
    if isinstance(tree, DTensor):
        whole = tree.full_tensor()
        return whole.cpu() if processes.is_main() else None  # type: ignore[return-value]
    if isinstance(tree, Mapping):
        return {key: gathered(value) for key, value in tree.items()}  # type: ignore[return-value]
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value) for value in tree)
    return tree


def whole(model: nn.Module) -> nn.Module:
    """The model as it was built, with the weights of now, when training is over; one that is not
    sharded is itself.

    All processes call it together, and each gets all of it.
    """
    _ROOT.set(None)
    return replica(model)


def replica(model: nn.Module) -> nn.Module:
    """The same while training goes on."""
    skeleton = model.__dict__.get("skeleton")
    if skeleton is None:
        return model
    weights = whole_weights(model)
    names = [name for name, _ in skeleton.named_parameters()]
    return _with_parameters(skeleton, {name: weights[name] for name in names})


@torch.no_grad()
def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with all of every weight; all processes call it together."""
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in model.state_dict().items()
    }


@contextlib.contextmanager
def unsharded() -> Iterator[None]:
    """Inside, what trains is whole on every process: `in_step` passes nothing along."""
    token = _ROOT.set(None)
    try:
        yield
    finally:
        _ROOT.reset(token)


def in_step(pieces: Sequence[list[int]], count: int) -> Iterator[list[int]]:
    """The pieces of a batch; then, up to `count`, passes that compute nothing.

    A sharded model's forward and backward gather weights from everybody: a process with fewer
    pieces than another has to take part in the other's. Use all of it.
    """
    yield from pieces
    root = _ROOT.get()
    for _ in range(count - len(pieces) if root is not None else 0):
        _pass_along(root)


def _pass_along(root: Any) -> None:
    ids = torch.zeros(1, 1, dtype=torch.long, device=root.device)
    hidden = hidden_states(root, ids, torch.ones_like(ids))
    if not torch.is_grad_enabled():
        return
    # Everybody's gradients are of the same weights, the head's among them: it is whole here.
    loss = 0 * hidden.sum()
    for parameter in root.parameters():
        if parameter.requires_grad and not isinstance(parameter, DTensor):
            loss = loss + 0 * parameter.sum()
    loss.backward()  # type: ignore[no-untyped-call]
