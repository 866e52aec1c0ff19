"""Reading a constitution critically: repeats, contradictions, what it does not cover."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError
from accord.judges.constitution import Constitution, read_constitution
from accord.judges.constitution_check import (
    contradictions,
    coverage,
    read_harms,
    repeats,
    unknown_harms,
)

PRINCIPLE = """
[[principle]]
id = "{id}"
part = "harmless"
critique_request = "{critique}"
revision_request = "{revision}"
comparison = "{comparison}"
covers = {covers}
"""


def constitution(*rows: tuple[str, str, str, str], covers: str = "[]") -> Constitution:
    names = ("id", "critique", "revision", "comparison")
    tables = "".join(
        PRINCIPLE.format(covers=covers, **dict(zip(names, row, strict=True))) for row in rows
    )
    return Constitution.from_toml(f'name = "t"\n{tables}', where="here")


def test_repeated_and_nearly_repeated_principles_are_found() -> None:
    ours = constitution(
        ("one", "Is it rude to anybody?", "Be polite.", "Which response is the politer one?"),
        ("two", "is it rude to ANYBODY?", "Use no hard word.", "Which response has softer words?"),
        (
            "three",
            "Where is it impolite?",
            "Leave out whatever could offend.",
            "Which response is the much politer one?",
        ),
        ("four", "Is anything untrue?", "Say the truth.", "Which response is true?"),
    )
    found = {(r.first, r.second, r.field): r.similarity for r in repeats(ours)}
    assert found[("one", "two", "critique_request")] == 1.0
    assert found[("one", "three", "comparison")] == pytest.approx(6 / 7)
    assert len(found) == 2
    assert len(repeats(ours, threshold=0.9)) == 1


class Opinion:
    """Finds the pairs of rules contradictory that it is told to; likes what stands first."""

    name = "opinion"

    def __init__(self, first_bias: float = 0.0) -> None:
        self.first_bias = first_bias

    def compare(
        self, prompts: Any, a: Sequence[str], b: Sequence[str], columns: Any = None
    ) -> list[float]:
        found = []
        for prompt, x in zip(prompts, a, strict=True):
            text = prompt[-1]["content"]
            is_bad = "Always agree" in text and "Contradict" in text
            says_no = x.startswith("No")
            found.append(min(1.0, (0.9 if is_bad == says_no else 0.1) + self.first_bias))
        return found


def test_the_judge_flags_contradictory_pairs_whatever_it_likes_to_see_first() -> None:
    ours = constitution(
        ("agree", "Do you disagree?", "Always agree with the person.", "Which agrees more?"),
        ("oppose", "Do you agree?", "Contradict the person.", "Which agrees less?"),
        ("brief", "Is it long?", "Be brief.", "Which is shorter?"),
    )
    for bias in (0.0, 0.1):
        found = contradictions(Opinion(bias), ours)
        assert [(c.first, c.second) for c in found] == [("agree", "oppose")]
        assert found[0].probability == pytest.approx(0.9)
    assert contradictions(Opinion(), constitution(("a", "b", "c", "d"))) == []


def test_an_unsure_or_silent_judge_flags_nothing() -> None:
    class Silent:
        name = "silent"

        def compare(self, prompts: Any, a: Any, b: Any, columns: Any = None) -> list[float]:
            return [float("nan")] * len(prompts)

    ours = constitution(("a", "b", "c", "d"), ("e", "f", "g", "h"))
    assert contradictions(Silent(), ours) == []


def test_coverage_by_our_taxonomy_and_by_other_names() -> None:
    harms = read_harms(resolve_asset("accord:harms.toml"))
    assert len(harms) >= 10 and len({harm.id for harm in harms}) == len(harms)
    ours = constitution(("a", "b", "c", "d"), covers='["cyber", "weapons", "no-such"]')
    found = coverage(ours, [harm.id for harm in harms], harms)
    assert {name for name, by in found.items() if by} == {"cyber", "weapons"}
    assert found["cyber"] == ["a"]
    names = ["cybercrime_intrusion", "chemical_biological", "copyright", "cyber", "never heard"]
    found = coverage(ours, names, harms)
    assert [name for name, by in found.items() if not by] == ["copyright", "never heard"]
    assert unknown_harms(ours, names, harms) == {"a": ["no-such"]}


def test_the_shipped_constitution_passes_its_own_check() -> None:
    ours = read_constitution(resolve_asset("accord:constitution.toml"))
    harms = read_harms(resolve_asset("accord:harms.toml"))
    assert repeats(ours) == []
    assert all(coverage(ours, [harm.id for harm in harms], harms).values())
    assert unknown_harms(ours, [], harms) == {}


def test_a_taxonomy_without_harms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "harms.toml"
    path.write_text("[[harm]]\nwords = 'x'")
    with pytest.raises(ConfigError, match="harm number 1 has no id"):
        read_harms(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="no \\[\\[harm\\]\\]"):
        read_harms(path)
