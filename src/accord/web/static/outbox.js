// Answers that the server has not acknowledged. They are kept in this browser and sent again, under
// the key they had, until the server has them; the same key is stored once however often it comes.
import { store, stored } from "./keys.js";

const STORE = "accord.outbox";
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 30000;

const region = document.getElementById("outbox");
const me = document.body.dataset.who;
let wait = FIRST_WAIT_MS;
let timer = null;
let isSending = false;
let whenSaved = () => {};

const all = () => stored(STORE, []);
// Somebody else's stay where they are: they are not to be sent in my name.
const mine = () => all().filter((entry) => entry.who === me);
const waiting = () => mine().filter((entry) => !entry.refused);
const keyOf = (entry) => Object.fromEntries(entry.fields).key;

function replace(key, entry) {
  const rest = all().filter((other) => keyOf(other) !== key);
  return store(STORE, entry ? [...rest, entry] : rest);
}

// Keep an answer; false where the browser would not.
export function keep(address, fields) {
  const entry = { who: me, address, fields: fields.filter(([name]) => name !== "csrf") };
  const isKept = replace(keyOf(entry), entry);
  show("");
  timer ??= setTimeout(flush, wait);
  return isKept;
}

export function start(callback) {
  whenSaved = callback;
  window.addEventListener("online", flush);
  show("");
  if (waiting().length) flush();
}

async function flush() {
  clearTimeout(timer);
  timer = null;
  if (isSending) return;
  isSending = true;
  let [problem, sent] = ["", 0];
  for (const entry of waiting()) {
    problem = await send(entry);
    if (problem) break;
    sent += 1;
  }
  isSending = false;
  show(problem);
  if (waiting().length) {
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    timer = setTimeout(flush, wait);
  } else {
    wait = FIRST_WAIT_MS;
    if (sent) whenSaved();
  }
}

// What stands in the way of sending; "" where the server has answered for good.
async function send(entry) {
  let response;
  try {
    response = await fetch(entry.address, {
      method: "POST",
      headers: { "HX-Request": "true", "X-CSRF-Token": document.body.dataset.csrf },
      body: new URLSearchParams([...entry.fields, ["csrf", document.body.dataset.csrf]]),
      redirect: "manual",
    });
  } catch {
    return "no connection";
  }
  if (response.ok) replace(keyOf(entry), null);
  else if (response.status >= 500 || response.status === 429) return "the server has a problem";
  else if ([404, 409, 422].includes(response.status)) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    replace(keyOf(entry), { ...entry, refused: page.body.textContent.trim() });
  } else return "you are signed out; sign in again in another window, then load this page again";
  return "";
}

function show(problem) {
  const lines = [];
  const count = waiting().length;
  if (count) {
    const line = document.createElement("p");
    const what = count === 1 ? "1 answer is" : `${count} answers are`;
    line.textContent =
      `Not saved yet (${problem || "no connection"}): ${what} kept in this browser and will be ` +
      "sent again by itself.";
    lines.push(line);
  }
  lines.push(...mine().filter((entry) => entry.refused).map(refusal));
  region.replaceChildren(...lines);
  region.hidden = !lines.length;
}

// What the server would not take is shown with all that was entered, until it is thrown away.
function refusal(entry) {
  const box = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = entry.refused;
  const text = document.createElement("pre");
  const hidden = ["lease", "key", "task", "csrf", "guideline_version", "time_on_task_s"];
  const said = entry.fields.filter(([name, value]) => value && !hidden.includes(name));
  text.textContent = said.map(([name, value]) => `${name}: ${value}`).join("\n");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Throw this answer away";
  button.addEventListener("click", () => {
    replace(keyOf(entry), null);
    show("");
  });
  box.append(summary, text, button);
  return box;
}
