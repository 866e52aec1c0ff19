"""The Dockerfile, read and not built: stages, user, copied files, no secret and no foreign host."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet

from accord.commands.serve import _parser
from accord.serving.gate import OPEN_PATHS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
IGNORED = (ROOT / ".dockerignore").read_text("utf-8")


class Instruction(NamedTuple):
    word: str
    rest: str
    stage: int


def instructions(text: str) -> list[Instruction]:
    """In order, comments left out and continued lines joined; stages are counted from 0."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[Instruction] = []
    stage = -1
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(word, rest.strip(), stage))
    return found


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a file of the checkout into the build: the last rule decides."""
    sent = True
    for rule in filter(None, IGNORED.splitlines()):
        pattern = rule.removeprefix("!")
        if not rule.startswith("#") and (pattern == "*" or path.split("/")[0] == pattern):
            sent = rule.startswith("!")
    return sent


def problems(text: str) -> list[str]:
    """What is wrong with a Dockerfile of ours."""
    found, told = instructions(text), []
    froms = [shlex.split(i.rest) for i in found if i.word == "FROM"]
    last = len(froms) - 1
    if last < 1:
        told.append("one stage: compilers and caches stay in the image")
    told += [f"{f[0]}: more than an image's name" for f in froms if re.search(r"[/.@]", f[0])]
    names = [f[2] for f in froms if len(f) == 3]
    users = [i.rest for i in found if i.word == "USER" and i.stage == last]
    if not users or users[-1].split(":")[0] in ("root", "0"):
        told.append("runs as root")
    for one in found:
        words = shlex.split(one.rest)
        if one.word == "ADD":
            told.append("ADD unpacks and downloads; COPY")
        if one.word in ("ENV", "ARG") and re.search(
            r"(?i)key|token|secret|password|credential", one.rest
        ):
            told.append(f"a secret would stay in the image: {one.rest}")
        if one.word == "COPY" and words[0].startswith("--from="):
            if words[0].removeprefix("--from=") not in names:
                told.append(f"{one.rest}: no such stage")
        elif one.word == "COPY":
            told += [f"{w}: not there" for w in words[:-1] if not (ROOT / w).exists()]
            told += [f"{w}: kept out by .dockerignore" for w in words[:-1] if not is_sent(w)]
        hosts = re.findall(r"://([^/:'\"]+)", one.rest)
        told += [f"{host}: a foreign host" for host in hosts if host != "127.0.0.1"]
    return told


def last(word: str) -> str:
    return [i.rest for i in instructions(TEXT) if i.word == word][-1]


def test_nothing_is_wrong() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("USER 1000:1000\n", "", "runs as root"),
        ("USER 1000:1000\n", "USER 1000\nUSER root\n", "runs as root"),
        ("COPY src ./src", "COPY sources ./src", "sources: not there"),
        ("COPY src ./src", "COPY src tests ./", "tests: kept out"),
        ("COPY src ./src", "ADD src ./src", "ADD"),
        ("--from=build", "--from=built", "no such stage"),
        ("PYTHONUNBUFFERED=1", "ACCORD_API_KEY=sk", "a secret"),
        ("FROM python:${PYTHON_VERSION}-slim\n", "FROM mirror.example/python\n", "an image's"),
        ("FROM python:${PYTHON_VERSION}-slim\n", "", "one stage"),
        ("setuptools\n", "setuptools -i https://index.example/simple\n", "a foreign host"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_seen(old: str, new: str, message: str) -> None:
    assert old in TEXT
    assert any(message in problem for problem in problems(TEXT.replace(old, new)))


def test_it_starts_the_command_and_asks_after_its_health() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["accord"]
    options, _, command = last("HEALTHCHECK").partition("CMD ")
    assert "--start-period" in options
    address = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", json.loads(command)[-1])
    assert address and address[2] == "/health" and address[2] in OPEN_PATHS
    assert address[1] == last("EXPOSE") == str(_parser().get_default("port"))
    compile(json.loads(command)[-1], "healthcheck", "exec")


def test_torch_is_the_cpu_build_unless_told() -> None:
    arguments = dict(i.rest.split("=") for i in instructions(TEXT) if i.word == "ARG")
    assert arguments["TORCH_BACKEND"] == "cpu"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert arguments["PYTHON_VERSION"] in SpecifierSet(project["requires-python"])
    installs = [i.rest for i in instructions(TEXT) if "uv pip install" in i.rest]
    assert len(installs) == 2
    assert all("--torch-backend" in one and "-c requirements.lock" in one for one in installs)


def test_nothing_but_the_build_s_files_is_sent() -> None:
    read = {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", "src"}
    assert {path.name for path in ROOT.iterdir() if is_sent(path.name)} == read
