// Keys. What a control does by key stands at the control: data-action, data-name, data-key (the
// usual key). What somebody chose instead is kept in this browser, by action.
const STORE = "accord.keys";
const PRESETS = {
  usual: {},
  left: {
    "choose-A4": "1", "choose-A3": "2", "choose-A2": "3", "choose-A1": "4", "choose-tie": "5",
    "choose-B1": "q", "choose-B2": "w", "choose-B3": "e", "choose-B4": "r", "choose-both-bad": "t",
    "success-yes": "1", "success-no": "2", submit: "x", skip: "s", flag: "f", unsure: "a",
    comment: "c", edit: "v", undo: "z", guidelines: "g", history: "h", raw: "y", differences: "d",
    show: "b",
  },
  right: {
    comment: "k", edit: "o", skip: "-", flag: "+", unsure: "/", undo: "*", "choose-both-bad": ".",
    guidelines: "l", history: "i", raw: "p", differences: "m", submit: "Enter",
    show: "n",
  },
};
const SPOKEN = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const NEVER = ["Tab", "Shift", "Control", "Alt", "Meta", "Escape", "CapsLock", "Dead", "Process"];

export function stored(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function store(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // no room, or not allowed
  }
}

const plain = (key) => (key.length === 1 ? key.toLowerCase() : key);

// Action -> key, of everything that can be done on the page now.
function bindings() {
  const chosen = stored(STORE, {});
  const found = new Map();
  for (const control of document.querySelectorAll("[data-action]")) {
    const { action, key } = control.dataset;
    if (!found.has(action)) found.set(action, chosen[action] ?? key);
  }
  return found;
}

export function showHints() {
  const keys = bindings();
  for (const control of document.querySelectorAll("[data-action]")) {
    const key = keys.get(control.dataset.action);
    const hint = control.querySelector("kbd") ?? control.closest("label, p")?.querySelector("kbd");
    if (hint) {
      hint.textContent = SPOKEN[key] ?? key;
      hint.setAttribute("aria-hidden", "true");
    }
    control.setAttribute("aria-keyshortcuts", key === " " ? "Space" : key);
  }
}

function isWriting(element) {
  if (!(element instanceof HTMLElement)) return false;
  if (element.isContentEditable || element.matches("textarea, select")) return true;
  return element.matches("input:not([type=radio], [type=checkbox], [type=button])");
}

export function listen(perform) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
    if (isWriting(event.target) || document.querySelector("dialog[open]")) return;
    const key = plain(event.key);
    // Enter on a button or a link means that button or link.
    if (key === "Enter" && event.target.closest("button, a, summary")) return;
    if (key === " " && event.target.closest("button, summary, input")) return;
    for (const [action, bound] of bindings()) {
      if (plain(bound) !== key) continue;
      event.preventDefault();
      perform(action, [...document.querySelectorAll(`[data-action="${action}"]`)]);
      return;
    }
  });
}

// The dialog in which every key can be changed.
export function fillDialog(table, said) {
  const names = new Map();
  for (const control of document.querySelectorAll("[data-action]")) {
    names.set(control.dataset.action, control.dataset.name);
  }
  const rows = [...bindings()].map(([action, key]) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = names.get(action);
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.rebinds = action;
    button.textContent = SPOKEN[key] ?? key;
    button.setAttribute("aria-label", `Key for “${names.get(action)}”: ${button.textContent}`);
    button.addEventListener("click", () => rebind(action, names, button, table, said));
    row.append(name, document.createElement("td"));
    row.lastChild.append(button);
    return row;
  });
  table.replaceChildren(...rows);
}

function rebind(action, names, button, table, said) {
  button.textContent = "press a key";
  const finish = (text) => {
    document.removeEventListener("keydown", take, true);
    button.removeEventListener("blur", cancel);
    fillDialog(table, said);
    showHints();
    said.textContent = text;
    table.querySelector(`[data-rebinds="${action}"]`)?.focus();
  };
  const cancel = () => finish("Nothing was changed.");
  const take = (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") return cancel();
    if (NEVER.includes(event.key)) return;
    const [before, key] = [bindings(), plain(event.key)];
    const other = [...before].find(([name, bound]) => plain(bound) === key && name !== action)?.[0];
    const chosen = { ...stored(STORE, {}), [action]: key };
    if (other) chosen[other] = before.get(action); // they change places: no key does two things
    const kept = store(STORE, chosen) ? "" : " This browser keeps no settings.";
    const moved = other ? ` “${names.get(other)}” now has ${before.get(action)}.` : "";
    finish(`“${names.get(action)}” now has ${SPOKEN[key] ?? key}.${moved}${kept}`);
  };
  document.addEventListener("keydown", take, true);
  button.addEventListener("blur", cancel, { once: true });
}

export function usePreset(name, table, said) {
  store(STORE, PRESETS[name]);
  fillDialog(table, said);
  showHints();
  said.textContent = "The keys were changed.";
}
