// The annotation page: what happens between a task's display and the word that it is saved.
import * as ahead from "./ahead.js";
import * as drafts from "./drafts.js";
import * as keys from "./keys.js";
import * as outbox from "./outbox.js";

const SETTINGS = "accord.settings";
const settings = { advance: true, immediate: false, ...keys.stored(SETTINGS, {}) };
const byId = (id) => document.getElementById(id);
const task = () => byId("task");
const isQualifying = () => "round" in task().dataset; // each answer is explained before the next
const tell = (text) => (byId("status").textContent = text);

// Time on task: only while the page can be seen.
let seenMs = 0;
let seenSince = null;
const look = () => (seenSince = document.hidden ? null : performance.now());
const lookAway = () => {
  if (seenSince !== null) seenMs += performance.now() - seenSince;
  seenSince = null;
};
document.addEventListener("visibilitychange", () => (document.hidden ? lookAway() : look()));
const secondsSeen = () => {
  lookAway();
  look();
  return (seenMs / 1000).toFixed(2);
};

function display() {
  seenMs = 0;
  look();
  keys.showHints();
  const form = byId("judgement");
  if (form) drafts.restore(form, task().dataset.task);
  askAhead();
}

// While this task is read, the one after it is fetched; not before the last answer is stored, for
// until then what is held beside this task is that one.
function askAhead() {
  const form = byId("judgement");
  if (!form || isQualifying() || !settings.advance || outbox.isBusy()) return;
  ahead.ask(task().dataset.task, form.elements.guideline_version.value);
}

// Keys --------------------------------------------------------------------------------------

function perform(action, controls) {
  const control = controls[0];
  // Of a task that is still covered nothing is chosen by a key that was meant for something else.
  if (control.parentElement.closest("details.warned:not([open])")) return;
  if (control.matches("select")) giveRank(control);
  else if (control.closest("[data-group]")) rate(controls);
  else if (control.matches("input[type=radio]")) choose(control);
  else if (control.matches("details")) {
    control.open = !control.open;
    (control.matches(".warned") ? task().querySelector("h2") : control.querySelector("summary")).focus();
  } else if (control.matches("textarea")) {
    control.closest("details")?.setAttribute("open", "");
    control.focus();
  } else control.click();
}

function choose(radio) {
  radio.checked = true;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
  radio.focus();
  if (settings.immediate && radio.name !== "response") byId("submit").click();
}

// The rating goes to the group that has the focus, else to the first without one; then on.
function rate(controls) {
  const groups = [...document.querySelectorAll("[data-group]")];
  const isOpen = (group) => !group.querySelector(":checked");
  const group = document.activeElement?.closest("[data-group]") ?? groups.find(isOpen) ?? groups[0];
  const radio = controls.find((control) => group.contains(control));
  radio.checked = true;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
  const next = groups[groups.indexOf(group) + 1];
  (next?.querySelector(":checked") ?? next?.querySelector("input") ?? byId("submit")).focus();
  if (!next && settings.immediate) byId("submit").click();
}

function giveRank(select) {
  const ranks = [...document.querySelectorAll("select[name^=rank_]")].map((s) => Number(s.value));
  select.value = select.value ? "" : String(Math.min(Math.max(...ranks) + 1, ranks.length));
  select.dispatchEvent(new Event("change", { bubbles: true }));
  tell(`${select.labels[0].firstChild.textContent}: ${select.value || "none"}`);
}

document.addEventListener("keydown", (event) => {
  if (!event.target.matches("textarea")) return;
  const dialog = event.target.closest("dialog");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    (dialog?.querySelector("button.main") ?? byId("submit")).click();
  } else if (event.key === "Escape" && !dialog) {
    event.target.blur();
    task().querySelector("h2").focus();
  }
});

// Dialogs and views -------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { dialog, view, preset } = button.dataset;
  if (dialog) byId(dialog).showModal();
  else if ("close" in button.dataset) button.closest("dialog").close();
  else if (button.id === "open-last") showLast();
  else if (button.id === "open-keys") showKeys();
  else if (preset) keys.usePreset(preset, byId("keys"), byId("keys-said"));
  else if (view) toggleView(button, view);
});

async function showLast() {
  const box = byId("last");
  byId("last-dialog").showModal();
  box.textContent = "Loading…";
  await outbox.flush(); // so that the last one is among them
  await htmx.ajax("GET", box.dataset.address, { target: box, swap: "innerHTML" });
  box.querySelector("button")?.focus();
}

function showKeys() {
  keys.fillDialog(byId("keys"), byId("keys-said"));
  byId("keys-said").textContent = "";
  for (const box of document.querySelectorAll("[data-setting]")) {
    box.checked = settings[box.dataset.setting];
  }
  byId("keys-dialog").showModal();
}

async function toggleView(button, view) {
  const isOn = button.getAttribute("aria-pressed") !== "true";
  for (const other of document.querySelectorAll("[data-view]")) {
    other.setAttribute("aria-pressed", String(isOn && other === button));
  }
  if (isOn && view === "differences" && !(await loadDifferences(button))) return;
  for (const part of task().querySelectorAll(".response, .turn")) {
    const compared = part.querySelector(".compared");
    const shown = !isOn ? "text" : view === "differences" && compared ? "compared" : "raw";
    const isRendered = shown === "text" || (view === "differences" && !compared);
    part.querySelector(".text").hidden = !isRendered;
    for (const raw of part.querySelectorAll(":scope > .raw")) raw.hidden = isRendered || shown !== "raw";
    if (compared) compared.hidden = shown !== "compared";
  }
}

