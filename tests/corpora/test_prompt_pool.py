"""A pool knows its kinds of prompt, and batches have their share of all and of hard ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from accord import cli
from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.prompt_pool import Prompt, build_pool, coverage, draw_batch, to_pool_prompt

NAMES = [f"name{n}" for n in range(15)]


def prompt(text: str, **values: bool) -> Prompt:
    return Prompt((Message(role="user", content=text),), **values)


def kinds() -> list[Prompt]:
    """Three kinds, of 60, 30 and 5 prompts; every tenth is an edge case, every sixth red team."""
    cooking = [f"recipe soup onion cook pot {a} {b}" for a in NAMES for b in NAMES][:60]
    sums = [f"equation algebra solve integral {a} {b}" for a in NAMES for b in NAMES][:30]
    travel = [f"train flight hotel travel passport {a}" for a in NAMES][:5]
    texts = [*cooking, *sums, *travel]
    return [
        prompt(text, edge_case=n % 10 == 0, red_team=n % 6 == 0) for n, text in enumerate(texts)
    ]


def test_kinds_are_found_and_thin_ones_shown() -> None:
    pool = build_pool(kinds(), clusters=3, near_threshold=0.99)
    found = coverage(pool.prompts)
    assert [cluster.prompts for cluster in found] == [60, 30, 5]
    assert [cluster.is_thin for cluster in found] == [False, False, True]
    assert "soup" in found[0].terms and "algebra" in found[1].terms and "hotel" in found[2].terms
    assert sum(cluster.edge_cases for cluster in found) == 10
    again = build_pool(kinds(), clusters=3, near_threshold=0.99)
    assert again == pool


def test_near_duplicates_are_left_out() -> None:
    text = "how do I cook a very good onion soup for ten hungry guests tonight"
    pool = build_pool([prompt(text), prompt(text.upper() + "?"), prompt("why is the sky blue")])
    assert [p.text for p in pool.prompts] == [text, "why is the sky blue"]
    assert pool.near_duplicates == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_has_its_shares(seed: int) -> None:
    pool = build_pool(kinds(), clusters=3, near_threshold=0.99)
    batch = draw_batch(pool.prompts, 12, edge_share=0.2, red_team_share=0.3, seed=seed)
    assert len({p.id for p in batch}) == 12
    assert sum(p.edge_case for p in batch) >= 3 and sum(p.red_team for p in batch) >= 4
    counts = Counter(p.cluster for p in batch)
    assert sorted(counts.values()) == [4, 4, 4]  # the thin kind as often as the thick one
    assert batch == draw_batch(pool.prompts, 12, edge_share=0.2, red_team_share=0.3, seed=seed)
    used = [p.id for p in batch]
    second = draw_batch(pool.prompts, 12, used=used, edge_share=0.1, seed=seed)
    assert not set(used) & {p.id for p in second}


def test_hard_prompts_do_not_come_first() -> None:
    pool = build_pool(kinds(), clusters=3, near_threshold=0.99)
    batches = [draw_batch(pool.prompts, 20, seed=seed, red_team_share=0.3) for seed in range(20)]
    first = sum(p.red_team for batch in batches for p in batch[:6])
    assert first < 0.6 * 6 * 20


def test_what_cannot_be_drawn_is_refused() -> None:
    pool = build_pool(kinds(), clusters=3, near_threshold=0.99)
    with pytest.raises(DataError, match="95 prompts are left in the pool, too few for .* 96"):
        draw_batch(pool.prompts, 96)
    with pytest.raises(DataError, match="needs .* more edge_case prompts, and .* are left"):
        draw_batch(pool.prompts, 40, edge_share=0.5, red_team_share=0.0)
    with pytest.raises(DataError, match="cannot be of 7 kinds"):
        build_pool([prompt("one"), prompt("two")], clusters=7)
    with pytest.raises(DataError, match="row 1: edge_case must be true or false, got 'yes'"):
        to_pool_prompt({"prompt": "Q", "edge_case": "yes"}, "row 1")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, pool, batch = (tmp_path / f"{name}.jsonl" for name in ("prompts", "pool", "batch"))
    rows = [{"prompt": p.text, "edge_case": p.edge_case, "n": n} for n, p in enumerate(kinds())]
    file.write_text("\n".join(map(json.dumps, rows)))
    make = ["data", "pool", str(file), "--output", str(pool), "--clusters", "3"]
    assert cli.main([*make, "--aim", "helpful", "--near_threshold", "0.99"]) == 0
    shown = capsys.readouterr().out
    assert "95 prompts" in shown and "thin" in shown and "hotel" in shown
    draw = ["data", "batch", str(pool), "--size", "10", "--red_team_share", "0"]
    assert cli.main([*draw, "--output", str(batch)]) == 0
    found = [json.loads(line) for line in batch.read_text().splitlines()]
    assert len(found) == 10 and sum(row["edge_case"] for row in found) >= 1
    assert {row["aim"] for row in found} == {"helpful"} and all("n" in row for row in found)
    second = tmp_path / "second.jsonl"
    assert cli.main([*draw, "--used", str(batch), "--output", str(second)]) == 0
    others = [json.loads(line) for line in second.read_text().splitlines()]
    assert not {row["id"] for row in found} & {row["id"] for row in others}
    assert cli.main([*draw, "--edge_share", "1.5", "--output", str(second)]) == 2
    assert "shares lie in [0, 1]" in capsys.readouterr().err
