"""A constitution: read, refused with a reason, named and drawn from by content."""

from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import chisquare

from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError
from accord.judges.constitution import Constitution, draw_principle, read_constitution

PRINCIPLE = """
[[principle]]
id = "{id}"
part = "harmless"
critique_request = "Does it harm {id}?"
revision_request = "Write it without {id}."
comparison = "Which response has less {id}?"
"""


def text(*ids: str, more: str = "") -> str:
    principles = "".join(PRINCIPLE.format(id=name) for name in ids)
    return f'name = "test"\n{more}\n{principles}'


def write(folder: Path, content: str) -> Path:
    path = folder / "constitution.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    example = """
[[example]]
principle = "two"
prompt = "Hello."
response = "What?"
critique = "It is curt."
revision = "Hello to you."
"""
    found = read_constitution(write(tmp_path, text("one", "two", more="version = 3") + example))
    assert [p.id for p in found.principles] == ["one", "two"]
    assert found.principles[0].comparison == "Which response has less one?"
    assert found.principles[0].weight == 1 and found.version == 3 and found.form == "full"
    assert found.examples[0].revision == "Hello to you."
    assert found.by_id("two") is found.principles[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name = "test"', "no [[principle]]"),
        (text("one").replace("comparison", "#"), "principle 'one' has no comparison"),
        (text("one").replace("Which response has less one?", " "), "principle 'one', comparison"),
        (text("one", "two", "one"), "two principles have the id 'one'"),
        (text("one").replace("part", "parts"), "unknown key 'parts'; did you mean 'part'?"),
        (text("one").replace("harmless", "pretty"), "principle 'one', part"),
        (text("one") + "weight = 0", "principle 'one', weight"),
        (text("one").replace('id = "one"', ""), "principle number 1 has no id"),
        (text("one").replace('name = "test"', ""), "no name"),
        (text("one", more="colour = 1"), "unknown key 'colour'"),
        (text("one", more='form = "short"'), "form"),
        (
            text("one")
            + '[[example]]\nprinciple = "won"\nprompt = "a"\nresponse = "b"\n'
            + 'critique = "c"\nrevision = "d"',
            "example number 1: no principle 'won'; did you mean 'one'?",
        ),
        (text("one") + '[[example]]\nprinciple = "one"', "example number 1 has no prompt"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigError) as error:
        read_constitution(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_no_file_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such"):
        read_constitution(tmp_path / "none.toml")


def test_its_name_changes_with_its_content_and_not_with_its_looks(tmp_path: Path) -> None:
    one = read_constitution(write(tmp_path, text("one")))
    looks = read_constitution(write(tmp_path, "# A remark.\n" + text("one") + "weight = 1.0"))
    other = read_constitution(write(tmp_path, text("one").replace("has less", "has more")))
    assert one.sha256 == looks.sha256 != other.sha256
    assert one.label == f"test v1 {one.sha256[:8]}"


def constitution(*weights: float) -> Constitution:
    ids = "".join(
        PRINCIPLE.format(id=f"p{number}") + f"weight = {weight}\n"
        for number, weight in enumerate(weights)
    )
    return Constitution.from_toml(f'name = "test"\n{ids}', where="here")


def test_principles_are_drawn_uniformly_and_again_alike() -> None:
    sixteen = constitution(*[1.0] * 16)
    drawn = [draw_principle(sixteen, 0, f"prompt {n}", ["a", "b"]).id for n in range(8000)]
    counts = Counter(drawn)
    assert len(counts) == 16
    assert chisquare(list(counts.values())).pvalue > 0.001
    again = [draw_principle(sixteen, 0, f"prompt {n}", ["a", "b"]).id for n in range(8000)]
    assert again == drawn
    other = [draw_principle(sixteen, 1, f"prompt {n}", ["a", "b"]).id for n in range(8000)]
    same = sum(x == y for x, y in zip(drawn, other, strict=True)) / 8000
    assert 0.04 < same < 0.09  # 1/16: another seed is another draw


def test_principles_are_drawn_by_weight() -> None:
    three = constitution(1.0, 2.0, 5.0)
    counts = Counter(draw_principle(three, 0, str(n)).id for n in range(8000))
    expected = {"p0": 1000.0, "p1": 2000.0, "p2": 5000.0}
    assert chisquare([counts[k] for k in expected], list(expected.values())).pvalue > 0.001


def test_the_shipped_constitution() -> None:
    found = read_constitution(resolve_asset("accord:constitution.toml"))
    parts = Counter(p.part for p in found.principles)
    assert 12 <= len(found.principles) <= 16
    assert set(parts) == {"helpful", "harmless", "honest"} and min(parts.values()) >= 3
    assert {found.by_id(e.principle).part for e in found.examples} == set(parts)
    assert all(p.source for p in found.principles)
