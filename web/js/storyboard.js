// A storyboard as data: where things are at a frame, and what an edit makes of it. Nothing here knows of a page, and
// nothing changes what it is given. The format is models/storyboard/scenes.py's: a box is [left, top, right, bottom],
// 0..1 of the picture, and frames are numbered from 0 within their scene.

const LEAST = 0.01; // side of a box that a hand makes, so that it can take hold of it again
const LINE = 100; // characters up to which a list or an object stays on one line of the text

/** @type {(number: number) => number} */
export const round = (number) => Math.round(number * 1e4) / 1e4;

/** @type {(value: number, low: number, high: number) => number} */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Where a thing is.

/** The box of a thing at a frame, by the rule of Entity.boxes_at; null: it is absent.
 *  @type {(entity: Entity, frame: number) => Box | null} */
export function boxAt({ track, hold }, frame) {
  const last = track.length - 1;
  let after = 0;
  while (after <= last && track[after].f <= frame) after += 1;
  const isOutside = after === 0 || (after > last && track[last].f !== frame);
  if (last < 0 || (isOutside && !hold)) return null;
  const [start, end] = [track[Math.max(after - 1, 0)], track[Math.min(after, last)]];
  const [from, to, length] = [start.box, end.box, end.f - start.f];
  if (!from || !to || !length) return from;
  const part = (frame - start.f) / length;
  return /** @type {Box} */ (from.map((edge, side) => edge + part * (to[side] - edge)));
}

/** @type {(entity: Entity, frame: number) => Key | undefined} */
export const keyAt = ({ track }, frame) => track.find((key) => key.f === frame);

/** The keys before and after a frame.
 *  @type {(entity: Entity, frame: number) => Key[]} */
export function neighbours({ track }, frame) {
  const pair = [track.filter((key) => key.f < frame).at(-1), track.find((key) => key.f > frame)];
  return pair.filter((key) => key !== undefined);
}

/** The way of a thing's centre from key to key, in parts where it is absent between.
 *  @type {(entity: Entity) => Point[][]} */
