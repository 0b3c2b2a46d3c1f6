// The steps of a profile as a tree: numbering and moving. Pure: no page, no network.
// Paths are lists of indexes: [2, 0] is the first step inside the third step, a group.
export const clone = (part) => JSON.parse(JSON.stringify(part));

export function walk(steps, visit, path = [], depth = 0, counter = { number: 0 }) {
  steps.forEach((step, index) => {
    counter.number += 1;
    const here = [...path, index];
    visit(step, counter.number, here, depth);
    if (step.kind === "group") walk(step.steps ??= [], visit, here, depth + 1, counter);
  });
  return counter.number;
}

export function listOf(root, path) {
  return path.slice(0, -1).reduce((steps, index) => steps[index].steps, root);
}

export const at = (root, path) => listOf(root, path)[path.at(-1)];

export function insert(root, path, step) {
  listOf(root, path).splice(path.at(-1), 0, step);
  return path;
}

export function remove(root, path) {
  return listOf(root, path).splice(path.at(-1), 1)[0];
}

export function duplicate(root, path) {
  const copy = clone(at(root, path));
  // A label is what "go to" names, so it stays unique.
  walk([copy], (step) => { delete step.id; if (step.label && step.kind !== "group") step.label = `${step.label} copy`; });
  return insert(root, [...path.slice(0, -1), path.at(-1) + 1], copy);
}

// Move up or down among its neighbours; at the edge of a group it leaves the group.
export function move(root, path, by) {
  const index = path.at(-1);
  const target = index + by;
  if (target >= 0 && target < listOf(root, path).length) {
    const list = listOf(root, path);
    [list[index], list[target]] = [list[target], list[index]];
    return [...path.slice(0, -1), target];
  }
  if (path.length === 1) return null;
  const step = remove(root, path);
  const parent = path.slice(0, -1);
  return insert(root, [...parent.slice(0, -1), parent.at(-1) + (by > 0 ? 1 : 0)], step);
}

// Into the group above it; where there is none, into a new group of its own.
export function indent(root, path) {
  const above = path.at(-1) > 0 ? listOf(root, path)[path.at(-1) - 1] : null;
  const step = remove(root, path);
  if (above?.kind === "group") {
    above.steps.push(step);
    return [...path.slice(0, -1), path.at(-1) - 1, above.steps.length - 1];
  }
  insert(root, path, { kind: "group", count: 1, steps: [step] });
  return [...path, 0];
}

export function outdent(root, path) {
  if (path.length === 1) return null;
  const step = remove(root, path);
  const parent = path.slice(0, -1);
  return insert(root, [...parent.slice(0, -1), parent.at(-1) + 1], step);
}