async function loadDifferences(button) {
  try {
    const response = await fetch(button.dataset.address, { headers: { "HX-Request": "true" } });
    if (!response.ok) throw new Error(response.statusText);
    const parts = document.createElement("template");
    parts.innerHTML = await response.text(); // escaped by the server
    for (const part of parts.content.querySelectorAll(".difference")) {
      task().querySelector(`.compared[data-letter="${part.dataset.letter}"]`).replaceChildren(part);
    }
    return true;
  } catch {
    button.setAttribute("aria-pressed", "false");
    tell("The differences could not be loaded.");
    return false;
  }
}

document.addEventListener("change", (event) => {
  const { target } = event;
  if (target.dataset.setting) {
    settings[target.dataset.setting] = target.checked;
    keys.store(SETTINGS, settings);
    if (settings.advance) askAhead();
    else ahead.release();
  } else if (target.name === "response") {
    const box = document.querySelector("[data-rewrites]");
    const raws = [...document.querySelectorAll(".response > .raw")].map((raw) => raw.textContent);
    if (box && (raws.includes(box.value) || !box.value)) box.value = raws[Number(target.value)];
  }
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("#judgement");
  if (form && !drafts.keep(form, task().dataset.task)) tell("This browser keeps no drafts.");
});

// Sending -----------------------------------------------------------------------------------

const isJudgement = (event) => event.detail.requestConfig?.path === "/label/judgements";
const warn = (text) => (byId("message").textContent = text);

document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.path === "/label/undo") ahead.release(); // another task comes in between
  if (event.detail.path !== "/label/judgements") return;
  event.detail.parameters.time_on_task_s = secondsSeen();
  if (!settings.advance) event.detail.parameters.stay = "1";
});

document.addEventListener("htmx:beforeRequest", (event) => {
  if (!isJudgement(event)) return;
  warn("");
  tell("Saving…");
  if (goesOn(event.detail.requestConfig)) event.preventDefault();
});

// Where the next task is here already, or an answer is still on its way, the outbox sends this one,
// and nobody waits.
function goesOn({ path, formData }) {
  const fields = [...formData.entries()];
  const next = ahead.card();
  if (isQualifying() || !settings.advance || !(next || outbox.isBusy()) || !isComplete(fields)) return false;
  if (!outbox.keep(path, fields)) return false;
  closeDialogs();
  byId("whole").disabled = true;
  ahead.forget();
  if (next) htmx.swap(task(), next, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 });
  outbox.flush().then(() => outbox.isBusy() && tell("")); // what is the matter stands in the outbox
  return true;
}

// What is missing the server says beside the form, so that must still be there.
function isComplete(fields) {
  if ((Object.fromEntries(fields).action ?? "judge") !== "judge") return true;
  const isAnswer = /^(choice|success|text|rank_\d+|rating_\d+_\d+)$/;
  const answers = fields.filter(([name, value]) => isAnswer.test(name) && value.trim());
  return answers.length >= (task().dataset.kind === "ranking" ? 2 : 1);
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, pathInfo } = event.detail;
  const isElsewhere = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(pathInfo.finalRequestPath, location.href).pathname;
  if (isElsewhere) {
    event.detail.shouldSwap = false;
    signedOut();
  } else if (xhr.getResponseHeader("HX-Retarget") === "#message") {
    closeDialogs();
    tell("");
    event.detail.shouldSwap = true;
  } else if (event.detail.target.id === "task") closeDialogs(); // one that is opened later stays
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "task") return;
  display();
  if (document.querySelector("dialog[open]")) return;
  task().querySelector("h2").focus();
  window.scrollTo(0, 0);
});

function signedOut() {
  tell("");
  warn("Not saved: you are signed out. Sign in again in another window, then submit once more; what you entered is still here.");
}

// No answer, or none that says what became of it: it is kept, and sent again until there is one.
function keepForLater(event) {
  if (!isJudgement(event)) return warn("No connection. Nothing was changed; try again.");
  const fields = [...event.detail.requestConfig.formData.entries()];
  const isKept = outbox.keep(event.detail.requestConfig.path, fields);
  closeDialogs();
  tell("");
  if (isKept) {
    byId("whole").disabled = true; // the same key must not come with another answer
    outbox.flush();
  } else warn("Not saved: no connection, and this browser keeps nothing. Leave the page open and submit again.");
}

for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, keepForLater);
document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  if (status >= 500 || status === 429) keepForLater(event);
  else if (event.detail.xhr.getResponseHeader("HX-Retarget") !== "#message") signedOut();
});

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

outbox.start(async (tasks, said) => {
  if (isQualifying()) return location.reload(); // a whole page, and no card of one
  if (byId("judgement") && !tasks.includes(task().dataset.task)) askAhead();
  else await htmx.ajax("GET", location.pathname + location.search, { target: "#task", swap: "outerHTML" });
  tell(said);
});
for (const name of ["beforeunload", "pagehide"]) window.addEventListener(name, ahead.release);
keys.listen(perform);
display();