export function path({ track }) {
  /** @type {Point[][]} */
  const lines = [[]];
  for (const { box } of track) {
    if (box) lines[lines.length - 1].push([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
    else lines.push([]);
  }
  return lines.filter((line) => line.length);
}

/** The first and the last frame of every part of a scene in which a thing is present.
 *  @type {(entity: Entity, frames: number) => Point[]} */
export function presence({ track, hold }, frames) {
  /** @type {Point[]} */
  const parts = [];
  track.forEach(({ f, box }, place) => {
    if (!box) return;
    const next = track[place + 1];
    const last = next ? next.f - 1 : hold ? frames - 1 : f;
    const before = parts.at(-1);
    if (before?.[1] === f - 1) before[1] = last;
    else parts.push([hold && !place ? 0 : f, last]);
  });
  return parts;
}

// Boxes under a hand. A handle is named by the sides that it moves: "nw", "n", "ne", "e", "se", "s", "sw", "w".

/** @type {(box: Box) => Record<string, Point>} */
export function handles([left, top, right, bottom]) {
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return {
    nw: [left, top], ne: [right, top], se: [right, bottom], sw: [left, bottom],
    n: [x, top], e: [right, y], s: [x, bottom], w: [left, y],
  };
}

/** The handle at a place, or "move" inside the box, or "" outside. ``reach`` is half of a handle's width and height.
 *  @type {(box: Box, place: Point, reach: Point) => string} */
export function handleAt(box, [x, y], [dx, dy]) {
  const near = Object.entries(handles(box)).find(([, at]) => Math.abs(at[0] - x) <= dx && Math.abs(at[1] - y) <= dy);
  return near?.[0] ?? (x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3] ? "move" : "");
}

/** A box that is dragged by a handle, or by "move" as a whole. It stays in the picture, and never turns over.
 *  @type {(box: Box, handle: string, way: Point) => Box} */
export function drag(box, handle, [dx, dy]) {
  let [left, top, right, bottom] = box;
  if (handle === "move") {
    [dx, dy] = [clamp(dx, -left, 1 - right), clamp(dy, -top, 1 - bottom)];
    [left, top, right, bottom] = [left + dx, top + dy, right + dx, bottom + dy];
  } else {
    if (handle.includes("w")) left = clamp(left + dx, 0, Math.max(right - LEAST, 0));
    if (handle.includes("e")) right = clamp(right + dx, Math.min(left + LEAST, 1), 1);
    if (handle.includes("n")) top = clamp(top + dy, 0, Math.max(bottom - LEAST, 0));
    if (handle.includes("s")) bottom = clamp(bottom + dy, Math.min(top + LEAST, 1), 1);
  }
  return /** @type {Box} */ ([left, top, right, bottom].map(round));
}

/** The box between two corners; null: it is too small to be meant.
 *  @type {(from: Point, to: Point) => Box | null} */
export function span(from, to) {
  const [[left, right], [top, bottom]] = [0, 1].map((axis) =>
    [from[axis], to[axis]].map((at) => round(clamp(at, 0, 1))).sort((one, other) => one - other));
  return right - left < LEAST || bottom - top < LEAST ? null : [left, top, right, bottom];
}

// Edits.

/** A storyboard of one scene without things.
 *  @type {(given: { frames: number, fps: number, width: number, height: number }) => Storyboard} */
export function empty({ frames, fps, width, height }) {
  const scene = { id: 1, prompt: "", background: "", frames: Math.max(frames, 1), entities: [] };
  return { version: 1, fps, size: [width, height], scenes: [scene], groups: {} };
}

/** @type {(board: Storyboard, place: number, change: Partial<Scene>) => Storyboard} */
export function withScene(board, place, change) {
  return { ...board, scenes: board.scenes.map((scene, at) => (at === place ? { ...scene, ...change } : scene)) };
}

/** @type {(scene: Scene, id: string, change: Partial<Entity>) => Scene} */
export function withEntity(scene, id, change) {
  return { ...scene, entities: scene.entities.map((each) => (each.id === id ? { ...each, ...change } : each)) };
}

/** @type {(track: Key[], frame: number) => Key[]} */
export const withoutKey = (track, frame) => track.filter((key) => key.f !== frame);

/** @type {(track: Key[], frame: number, box: Box | null) => Key[]} */
export function withKey(track, frame, box) {
  return [...withoutKey(track, frame), { f: frame, box }].sort((one, other) => one.f - other.f);
}

/** A scene with one thing more, which stands still until it gets a second key.
 *  @type {(scene: Scene, frame: number, box: Box) => Scene} */
export function withThing(scene, frame, box) {
  let number = scene.entities.length + 1;
  while (scene.entities.some(({ id }) => id === `thing_${number}`)) number += 1;
  const thing = { id: `thing_${number}`, text: `thing ${number}`, track: [{ f: frame, box }], hold: true };
  return { ...scene, entities: [...scene.entities, thing] };
}

/** @type {(scene: Scene, id: string) => Scene} */
export function withoutThing(scene, id) {
  return { ...scene, entities: scene.entities.filter((each) => each.id !== id) };
}

/** The fewest frames that a scene can have: all its keys are in it.
 *  @type {(scene: Scene) => number} */
export function fewestFrames({ entities }) {
  const keys = entities.flatMap((each) => [...each.track, ...(each.keypoints ?? [])]);
  return keys.reduce((most, key) => Math.max(most, key.f + 1), 1);
}

/** @type {(board: Storyboard) => Storyboard} */
export function withNewScene(board) {
  const id = 1 + board.scenes.reduce((most, scene) => Math.max(most, scene.id), 0);
  return { ...board, scenes: [...board.scenes, { ...board.scenes[board.scenes.length - 1], id, prompt: "", entities: [] }] };
}

/** A storyboard without a scene, which no group names any more.
 *  @type {(board: Storyboard, place: number) => Storyboard} */
export function withoutScene(board, place) {
  const { id } = board.scenes[place];
  const groups = Object.entries(board.groups).map(([name, ids]) => [name, ids.filter((each) => each !== id)]);
  return { ...board, scenes: board.scenes.filter((scene) => scene.id !== id), groups: Object.fromEntries(groups) };
}

// The text.

/** The storyboard as Frameloom JSON, always the same text for the same one. What is empty by default is left out.
 *  @type {(board: Storyboard) => string} */
export function format(board) {
  const scenes = board.scenes.map((scene) => filled({ ...scene, entities: scene.entities.map(filled) }));
  return write(filled({ ...board, scenes }), "");
}

/** @param {object} fields */
function filled(fields) {
  const isEmpty = (/** @type {any} */ value) => !value || (typeof value === "object" && !Object.keys(value).length);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value === 0 || !isEmpty(value)));
}

/** @param {any} value @param {string} indent @returns {string} */
function write(value, indent) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const items = (/** @type {string} */ within) =>
    Object.entries(value).map(([key, each]) => (isList ? "" : `${JSON.stringify(key)}: `) + write(each, within));
  const [open, close] = isList ? "[]" : "{}";
  if (JSON.stringify(value).length < LINE) return open + items("").join(", ") + close;
  const deeper = `\n${indent}  `;
  return open + deeper + items(deeper.slice(1)).join(`,${deeper}`) + `\n${indent}${close}`;
}
