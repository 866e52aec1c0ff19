// The conversation as the page shows it: one element a turn, made anew when its turn changes.
import { isPair, isUsable, isWhole, textOf } from "./chat_conversation.js";
import { isTaken } from "./chat_feedback.js";
import { render } from "./chat_markdown.js";

const LETTERS = "AB";

function make(tag, text = "", classes = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (classes) node.className = classes;
  return node;
}

function button(text, act, how = {}) {
  const node = make("button", text);
  node.type = "button";
  if (how.pressed !== undefined) node.setAttribute("aria-pressed", String(how.pressed));
  if (how.name) node.dataset.does = how.name;
  node.addEventListener("click", act);
  return node;
}

// A turn's element. `acts` has a function for whatever can be done with it; `isLast` is of the
// conversation, `isBusy` while an answer is being written.
export function show(turn, acts, { isLast, isBusy }) {
  const node = make("article", "", `turn ${turn.role === "user" ? "asked" : "answered"}`);
  if (turn.role === "user") {
    node.append(make("h2", "You"), make("pre", turn.text, "raw"));
    return node;
  }
  const { answers } = turn;
  const isOpen = answers.length > 1 && turn.kept === null;
  const shown = isOpen ? answers : [answers[turn.kept ?? 0]];
  const row = make("div", "", `responses count-${shown.length}`);
  row.append(...shown.map((answer) => card(turn, answer, acts, { isOpen, isLast, isBusy })));
  node.append(row);
  if (isOpen && !isBusy) node.append(choices(turn, acts));
  return node;
}

function card(turn, answer, acts, how) {
  const place = turn.answers.indexOf(answer);
  const node = make("section", "", "response panel");
  // Who wrote which is told after the vote, so that nobody votes for a name.
  const title = how.isOpen ? `Answer ${LETTERS[place]}` : answer.model;
  const heading = make("h2", title);
  if (answer.edited !== null) heading.append(make("span", " corrected by you", "quiet"));
  heading.tabIndex = -1;
  node.setAttribute("aria-label", title);
  const body = make("div", "", "text");
  if (answer.draft === null) write(body, answer);
  else body.append(editor(turn, answer, acts));
  node.append(heading, body);
  if (answer.state === "stopped") node.append(make("p", "Stopped.", "quiet"));
  if (answer.finish === "length") node.append(make("p", "Cut off: it reached the longest answer.", "quiet"));
  if (answer.finish === "content_filter") node.append(make("p", "Withheld by a guard.", "quiet"));
  if (answer.state === "failed") node.append(failure(turn, answer, acts, how));
  else if (!how.isOpen && !how.isBusy && answer.draft === null) node.append(actions(turn, answer, acts, how));
  return node;
}

// An answer's words, as far as they have come.
export function write(body, answer) {
  body.replaceChildren(render(textOf(answer)));
  if (answer.state === "done" && !textOf(answer).trim()) body.append(make("p", "It said nothing.", "quiet"));
}

function failure(turn, answer, acts, how) {
  const node = make("div", "", "message");
  node.append(make("p", answer.why));
  if (how.isBusy) return node;
  const row = make("p", "", "actions");
  row.append(button("Try again", () => acts.retry(turn, answer), { name: "retry" }));
  if (how.isLast) row.append(button("Take my message back", () => acts.takeBack(turn), { name: "back" }));
  node.append(row);
  return node;
}

function actions(turn, answer, acts, how) {
  const row = make("p", "", "actions");
  if (isWhole(answer) && isTaken()) {
    const thumb = (up, text) =>
      button(text, () => acts.thumb(turn, answer, up), { pressed: answer.thumb === up, name: text });
    row.append(thumb(true, "Good answer"), thumb(false, "Bad answer"));
  }
  if (textOf(answer).trim()) row.append(button("Correct it", () => acts.edit(turn, answer), { name: "edit" }));
  if (how.isLast) row.append(button("Another answer", () => acts.regenerate(turn), { name: "regenerate" }));
  return row;
}

function choices(turn, acts) {
  const node = make("fieldset", "", "choices panel vote");
  const usable = turn.answers.filter(isUsable);
  if (!usable.length) return make("p");
  const isVote = isPair(turn.answers);
  node.append(make("legend", isVote ? "Which is better?" : "Which one goes on?"));
  if (isVote) {
    const options = [["A is better", 0], ["They are alike", null], ["B is better", 1]];
    for (const [text, kept] of options) node.append(button(text, () => acts.vote(turn, kept)));
    node.append(make("p", "Writing on without a choice goes on with B.", "quiet"));
  } else {
    for (const answer of usable) {
      const place = turn.answers.indexOf(answer);
      node.append(button(`Go on with ${LETTERS[place]}`, () => acts.choose(turn, place)));
    }
  }
  return node;
}

// The form in which an answer is corrected, in place of its text.
function editor(turn, answer, acts) {
  const form = make("form", "", "editor");
  const label = make("label", "A better answer");
  const area = make("textarea");
  Object.assign(area, { value: answer.draft, required: true, maxLength: 100_000 });
  area.rows = Math.min(20, Math.max(4, answer.draft.split("\n").length + 1));
  area.dataset.does = "draft";
  label.append(area);
  const row = make("p", "", "actions");
  row.append(make("button", "Save", "main"), button("Cancel", () => acts.save(turn, answer, null)));
  form.append(label, row);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    acts.save(turn, answer, area.value);
  });
  area.addEventListener("input", () => {
    answer.draft = area.value;
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    if (event.key !== "Escape") return;
    event.stopPropagation(); // it stops no answer
    acts.save(turn, answer, null);
  });
  return form;
}
