"""The least time a work can take on a machine, from counted arithmetic and bytes.

A batch is its trees: a prompt, and the responses that continue it, since no work has to read a
prompt twice (the pairs of DPO and the groups of GRPO share theirs). With d the trunk's weights that
multiply (no embedding), a = layers x heads x head size, V the vocabulary, H the width, a forward is

    tokens     T = sum over trees of (p + sum r)
    attention  A = sum over trees of (p (p + 1) / 2 + sum of (r p + r (r + 1) / 2))
    forward    2 d T + 4 a A + 2 H V R

A token's query meets the keys of the A pairs it may attend to, once for the weights and once for
the values: 2 x 2 a A. R is the tokens whose log-probs are read: the responses'. A backward is twice
its forward, by the gradients of both factors of each product. Nothing is padded, computed again, or
counted that is not a product. An AdamW step reads a weight, its gradient and two moments and writes
three of them: 28 bytes a parameter.

    training   3 forwards / (operations a second) + 28 P / (bytes a second)

Sampling reads every prompt once and then takes a token a row a step. A step of rows whose lengths
are l has to read the weights and the cache, W = s (d + H V) + s x 2 a sum l bytes at s bytes a
number, and computes 2 (d + H V) rows + 4 a sum l; it takes the longer of the two:

    sampling   prompts' forward / (operations a second) + sum over steps of the longer

where the prompts' forward has one read position a tree, and the step that has read a prompt has
given the first of its tokens. Bandwidth is that of the smallest measured size that holds W: what
fits a cache is read from it.

    kto        = training + a forward (the mismatched responses, counted as long as their own)
    grpo, rloo = sampling + training
    ppo        = sampling + a forward of reference and value + epochs x training of both
                 (a shared trunk: no value's forward, and one training, since its head is H numbers)

Precision enters by s and by the operations a second; moments and weights stay float32 in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Tree = tuple[int, Sequence[int]]
"""Tokens of a prompt, and of each response to it."""


@dataclass(frozen=True)
class Shape:
    """A Llama's numbers, from its config."""

    trunk: int  # d: weights of the layers' products
    attention: int  # a: layers x heads x head size
    head: int  # H V
    parameters: int  # all that an optimizer steps

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Shape":
        """From config.json."""
        width, layers = config["hidden_size"], config["num_hidden_layers"]
        queries = config["num_attention_heads"] * config["head_dim"]
        keys = config["num_key_value_heads"] * config["head_dim"]
        if queries != keys:
            raise ValueError("grouped keys have a smaller cache; the formulas count one a query")
        layer = width * (2 * queries + 2 * keys) + 3 * width * config["intermediate_size"]
        head = width * config["vocab_size"]
        matrices = head if config["tie_word_embeddings"] else 2 * head
        norms = (2 * layers + 1) * width
        return cls(layers * layer, layers * queries, head, layers * layer + matrices + norms)


@dataclass(frozen=True)
class Machine:
    """Operations and bytes a second, and bytes a number, at one precision."""

    flops: float
    bandwidths: Sequence[tuple[float, float]]  # (bytes of a working set, bytes a second), ascending
    number: int

    @classmethod
    def of(cls, limits: dict[str, float], precision: str) -> "Machine":
        """From what `limits` measured."""
        sizes = sorted(
            (float(name.removeprefix("gbytes_").removesuffix("mb")) * 2**20, value * 1e9)
            for name, value in limits.items()
            if name.startswith("gbytes_")
        )
        return cls(limits[f"{precision}_gflops"] * 1e9, sizes, 2 if precision == "bf16" else 4)

    def bandwidth(self, working_set: float) -> float:
        """Of the smallest measured size that holds it, else of the largest."""
        return next((rate for size, rate in self.bandwidths if working_set <= size), self.bandwidths[-1][1])  # fmt: skip  # noqa: E501


def forward(shape: Shape, trees: Sequence[Tree], *, read: int) -> float:
    """Operations of one forward that reads `read` positions' logits."""
    tokens = sum(p + sum(responses) for p, responses in trees)
    pairs = sum(
        p * (p + 1) / 2 + sum(r * p + r * (r + 1) / 2 for r in responses) for p, responses in trees
    )
    return 2 * shape.trunk * tokens + 4 * shape.attention * pairs + 2 * shape.head * read


def response_tokens(trees: Sequence[Tree]) -> int:
    """R."""
    return sum(sum(responses) for _, responses in trees)


def training(shape: Shape, trees: Sequence[Tree], machine: Machine, *, reads_head: bool) -> float:
    """Seconds of one optimizer step."""
    read = response_tokens(trees) if reads_head else 0
    arithmetic = 3 * forward(shape, trees, read=read) / machine.flops
    moved = 28.0 * shape.parameters
    return arithmetic + moved / machine.bandwidth(moved * 4 / 7)  # the set: four numbers a weight


def sampling(shape: Shape, trees: Sequence[Tree], machine: Machine) -> float:
    """Seconds to sample all responses together."""
    prompts = [(p, ()) for p, _ in trees]
    seconds = forward(shape, prompts, read=len(prompts)) / machine.flops
    rows = [(p, r) for p, responses in trees for r in responses]
    for step in range(1, max((r for _, r in rows), default=0)):
        lengths = [p + step for p, r in rows if step < r]
        cached = 2 * shape.attention * sum(lengths)
        moved = machine.number * (shape.trunk + shape.head + cached)
        operations = 2 * (shape.trunk + shape.head) * len(lengths) + 2 * cached
        seconds += max(operations / machine.flops, moved / machine.bandwidth(moved))
    return seconds


def floor(
    method: str, shape: Shape, trees: Sequence[Tree], machine: Machine, *, epochs: int, shared: bool
) -> float:
    """Seconds of one step of a method on one batch."""
    if method == "sampling":
        return sampling(shape, trees, machine)
    step = training(shape, trees, machine, reads_head=method != "reward")
    if method in ("grpo", "rloo"):
        return sampling(shape, trees, machine) + step
    if method not in ("kto", "ppo"):
        return step
    reference = forward(shape, trees, read=response_tokens(trees)) / machine.flops
    if method == "kto":
        return reference + step
    if shared:
        return sampling(shape, trees, machine) + reference + epochs * step
    value = forward(shape, trees, read=0) / machine.flops
    value_step = training(shape, trees, machine, reads_head=False)
    return sampling(shape, trees, machine) + reference + value + epochs * (step + value_step)
