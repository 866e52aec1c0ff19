// Markdown to DOM nodes. The text is a model's, and hostile: every node is made by name here and
// filled by textContent, no text is ever parsed as HTML, and a link leads to http or https only.
const DEEPEST = 8;
const LONGEST = 50_000; // longer texts are shown as they are
const FAR = 1000; // how far the end of a span is looked for: what never ends costs little

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}|$)/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const SPECIAL = /[\\`*_~![\n<]|https?:\/\//g;
const LINK = /!?\[([^[\]]{0,500})\]\([ ]?<?([^\s<>()]{1,2000}(?:\([^\s<>()]{0,200}\)[^\s<>()]{0,500})?)>?(?:[ ]"[^"]{0,300}")?[ ]?\)/y;
const BARE = /<?(https?:\/\/[^\s<>"'`|]{1,2000})>?/y;

const make = (tag, text) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  return node;
};

export function render(text) {
  const found = document.createDocumentFragment();
  if (text.length > LONGEST) found.append(make("pre", text));
  else blocks(text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n"), found, 0);
  return found;
}

function opensBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

function blocks(lines, parent, depth) {
  if (depth > DEEPEST) return void parent.append(make("p", lines.join("\n")));
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    if (!line.trim()) at += 1;
    else if (FENCE.test(line)) at = code(lines, at, parent);
    else if (HEADING.test(line)) at = heading(lines, at, parent);
    else if (RULE.test(line)) at = (parent.append(make("hr")), at + 1);
    else if (QUOTE.test(line)) at = quote(lines, at, parent, depth);
    else if (ITEM.test(line)) at = list(lines, at, parent, depth);
    else if (isTable(lines, at)) at = table(lines, at, parent);
    else at = paragraph(lines, at, parent);
  }
}

function code(lines, start, parent) {
  const [, fence, language] = lines[start].match(FENCE);
  let end = start + 1;
  const closes = (line) => line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "");
  while (end < lines.length && !closes(lines[end])) end += 1;
  const block = make("pre");
  block.tabIndex = 0; // wide code is scrolled by keys, too
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
  block.append(make("code", lines.slice(start + 1, end).join("\n")));
  parent.append(block);
  return end + 1;
}

