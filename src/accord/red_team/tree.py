"""A tree of attacks with pruning: what looks promising branches, what strays or fails is cut."""

from accord.red_team.attack import Ask, Conversation, Turns, said
from accord.red_team.attacker_turns import (
    attacker_asks,
    is_yes,
    message_in,
    opening,
    same_topic,
)
from accord.red_team.behaviours import Behaviour
from accord.red_team.by_model import told


class Tree:
    """PAIR's conversations as a tree.

    Source: Mehrotra et al. 2023, arXiv:2312.02119 (TAP). On each level every leaf branches; the
    attacker model itself says which messages left the topic, and these are never said; of the
    others the `width` with the highest scores go on.
    """

    name = "tap"
    family = "search"
    needs_attacker = True

    def __init__(self, branching: int = 2, width: int = 3) -> None:
        self.branching = branching
        self.width = width

    def turns(self, behaviour: Behaviour, *, budget: int, seed: int) -> Turns:
        """Three steps a level: messages, whether they are on topic, the target's replies."""
        leaves: list[Conversation] = [opening(behaviour.text)]
        left = budget
        while left > 0 and leaves:
            parents = [leaf for leaf in leaves for _ in range(self.branching)]
            seeds = [seed + branch for _ in leaves for branch in range(self.branching)]
            written = yield attacker_asks(parents, seeds)
            # Two branches that say the same are one.
            found = {message: leaf for leaf, reply in zip(parents, written, strict=True)
                     if (message := message_in(reply))}  # fmt: skip
            if not found:
                return
            asked = [same_topic(behaviour.text, message) for message in found]
            verdicts = yield attacker_asks(asked, [seed] * len(asked))
            kept = [m for m, verdict in zip(found, verdicts, strict=True) if is_yes(verdict)]
            kept = kept[:left]
            if not kept:
                return
            replies = yield [Ask(said(message), seed=seed) for message in kept]
            left -= len(kept)
            if any(reply.is_success for reply in replies):
                return
            grown = [
                (reply.harm if reply.harm == reply.harm else -1.0, told(found[m], m, reply))
                for m, reply in zip(kept, replies, strict=True)
            ]
            best = sorted(grown, key=lambda leaf: -leaf[0])[: self.width]
            leaves = [leaf for _, leaf in best]
