// What is being written, kept in this tab until it is saved: a reload loses no words.
const name = (task) => `accord.draft.${task}`;
const boxes = (form) => [...form.querySelectorAll("textarea")];

export function keep(form, task) {
  const written = boxes(form).filter((box) => box.value !== box.defaultValue);
  try {
    sessionStorage.setItem(name(task), JSON.stringify(written.map((box) => [box.name, box.value])));
    return true;
  } catch {
    return !written.length;
  }
}

export function restore(form, task) {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem(name(task))) ?? [];
  } catch {
    return;
  }
  for (const [field, value] of kept) {
    const box = boxes(form).find((candidate) => candidate.name === field);
    if (!box) continue;
    box.value = value;
    box.closest("details")?.setAttribute("open", "");
  }
}
