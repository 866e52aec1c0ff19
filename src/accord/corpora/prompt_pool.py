"""A pool of prompts: tagged, without near duplicates, its coverage by cluster; batches from it."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Message, PromptRow
from accord.corpora.checking.duplicates import near_duplicates
from accord.corpora.formats import to_prompt

_TAGS = ("id", "aim", "source", "edge_case", "red_team", "cluster", "cluster_terms")
_TERMS = 5
_THIN = 0.5
"""A cluster is thin that has less than this part of an equal share of the prompts."""


@dataclass(frozen=True)
class Prompt:
    """A prompt with its tags: what it is to show (helpful, harmless ...), where it is from, and
    whether it is an edge case of the guidelines or meant to lead the model astray.
    """

    prompt: tuple[Message, ...]
    aim: str = "unknown"
    source: str = "unknown"
    edge_case: bool = False
    red_team: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
    cluster: int = 0
    cluster_terms: str = ""

    @property
    def id(self) -> str:
        """Of the same words always the same."""
        return hash_json([dict(message) for message in self.prompt])[:16]

    @property
    def text(self) -> str:
        """All its turns."""
        return "\n".join(message["content"] for message in self.prompt)

    def row(self) -> dict[str, Any]:
        """In columns: every stage that reads prompts reads it."""
        tags = {name: getattr(self, name) for name in _TAGS}
        return {**self.columns, "prompt": [dict(m) for m in self.prompt], **tags}


@dataclass(frozen=True)
class Cluster:
    """Prompts of one kind: the words that tell it from others, and how many there are."""

    number: int
    terms: str
    prompts: int
    edge_cases: int
    red_team: int
    aims: dict[str, int]
    is_thin: bool


@dataclass(frozen=True)
class Pool:
    """Prompts with their clusters, and how many came that were nearly another."""

    prompts: list[Prompt]
    near_duplicates: int = 0


def to_pool_prompt(
    row: dict[str, Any], where: str, *, aim: str = "unknown", source: str = "unknown"
) -> Prompt:
    """A row with `prompt`, and any of the columns aim, source, edge_case and red_team.

    Raises:
        DataError: it has no prompt, or a tag is not of its kind.
    """
    found: PromptRow = to_prompt(row, where)
    for name in ("edge_case", "red_team"):
        if not isinstance(row.get(name) or False, bool):
            raise DataError(f"{where}: {name} must be true or false, got {row[name]!r}")
    return Prompt(
        found.prompt,
        str(row.get("aim") or aim),
        str(row.get("source") or source),
        bool(row.get("edge_case")),
        bool(row.get("red_team")),
        {name: value for name, value in found.columns.items() if name not in _TAGS},
        int(row.get("cluster") or 0),
        str(row.get("cluster_terms") or ""),
    )


def build_pool(
    prompts: Sequence[Prompt],
    *,
    clusters: int | None = None,
    near_threshold: float = 0.8,
    seed: int = 0,
) -> Pool:
    """Leave out what is nearly an earlier prompt, and sort the rest into kinds.

    Kinds are clusters of k-means over TF-IDF of words.

    Args:
        prompts: with tags.
        clusters: how many kinds; None takes the root of half the prompts, 30 at most.
        near_threshold: Jaccard similarity of a near duplicate.
        seed: of k-means.

    Raises:
        DataError: there are no prompts, or fewer than clusters.
    """
    repeated = near_duplicates([p.text for p in prompts], threshold=near_threshold)
    kept = [p for n, p in enumerate(prompts) if n not in repeated]
    if not kept:
        raise DataError("a pool needs prompts, and there are none")
    count = clusters or max(1, min(30, round(math.sqrt(len(kept) / 2))))
    if count > len(kept):
        raise DataError(f"{len(kept)} prompts cannot be of {count} kinds; ask for fewer clusters")
    numbers, terms = _cluster([p.text for p in kept], count, seed)
    sorted_ = [
        Prompt(p.prompt, p.aim, p.source, p.edge_case, p.red_team, p.columns, n, terms[n])
        for p, n in zip(kept, numbers, strict=True)
    ]
    return Pool(sorted_, len(repeated))


def _cluster(texts: Sequence[str], count: int, seed: int) -> tuple[list[int], list[str]]:
    """Each text's cluster, and each cluster's most telling words."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        max_features=20_000,
        # What is left of "don't" and "I've" tells no more than they do.
        stop_words=sorted(ENGLISH_STOP_WORDS | {"don", "doesn", "didn", "isn", "ve", "ll"}),
    )
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # nothing but words that tell nothing
        return [0] * len(texts), [""] * count
    found = KMeans(count, n_init=3, random_state=seed).fit(matrix)
    names = vectorizer.get_feature_names_out()
    terms = [
        " ".join(names[i] for i in np.argsort(-centre)[:_TERMS] if centre[i] > 0)
        for centre in found.cluster_centers_
    ]
    return [int(number) for number in found.labels_], terms


