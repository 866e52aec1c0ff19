// The task after the one on the page. It is held beside that one, so that it is there at once when
// that one is done; and given back where it will not be shown, so that others may have it.
let next = null; // its card, its names, and until when it is held by this browser's clock

// Fetch it. `beside` is the task on the page, `seen` the guidelines' version beside that.
export async function ask(beside, seen) {
  const query = new URLSearchParams(location.search);
  query.set("beside", beside);
  query.set("seen", seen);
  let found;
  try {
    const headers = { "HX-Request": "true" };
    const response = await fetch(`/label/ahead?${query}`, { headers, redirect: "manual" });
    if (response.status !== 200) return;
    const until = Date.now() + 1000 * Number(response.headers.get("Accord-Held-S"));
    found = read(await response.text(), until);
  } catch {
    return; // then the next task comes when this one is saved
  }
  const shown = document.getElementById("task").dataset.task;
  if (shown === beside) next = found;
  else if (shown !== found.task) giveBack(found); // one was taken back meanwhile
}

function read(card, until) {
  const form = new DOMParser().parseFromString(card, "text/html").getElementById("judgement");
  const { task, lease } = form.elements;
  return { card, until, task: task.value, lease: lease.value };
}

// Its card; null where there is none, or it may be somebody else's by now.
export const card = () => (next && Date.now() < next.until ? next.card : null);
export const forget = () => (next = null);

export function release() {
  if (next) giveBack(next);
  forget();
}

// By a beacon, which leaves also from a page that is being left.
function giveBack({ task, lease }) {
  const { csrf } = document.body.dataset;
  navigator.sendBeacon("/label/release", new URLSearchParams({ task, lease, csrf }));
}
