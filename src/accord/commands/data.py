"""accord data: looking at data, and moving judgements into, out of and between stores."""

import argparse
from collections.abc import Callable

from rich.console import Console

from accord.commands import store
from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError, describe_choice


def data(arguments: list[str]) -> int:
    """accord data ACTION: one action; accord data ACTION --help has its options."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print("usage: accord data ACTION [options]\n")
        for name, action in _ACTIONS.items():
            print(f"  {name:<9}{(action.__doc__ or '').splitlines()[0]}")
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


_ACTIONS: dict[str, Callable[[list[str]], int]] = {
    "inspect": inspect,
    "import": store.import_,
    "export": store.export,
    "migrate": store.migrate,
    "backup": store.backup,
    "erase": store.erase,
}