def coverage(prompts: Sequence[Prompt]) -> list[Cluster]:
    """What the pool has of every kind, the thinnest last."""
    groups: dict[int, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        groups[prompt.cluster].append(prompt)
    share = len(prompts) / max(1, len(groups))
    found = [
        Cluster(
            number,
            group[0].cluster_terms,
            len(group),
            sum(p.edge_case for p in group),
            sum(p.red_team for p in group),
            dict(Counter(p.aim for p in group)),
            len(group) < _THIN * share,
        )
        for number, group in groups.items()
    ]
    return sorted(found, key=lambda cluster: (-cluster.prompts, cluster.number))


def draw_batch(
    prompts: Sequence[Prompt],
    size: int,
    *,
    edge_share: float = 0.1,
    red_team_share: float = 0.1,
    used: Iterable[str] = (),
    seed: int = 0,
) -> list[Prompt]:
    """Prompts that were not used yet, of all kinds alike, with a share of hard ones.

    At least ceil(share x size) are edge cases, and as many for the red team; one that is both
    counts for both. Kinds take turns, so that a thin one is in a batch as often as a thick one, as
    long as it lasts.

    Args:
        prompts: the pool's.
        size: how many.
        edge_share: of edge cases at least.
        red_team_share: of red-team prompts at least.
        used: ids of prompts that were in earlier batches.
        seed: of the draw.

    Raises:
        DataError: there are not enough prompts, edge cases or red-team prompts left.
    """
    done = set(used)
    rng = np.random.default_rng([seed, len(done)])
    left = [p for p in prompts if p.id not in done]
    if len(left) < size:
        raise DataError(f"{len(left)} prompts are left in the pool, too few for a batch of {size}")
    order = [left[i] for i in rng.permutation(len(left))]
    chosen: dict[str, Prompt] = {}
    for name, share in (("red_team", red_team_share), ("edge_case", edge_share)):
        missing = math.ceil(share * size) - sum(getattr(p, name) for p in chosen.values())
        fitting = [p for p in order if getattr(p, name) and p.id not in chosen]
        if missing > len(fitting):
            raise DataError(
                f"a batch of {size} needs {missing} more {name} prompts, and {len(fitting)} are "
                "left; write some, or ask for a smaller share"
            )
        chosen |= {p.id: p for p in _in_turn(fitting, chosen.values())[: max(0, missing)]}
    rest = [p for p in order if p.id not in chosen]
    chosen |= {p.id: p for p in _in_turn(rest, chosen.values())[: max(0, size - len(chosen))]}
    drawn = list(chosen.values())[:size]
    # The hard ones are not to come first.
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _in_turn(prompts: Sequence[Prompt], chosen: Iterable[Prompt]) -> list[Prompt]:
    """Prompts so that every kind's share grows alike, from what is chosen already."""
    counts = Counter(p.cluster for p in chosen)
    turns: list[tuple[int, int, Prompt]] = []
    for prompt in prompts:
        turns.append((counts[prompt.cluster], len(turns), prompt))
        counts[prompt.cluster] += 1
    return [prompt for _, _, prompt in sorted(turns, key=lambda turn: turn[:2])]
