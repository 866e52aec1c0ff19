"""The project's own rules: sizes, paths, documented fields, locked versions, a light CLI."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def tracked_files() -> list[Path]:
    """Files of the checkout that git tracks or would add."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def config_modules() -> list[str]:
    files = sorted(SRC.glob("accord/stages/*/config.py"))
    return [".".join(file.relative_to(SRC).with_suffix("").parts) for file in files]


def locked_versions() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_files_are_short() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in SRC.rglob("*.py")}
    long = {str(file.relative_to(ROOT)): n for file, n in lengths.items() if n > MAX_FILE_LINES}
    assert not long, f"over {MAX_FILE_LINES} lines; find the second idea and name it: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}": n
        for file in SRC.rglob("*.py")
        for node in functions(file)
        if (n := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not long, f"over {MAX_FUNCTION_LINES} lines: {long}"


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_names_a_path_of_one_machine() -> None:
    absolute = re.compile(rb"(?<![\w.~:/-])/(?:root|work|home/\w+|Users/\w+)/")
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]!r}"
        for file in tracked_files()
        if b"\0" not in (content := file.read_bytes())
        for number, line in enumerate(content.splitlines(), start=1)
        if absolute.search(line)
    ]
    assert not found, "\n".join(found)


def test_every_config_field_is_documented() -> None:
    modules = config_modules()
    assert modules, "no accord/stages/*/config.py found"
    undocumented = [
        f"{model.__module__}.{model.__name__}.{name}"
        for module in modules
        for model in vars(importlib.import_module(module)).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert not undocumented, f"put a string under each of these fields: {undocumented}"


def test_cli_and_configs_import_no_torch() -> None:
    names = ["accord.cli", "accord.core.config", *config_modules()]
    heavy = ["torch", "transformers", "datasets", "scipy", "sklearn", "matplotlib"]
    script = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {heavy} if heavy in sys.modules]
    assert not loaded, f"importing {{name}} imports {{loaded}}"
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_lock_satisfies_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["dev"]]  # vLLM fixes versions of its own
    locked = locked_versions()
    for line in lines:
        requirement = Requirement(line)
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{line} is not in requirements.lock; run `make lock`"
        assert requirement.specifier.contains(version), f"{line}, but {version} is locked"


def test_lock_pins_versions_and_not_builds_or_addresses() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    odd = [line for line in lines[1:] if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not odd, f"expected name==version, with no +local label: {odd}"


def test_changelog_has_an_unreleased_section() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_tiny_model_speaks_chatml(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    messages = [{"role": "user", "content": "naïve 12?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer.encode(text)
    assert text == "<|im_start|>user\nnaïve 12?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(ids) == text
    assert (ids[0], ids.count(1), ids.count(2)) == (1, 2, 1)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 2, 3)
    assert len(tokenizer) == model.config.vocab_size == 300


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for file in tracked_files():
        copy = source / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("accord-*.whl")
    expected = {file.relative_to(SRC).as_posix() for file in tracked_files() if SRC in file.parents}
    missing = expected - set(zipfile.ZipFile(wheel).namelist())
    assert not missing, f"not in the wheel (an __init__.py, or package-data?): {sorted(missing)}"
