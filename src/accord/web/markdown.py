"""What models and people wrote, shown to people: Markdown to HTML in which nothing can act.

The text is hostile. Raw HTML is text, an image is its address in words, a link leads to an absolute
address and says nothing of where it was clicked; what comes out passes an allow-list besides.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

_TAGS = frozenset({
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h3",
    "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div",
})  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title", "target"}, "ol": {"start"}}
_CLASSES = {"span": {"math", "image"}, "div": {"math"}}
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
# As pandoc has it: no blank inside the dollars, no digit after them, so that prices stay prices.
# Lengths are bounded, or a text of nothing but openings would take quadratic time.
_MATH = re.compile(
    r"\\\(.{1,500}?\\\)|\\\[.{1,500}?\\\]|\$\$.{1,500}?\$\$"
    r"|\$(?!\s)[^$\n]{0,500}?[^\s$\\]\$(?!\d)",
    re.DOTALL,
)
_MATH_LINES = 50
_MARKDOWN_CHARACTERS = 200_000
"""Longer texts are shown as they are."""
_MATH_BLOCK = {"$$": "$$", "\\[": "\\]"}


@functools.lru_cache(maxsize=4096)
def render(text: str) -> Markup:
    """Markdown to HTML that is safe to put into a page; formulas stay as they were written."""
    if len(text) > _MARKDOWN_CHARACTERS:
        return Markup("<pre>{}</pre>").format(text)
    return Markup(  # cleaned here, by an allow-list
        nh3.clean(
            _MARKDOWN.render(text.replace("\0", "\ufffd")),
            tags=set(_TAGS),
            attributes=_ATTRIBUTES,
            allowed_classes=_CLASSES,
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
        )
    )


def _math_inline(state: StateInline, silent: bool) -> bool:
    found = _MATH.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.push("math_inline", "span", 0).content = found.group()
    state.pos = found.end()
    return True


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """From a line that opens a formula to the line that closes it."""
    opening = state.src[state.bMarks[start] + state.tShift[start] :][:2]
    closing = _MATH_BLOCK.get(opening)
    if closing is None or state.is_code_block(start):
        return False
    for line in range(start, min(end, start + _MATH_LINES)):
        text = state.getLines(line, line + 1, 0, False).strip()
        closes = text.endswith(closing) and (line > start or len(text) > len(opening) + 1)
        if not closes:
            continue
        if not silent:
            token = state.push("math_block", "div", 0)
            token.content = state.getLines(start, line + 1, state.blkIndent, False)
            state.line = line + 1
        return True
    return False


def _show_math(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: Mapping[str, Any],
    env: Any,
) -> str:
    del renderer, options, env  # the library's signature
    token = tokens[index]
    return f'<{token.tag} class="math">{escapeHtml(token.content)}</{token.tag}>'


def _show_image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """The words and the address: fetching it would tell a stranger who reads what and when."""
    token = tokens[index]
    words = renderer.renderInlineAsText(token.children or [], options, env)
    shown = (
        f"[image: {words}, {token.attrGet('src')}]" if words else f"[image: {token.attrGet('src')}]"
    )
    return f'<span class="image">{escapeHtml(shown)}</span>'


def _open_heading(
    renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    """Two levels down: the page's own headings stay the outline."""
    del renderer, options, env
    return f"<h{_level(tokens[index])}>"


def _close_heading(
    renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    del renderer, options, env
    return f"</h{_level(tokens[index])}>\n"


def _level(token: Token) -> int:
    return min(int(token.tag[1:]) + 2, 6)


def _open_link(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("target", "_blank")
    return str(renderer.renderToken(tokens, index, options, env))


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("js-default", {"html": False, "breaks": True})
    # A relative link would lead into this app.
    markdown.validateLink = lambda url: bool(_LINK.match(url))  # type: ignore[method-assign]
    markdown.inline.ruler.before("escape", "math_inline", _math_inline)
    markdown.block.ruler.before("fence", "math_block", _math_block, {"alt": ["paragraph"]})
    rules = {
        "math_inline": _show_math,
        "math_block": _show_math,
        "image": _show_image,
        "heading_open": _open_heading,
        "heading_close": _close_heading,
        "link_open": _open_link,
    }
    renderer: Any = markdown.renderer
    for name, rule in rules.items():
        renderer.rules[name] = functools.partial(rule, renderer)
    return markdown


_MARKDOWN = _markdown()