function heading(lines, start, parent) {
  const [, marks, text = ""] = lines[start].match(HEADING);
  const node = make(`h${Math.min(marks.length + 3, 6)}`); // the page's own headings stay the outline
  inline(text.trimEnd().replace(/ #+$/, ""), node, 0);
  parent.append(node);
  return start + 1;
}

function quote(lines, start, parent, depth) {
  let end = start;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const node = make("blockquote");
  blocks(lines.slice(start, end).map((line) => line.replace(QUOTE, "")), node, depth + 1);
  parent.append(node);
  return end;
}

function list(lines, start, parent, depth) {
  const kind = (line) => line.match(ITEM)?.[2].slice(-1);
  const [, , marker] = lines[start].match(ITEM);
  const isOrdered = /\d/.test(marker);
  const node = make(isOrdered ? "ol" : "ul");
  if (isOrdered && Number.parseInt(marker, 10) !== 1) node.start = Number.parseInt(marker, 10);
  let at = start;
  while (at < lines.length && kind(lines[at]) === marker.slice(-1) && !RULE.test(lines[at])) {
    const [opening] = lines[at].match(ITEM);
    const own = [lines[at].slice(opening.length)];
    for (at += 1; at < lines.length; at += 1) {
      const indent = lines[at].search(/\S/);
      const isInner = indent >= Math.min(opening.length, 2);
      const goesOn = indent < 0 ? lines[at + 1]?.search(/\S/) >= 2 : isInner || isLazy(lines, at);
      if (!goesOn) break;
      own.push(lines[at].slice(Math.min(Math.max(indent, 0), opening.length)));
    }
    const item = make("li");
    blocks(own, item, depth + 1);
    const only = item.children.length && item.firstElementChild;
    if (only && only.tagName === "P") only.replaceWith(...only.childNodes); // no gaps between items
    node.append(item);
    while (at < lines.length - 1 && !lines[at].trim() && kind(lines[at + 1]) === marker.slice(-1)) at += 1;
  }
  parent.append(node);
  return at;
}

// A line that goes on with the paragraph before it, without being indented.
const isLazy = (lines, at) => Boolean(lines[at - 1].trim()) && !opensBlock(lines[at]);

const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").slice(0, 50);

function isTable(lines, at) {
  const next = lines[at + 1] ?? "";
  if (!lines[at].includes("|") || !next.includes("-") || next.length > FAR || !DELIMITERS.test(next)) {
    return false;
  }
  return cells(lines[at]).length === cells(next).length;
}

function table(lines, start, parent) {
  const node = make("table");
  node.tabIndex = 0; // a wide one is scrolled by keys, too
  const row = (line, tag) => {
    const made = make("tr");
    for (const text of cells(line)) {
      const cell = make(tag);
      inline(text.trim(), cell, 0);
      made.append(cell);
    }
    return made;
  };
  const [head, body] = [make("thead"), make("tbody")];
  head.append(row(lines[start], "th"));
  let at = start + 2;
  for (; at < lines.length && lines[at].includes("|"); at += 1) body.append(row(lines[at], "td"));
  node.append(head, body);
  parent.append(node);
  return at;
}

function paragraph(lines, start, parent) {
  let end = start + 1;
  while (end < lines.length && lines[end].trim() && !opensBlock(lines[end])) end += 1;
  const node = make("p");
  inline(lines.slice(start, end).join("\n"), node, 0);
  parent.append(node);
  return end;
}

function inline(text, parent, depth) {
  let plain = 0;
  let at = 0;
  const take = (node, end) => {
    if (plain < at) parent.append(text.slice(plain, at));
    if (node) parent.append(node);
    plain = at = end;
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    if (!found) break;
    at = found.index;
    const span = depth <= DEEPEST && spanAt(text, at, depth);
    if (span) take(span.node, span.end);
    else at += 1;
  }
  at = text.length;
  take(null, at);
}

// The node that begins at a place, and where it ends; null where the sign is only a sign.
function spanAt(text, at, depth) {
  const sign = text[at];
  if (sign === "\n") return { node: make("br"), end: at + 1 };
  if (sign === "\\") {
    const next = text[at + 1] ?? "";
    return /[!-/:-@[-`{-~]/.test(next) ? { node: document.createTextNode(next), end: at + 2 } : null;
  }
  if (sign === "`") return codeAt(text, at);
  if (sign === "!" || sign === "[") return linkAt(text, at);
  if (sign === "<" || sign === "h") return bareAt(text, at);
  return emphasisAt(text, at, depth);
}

function codeAt(text, at) {
  let ticks = at;
  while (text[ticks] === "`") ticks += 1;
  const fence = text.slice(at, ticks);
  const close = text.slice(ticks, ticks + FAR).indexOf(fence);
  if (close < 0) return { node: document.createTextNode(fence), end: ticks };
  const inner = text.slice(ticks, ticks + close).replaceAll("\n", " ");
  return { node: make("code", inner.trim() || inner), end: ticks + close + fence.length };
}

function linkAt(text, at) {
  LINK.lastIndex = at;
  const [whole, words, address] = LINK.exec(text) ?? [];
  if (!whole) return null;
  const end = at + whole.length;
  if (whole[0] === "!") {
    // Fetching it would tell a stranger who reads what and when.
    const node = make("span", `[image: ${words ? `${words}, ` : ""}${address}]`);
    node.className = "image";
    return { node, end };
  }
  return { node: link(words || address, address) ?? document.createTextNode(whole), end };
}

function bareAt(text, at) {
  BARE.lastIndex = at;
  const [whole, address] = BARE.exec(text) ?? [];
  if (!whole) return null;
  const isClosed = whole[0] === "<" && whole.endsWith(">");
  const trimmed = isClosed ? address : address.replace(/[.,;:!?)*_~\]]{1,20}$/, "");
  const start = at + (whole[0] === "<" && !isClosed ? 1 : 0);
  if (start > at) return null; // an angle that closes nothing is text, and the address comes next
  const node = link(trimmed, trimmed);
  return node && { node, end: isClosed ? at + whole.length : at + trimmed.length };
}

function link(words, address) {
  let url;
  try {
    url = new URL(address); // a relative one throws: it would lead into this server
  } catch {
    return null;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return null;
  const node = make("a", words);
  node.href = url.href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  return node;
}

function emphasisAt(text, at, depth) {
  const sign = text[at];
  const isDouble = text[at + 1] === sign;
  if (sign === "~" && !isDouble) return null;
  const mark = isDouble ? sign + sign : sign;
  const inner = at + mark.length;
  const isWord = (letter) => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);
  if (!/\S/.test(text[inner] ?? "") || text[inner] === sign) return null;
  if (sign === "_" && isWord(text[at - 1])) return null;
  const near = text.slice(inner, inner + FAR);
  let close = near.indexOf(mark, 1);
  while (close >= 0) {
    const isSingle = isDouble || near[close + 1] !== sign;
    const closes = /\S/.test(near[close - 1]) && isSingle;
    if (closes && !(sign === "_" && isWord(near[close + mark.length]))) break;
    close = near.indexOf(mark, close + (isSingle ? 1 : 2));
  }
  if (close < 0) return null;
  const node = make(sign === "~" ? "s" : isDouble ? "strong" : "em");
  inline(near.slice(0, close), node, depth + 1);
  return { node, end: inner + close + mark.length };
}
