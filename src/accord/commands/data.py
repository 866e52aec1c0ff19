"""accord data: looking at data, and moving judgements into, out of and between stores."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from accord.commands import assistance, prompts, retrieval, store, values
from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError, describe_choice


def data(arguments: list[str]) -> int:
    """accord data ACTION: one action; accord data ACTION --help has its options."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print("usage: accord data ACTION [options]\n")
        for name, action in _ACTIONS.items():
            print(f"  {name:<11}{(action.__doc__ or '').splitlines()[0]}")
        return 0
    if arguments[0] not in _ACTIONS:
        raise ConfigError(f"accord data: no action {describe_choice(arguments[0], list(_ACTIONS))}")
    return _ACTIONS[arguments[0]](arguments[1:])


def inspect(arguments: list[str]) -> int:
    """What a file would train: counts, lengths, and a row with what is trained on."""
    parser = argparse.ArgumentParser(prog="accord data inspect", description=inspect.__doc__)
    parser.add_argument("file", help="a data file or dataset name")
    parser.add_argument("--model", required=True, help="whose tokenizer and chat template to use")
    parser.add_argument("--max_length", "--max-length", type=int, default=1024)
    options = parser.parse_args(arguments)
    from accord.corpora import inspection
    from accord.corpora.encoding import ChatEncoder
    from accord.models.loading import load_tokenizer

    encoder = ChatEncoder(load_tokenizer(resolve_asset(options.model)))
    inspection.inspect(options.file, encoder, options.max_length, Console())
    return 0


def check(arguments: list[str]) -> int:
    """Whether data is fit to train on: quality, duplicates, contamination by benchmarks."""
    parser = argparse.ArgumentParser(prog="accord data check", description=check.__doc__)
    parser.add_argument("files", nargs="+", help="data files or dataset names")
    parser.add_argument(
        "--against", nargs="+", default=[], help="benchmarks that must not be in it"
    )
    parser.add_argument("--ngram", type=int, default=13, help="words that may not be shared")
    parser.add_argument(
        "--near_threshold", type=float, default=0.8, help="similarity of a near duplicate, 0..1"
    )
    parser.add_argument("--language", help="what the texts should be in, such as en")
    parser.add_argument("--skip", default="", help="filters to leave out: NAME,NAME")
    parser.add_argument("--output", type=Path, help="the rows that are left, as .jsonl")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if options.output is not None and options.output.suffix != ".jsonl":
        raise ConfigError(f"{options.output}: expected a name that ends with .jsonl")
    from accord.core import files
    from accord.corpora.checking import Settings, check_rows
    from accord.corpora.readers import read_rows

    rows = [
        (f"{name}, row {number}", row)
        for name in options.files
        for number, row in enumerate(read_rows(name), start=1)
    ]
    checked = check_rows(
        rows,
        Settings(
            tuple(options.against),
            options.ngram,
            options.near_threshold,
            options.language,
            tuple(filter(None, options.skip.split(","))),
        ),
    )
    report = {"files": options.files, "against": options.against, **checked.report()}
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        Console().print(checked.table())
    if options.output is not None:
        files.write_jsonl(options.output, checked.kept)
        files.write_json(options.output.with_name(f"{options.output.name}.check.json"), report)
    return 0


_ACTIONS: dict[str, Callable[[list[str]], int]] = {
    "inspect": inspect,
    "check": check,
    "index": retrieval.index,
    "pool": prompts.pool,
    "batch": prompts.batch,
    "import": store.import_,
    "export": store.export,
    "migrate": store.migrate,
    "backup": store.backup,
    "erase": store.erase,
    "values": values.values,
    "assistance": assistance.assistance,
}
