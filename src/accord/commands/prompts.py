"""accord data pool and batch: prompts to ask next, and which kinds of them are thin."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from accord.core import files
from accord.core.errors import ConfigError


def pool(arguments: list[str]) -> int:
    """Make a pool of tagged prompts, without near duplicates, and show what it covers."""
    parser = argparse.ArgumentParser(prog="accord data pool", description=pool.__doc__)
    parser.add_argument("files", nargs="+", help="prompts; aim, source, edge_case, red_team count")
    parser.add_argument("--output", type=Path, required=True, help="the pool, as .jsonl")
    parser.add_argument("--aim", default="unknown", help="of prompts that do not say it")
    parser.add_argument("--source", help="of prompts that do not say it (default: the file)")
    parser.add_argument("--clusters", type=int, help="kinds of prompt (default: by their number)")
    parser.add_argument("--near_threshold", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    from accord.corpora.prompt_pool import build_pool, coverage, to_pool_prompt
    from accord.corpora.readers import read_rows

    prompts = [
        to_pool_prompt(
            row,
            f"{name}, row {number}",
            aim=options.aim,
            source=options.source or Path(name).name,
        )
        for name in options.files
        for number, row in enumerate(read_rows(name), start=1)
    ]
    made = build_pool(
        prompts,
        clusters=options.clusters,
        near_threshold=options.near_threshold,
        seed=options.seed,
    )
    files.write_jsonl(options.output, [prompt.row() for prompt in made.prompts])
    table = Table(
        title=f"{len(made.prompts)} prompts; {made.near_duplicates} near duplicates left out",
        title_justify="left",
    )
    for name in ("kind", "prompts", "edge cases", "red team", "aims", ""):
        table.add_column(name)
    for cluster in coverage(made.prompts):
        aims = ", ".join(f"{aim} {count}" for aim, count in cluster.aims.items())
        counts = map(str, (cluster.prompts, cluster.edge_cases, cluster.red_team))
        table.add_row(cluster.terms, *counts, aims, "thin" if cluster.is_thin else "")
    Console().print(table)
    return 0


def batch(arguments: list[str]) -> int:
    """Draw prompts from a pool: of all kinds alike, with a share of hard ones."""
    parser = argparse.ArgumentParser(prog="accord data batch", description=batch.__doc__)
    parser.add_argument("pool", help="what accord data pool wrote")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--edge_share", type=float, default=0.1, help="of edge cases, at least")
    parser.add_argument("--red_team_share", type=float, default=0.1, help="of red team, at least")
    parser.add_argument("--used", nargs="*", default=[], help="earlier batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the batch, as .jsonl")
    options = parser.parse_args(arguments)
    if not all(0 <= share <= 1 for share in (options.edge_share, options.red_team_share)):
        raise ConfigError("accord data batch: shares lie in [0, 1]")
    from accord.corpora.prompt_pool import draw_batch, to_pool_prompt
    from accord.corpora.readers import read_rows

    def read(name: str) -> list[tuple[str, dict[str, object]]]:
        return [(f"{name}, row {n}", row) for n, row in enumerate(read_rows(name), start=1)]

    used = [to_pool_prompt(row, where).id for name in options.used for where, row in read(name)]
    drawn = draw_batch(
        [to_pool_prompt(row, where) for where, row in read(options.pool)],
        options.size,
        edge_share=options.edge_share,
        red_team_share=options.red_team_share,
        used=used,
        seed=options.seed,
    )
    files.write_jsonl(options.output, [prompt.row() for prompt in drawn])
    hard = (sum(p.edge_case for p in drawn), sum(p.red_team for p in drawn))
    kinds = len({p.cluster for p in drawn})
    print(
        f"{options.output}: {len(drawn)} prompts of {kinds} kinds, {hard[0]} edge cases, "
        f"{hard[1]} for the red team"
    )
    return 0
