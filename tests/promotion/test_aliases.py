"""A file of aliases: models that stay as they were, rollback, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from accord.core.errors import CheckpointError, ConfigError, NotFoundError
from accord.core.files import hash_path
from accord.promotion.aliases import checked_model, deploy, read_aliases, roll_back


def model(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "weights").write_text(text)
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part" / "more").write_text("more")
    return folder


def put(file: Path, folder: Path, alias: str = "chat") -> str:
    sha256 = hash_path(folder)
    deploy(file, alias, folder, sha256=sha256, at="now", run=file.parent.parent / "deploy")
    return sha256


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "deployed" / "aliases.json"


def test_an_alias_leads_to_the_last_and_back(tmp_path: Path, file: Path) -> None:
    digests = [put(file, model(tmp_path / "m", text)) for text in ("one", "two", "three")]
    found = read_aliases(file)["chat"]
    assert found.serves.sha256 == digests[2]
    assert [one.sha256 for one in found.before] == [digests[1], digests[0]]
    assert found.serves.run == "../deploy"
    # The directory that they all came from holds the third; each is kept as it was.
    for one, text in zip((found.serves, *found.before), ("three", "two", "one"), strict=True):
        assert (checked_model(file, one) / "weights").read_text() == text
    for expected in (digests[1], digests[0]):
        name, now = roll_back(file)
        assert (name, now.sha256) == ("chat", expected)
        assert read_aliases(file)["chat"].serves == now
    with pytest.raises(ConfigError, match="led to nothing before"):
        roll_back(file)


def test_the_same_model_again_is_no_step_back(tmp_path: Path, file: Path) -> None:
    first = put(file, model(tmp_path / "m", "one"))
    second = put(file, model(tmp_path / "m", "two"))
    assert put(file, tmp_path / "m") == second
    found = read_aliases(file)["chat"]
    assert [one.sha256 for one in found.before] == [first]


def test_the_folder_may_be_moved_and_the_run_deleted(tmp_path: Path, file: Path) -> None:
    put(file, model(tmp_path / "m", "one"))
    shutil.rmtree(tmp_path / "m")
    shutil.copytree(file.parent, tmp_path / "elsewhere")
    shutil.rmtree(file.parent)
    moved = tmp_path / "elsewhere" / "aliases.json"
    assert checked_model(moved, read_aliases(moved)["chat"].serves).is_dir()


def test_a_changed_model_is_neither_served_nor_rolled_back_to(tmp_path: Path, file: Path) -> None:
    put(file, model(tmp_path / "a", "one"))
    put(file, model(tmp_path / "b", "two"))
    found = read_aliases(file)["chat"]
    (file.parent / found.before[0].model / "weights").write_text("other")
    with pytest.raises(ConfigError, match="has changed since"):
        roll_back(file)
    assert read_aliases(file)["chat"] == found
    shutil.rmtree(file.parent / found.before[0].model)
    with pytest.raises(ConfigError, match="no model"):
        roll_back(file)


def test_a_model_that_changes_under_our_hands_is_not_deployed(tmp_path: Path, file: Path) -> None:
    before = put(file, model(tmp_path / "m", "one"))
    model(tmp_path / "m2", "two")
    with pytest.raises(ConfigError, match="changed while"):
        deploy(file, "chat", tmp_path / "m2", sha256="0" * 64, at="now", run=tmp_path)
    assert read_aliases(file)["chat"].serves.sha256 == before
    assert sorted(p.name for p in file.parent.iterdir() if not p.name.startswith(".")) == sorted(
        [before[:12], "aliases.json"]
    )


def test_several_aliases_are_told_apart(tmp_path: Path, file: Path) -> None:
    for text in ("one", "two"):
        put(file, model(tmp_path / "m", text), "a")
    put(file, tmp_path / "m", "b")
    with pytest.raises(ConfigError, match="has the aliases a, b"):
        roll_back(file)
    with pytest.raises(ConfigError, match="no alias 'c'"):
        roll_back(file, "c")
    assert roll_back(file, "a")[0] == "a"
    assert set(read_aliases(file)) == {"a", "b"}


def test_what_is_no_file_of_aliases_is_said(tmp_path: Path, file: Path) -> None:
    for missing in (file, tmp_path / "none.json"):
        with pytest.raises(NotFoundError, match="no such file of aliases"):
            roll_back(missing)
    bad = tmp_path / "bad.json"
    for text in ("{", "[]", '{"chat": {}}', json.dumps({"chat": {"serves": {"model": "m"}}})):
        bad.write_text(text)
        with pytest.raises(CheckpointError, match="no file of aliases"):
            read_aliases(bad)
    bad.write_bytes(b'{"\xff": 1}')
    with pytest.raises(CheckpointError, match="no file of aliases"):
        read_aliases(bad)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_aliases(tmp_path)
