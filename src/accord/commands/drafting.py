"""accord constitution propose, vote, draft: principles that people write and decide on together."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from accord.core import files
from accord.core.errors import ConfigError
from accord.core.types import Rule


def propose(arguments: list[str]) -> int:
    """Put up tasks in the annotation app in which people propose rules, a sentence each."""
    parser = _parser("propose", propose)
    parser.add_argument("--people", type=int, required=True, help="how many are to be asked")
    parser.add_argument("--each", type=int, default=1, help="proposals a part that each may make")
    given = parser.parse_args(arguments)
    from accord.store import drafting
    from accord.store.board import SqlTaskBoard

    with _opened(given.database, may_be_new=True) as database:
        drafting.open_project(database, given.project)
        tasks = drafting.proposal_tasks(given.project, people=given.people, each=given.each)
        new = SqlTaskBoard(database).put_up(tasks)
    print(f"{given.project}: {new} new tasks for {given.people} people; they write in")
    print(f"  accord label --project {given.project}")
    return 0


def vote(arguments: list[str]) -> int:
    """Put up tasks in which people vote on what was proposed so far."""
    parser = _parser("vote", vote)
    parser.add_argument("--people", type=int, required=True, help="how many are to be asked")
    parser.add_argument(
        "--kind",
        choices=("likert", "pairwise", "ranking"),
        default="likert",
        help="rate each rule (the default), compare all pairs, or rank all at once",
    )
    given = parser.parse_args(arguments)
    from accord.store import drafting
    from accord.store.board import SqlTaskBoard
    from accord.store.judgements import SqlJudgements

    with _opened(given.database) as database:
        proposals = drafting.proposals_of(SqlJudgements(database).current(given.project))
        tasks = drafting.vote_tasks(given.project, proposals, kind=given.kind, people=given.people)
        new = SqlTaskBoard(database).put_up(tasks)
    print(f"{given.project}: {len(proposals)} proposals, {new} new tasks; people vote in")
    print(f"  accord label --project {given.project}")
    return 0


def draft(arguments: list[str]) -> int:
    """Write the constitution that a rule of social choice makes of the votes."""
    parser = _parser("draft", draft)
    parser.add_argument("--rule", choices=get_args(Rule), required=True, help="of social choice")
    parser.add_argument("--output", type=Path, required=True, help="the constitution, as .toml")
    parser.add_argument("--size", type=int, default=12, help="principles, at most")
    parser.add_argument("--name", help="of the constitution (default: the project's)")
    parser.add_argument(
        "--group_by", help="what voters declared of themselves; a group is then one voice"
    )
    parser.add_argument(
        "--quota", action="append", default=[], metavar="GROUP=WEIGHT", help="for --rule quota"
    )
    given = parser.parse_args(arguments)
    if given.output.suffix != ".toml":
        raise ConfigError(f"{given.output}: expected a name that ends with .toml")
    if given.size < 1:
        raise ConfigError(f"--size: expected at least 1, got {given.size}")
    if (given.rule == "quota") != bool(given.quota and given.group_by):
        raise ConfigError("--rule quota needs --group_by and --quota, and they need it")
    with _opened(given.database) as database:
        made, export = _draft(database, given)
    print(f"{given.output}: {made.label}, {len(made.principles)} principles")
    decision = made.decision
    print(f"by {decision.rule}, {decision.voters} voters, {len(decision.options)} rules; {export}")
    for option in decision.options:
        place = option.get("place", "-")
        print(f"  {place!s:>3}  {option['support']:.2f}  {option['text']}")
    return 0


def _draft(database: Any, given: argparse.Namespace) -> tuple[Any, str]:
    import numpy as np

    from accord.annotation.elections import elect, preferences_of
    from accord.judges.drafting import as_toml, drafted
    from accord.store.accounts import SqlAccounts
    from accord.store.drafting import poll_of, proposals_of
    from accord.store.judgements import SqlJudgements
    from accord.store.location import shown

    log = SqlJudgements(database)
    standing = log.current(given.project)
    poll = poll_of(standing)
    groups = {voter: voter for voter in poll.voters}
    if given.group_by:
        accounts = {
            a.name: (a.groups or {}).get(given.group_by) for a in SqlAccounts(database).all()
        }
        # Who declared nothing is a group: nobody's vote is lost.
        groups = {voter: accounts.get(voter) or "undeclared" for voter in poll.voters}
    names = sorted(set(groups.values()))
    sizes = np.array([float(list(groups.values()).count(name)) for name in names])
    preferences = preferences_of(poll.ballots, groups, len(poll.texts))
    quotas = _quotas(given.quota, names) if given.quota else None
    elected = elect(preferences, sizes, given.rule, given.size, quotas=quotas)
    proposed = [name for p in proposals_of(standing) for name in p.judgement_ids]
    ids = sorted({*proposed, *poll.judgement_ids})
    made = drafted(
        poll,
        elected,
        name=given.name or given.project,
        version=1,
        project=given.project,
        rule=given.rule,
        votes=files.hash_json(ids),
    )
    made = _numbered(made, given.output)
    files.write_text(given.output, as_toml(made))
    rows = [dict(option) for option in made.decision.options] if made.decision else []
    query = {
        "what": "constitution",
        "project": given.project,
        "rule": given.rule,
        "group_by": given.group_by,
        "constitution": made.label,
        "file": str(given.output.resolve()),
    }
    sha256 = log.record_export(rows, ids, query)
    note = {
        "export_sha256": sha256,
        "file_sha256": files.hash_path(given.output),
        "store": shown(database),
        "query": query,
        "rows": len(rows),
        "judgements": len(ids),
    }
    files.write_json(given.output.with_name(f"{given.output.name}.export.json"), note)
    return made, f"export {sha256} of {len(ids)} judgements"


def _quotas(given: list[str], names: list[str]) -> Any:
    import numpy as np

    found = dict(entry.partition("=")[::2] for entry in given)
    if set(found) != set(names):
        raise ConfigError(f"--quota: expected one for each of {', '.join(names)}")
    try:
        return np.array([float(found[name]) for name in names])
    except ValueError:
        raise ConfigError(f"--quota: expected GROUP=WEIGHT, got {given}") from None


def _numbered(made: Any, output: Path) -> Any:
    """With one more than the version of what is there, unless that says the same."""
    from accord.judges.constitution import read_constitution

    if not output.exists():
        return made
    before = read_constitution(output)
    same = made.model_copy(update={"version": before.version})
    return same if same.sha256 == before.sha256 else _next(made, before.version)


def _next(made: Any, version: int) -> Any:
    return made.model_copy(update={"version": version + 1})


def _parser(action: str, function: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"accord constitution {action}", description=function.__doc__, allow_abbrev=False
    )
    parser.add_argument("--project", required=True, help="of the annotation app")
    parser.add_argument("--database", help="a SQLite file or a URL (default: ACCORD_DATABASE_URL)")
    return parser


@contextmanager
def _opened(reference: str | None, *, may_be_new: bool = False) -> Iterator[Any]:
    from accord.store.location import open_database

    database = open_database(reference, may_be_new=may_be_new)
    try:
        yield database
    finally:
        database.close()
