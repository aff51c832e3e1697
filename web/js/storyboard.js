// A storyboard as data: where things are at a frame, and what an edit makes of it. Nothing here knows of a page.
//
// The format is the one of models/storyboard/scenes.py: boxes are [left, top, right, bottom], 0..1 of the picture, and
// frames are numbered from 0 within their scene. No function changes what it is given: an edit returns a new one.

/**
 * @typedef {[number, number, number, number]} Box
 * @typedef {{ f: number, box: Box | null }} Key  no box: absent from this frame on
 * @typedef {{ id: string, text: string, image?: string | null, track: Key[], hold: boolean,
 *   keypoints?: { f: number, points: Record<string, number[]> }[] | null }} Entity
 * @typedef {{ id: number, prompt: string, background: string, frames: number, entities: Entity[] }} Scene
 * @typedef {{ version: number, fps: number, size: [number, number], scenes: Scene[],
 *   groups: Record<string, number[]>, provenance?: object | null }} Storyboard
 */

const LEAST = 0.01; // side of a box that is drawn, so that it can be taken hold of again
const LINE = 100; // characters up to which a list or an object stays on one line

/** @type {(number: number) => number} */
export const round = (number) => Math.round(number * 1e4) / 1e4;

/**
 * A storyboard of one scene without things.
 *
 * @param {{ frames: number, fps: number, width: number, height: number }} settings
 * @returns {Storyboard}
 */
export function empty({ frames, fps, width, height }) {
  const scene = { id: 1, prompt: "", background: "", frames: Math.max(frames, 1), entities: [] };
  return { version: 1, fps, size: [width, height], scenes: [scene], groups: {} };
}

// Where a thing is.

/**
 * The box of a thing at a frame, by the rule of Entity.boxes_at; null: it is absent.
 *
 * @param {Entity} entity
 * @param {number} frame
 * @returns {Box | null}
 */
export function boxAt({ track, hold }, frame) {
  let after = 0;
  while (after < track.length && track[after].f <= frame) after += 1;
  const last = track.length - 1;
  const outside = after === 0 || (after > last && track[last].f !== frame);
  if (last < 0 || (outside && !hold)) return null;
  const [start, end] = [track[Math.max(after - 1, 0)], track[Math.min(after, last)]];
  const length = end.f - start.f;
  if (!start.box || !end.box || !length) return start.box;
  const part = (frame - start.f) / length;
  const [from, to] = [start.box, end.box];
  return /** @type {Box} */ (from.map((edge, side) => edge + part * (to[side] - edge)));
}

/** @type {(entity: Entity, frame: number) => Key | undefined} */
export const keyAt = ({ track }, frame) => track.find((key) => key.f === frame);

/** The keys with a box before and after a frame, which are shown as ghosts.
 *  @type {(entity: Entity, frame: number) => Key[]} */
export function neighbours({ track }, frame) {
  const before = track.filter((key) => key.f < frame).at(-1);
  const after = track.find((key) => key.f > frame);
  return [before, after].filter((key) => key?.box);
}

/** The way of a thing's centre, as lines from key to key; it is broken where the thing is absent.
 *  @type {(entity: Entity) => [number, number][][]} */
export function path({ track }) {
  const lines = [[]];
  for (const { box } of track) {
    if (box) lines.at(-1).push([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
    else lines.push([]);
  }
  return lines.filter((line) => line.length);
}

// Boxes under a pointer. Handles are named by the sides that they move: "nw", "n", "ne", "e", "se", "s", "sw", "w".

/** Places of the eight handles of a box, by name.
 *  @type {(box: Box) => Record<string, [number, number]>} */
export function handles([left, top, right, bottom]) {
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return {
    nw: [left, top], ne: [right, top], se: [right, bottom], sw: [left, bottom],
    n: [x, top], e: [right, y], s: [x, bottom], w: [left, y],
  }; // prettier-ignore
}

/**
 * The handle at a place, or "move" inside the box, or "" outside.
 *
 * @param {Box} box
 * @param {[number, number]} place
 * @param {[number, number]} reach  half of a handle's width and height
 */
export function handleAt(box, [x, y], [dx, dy]) {
  const near = ([at, level]) => Math.abs(at - x) <= dx && Math.abs(level - y) <= dy;
  const inside = x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
  return Object.entries(handles(box)).find(([, place]) => near(place))?.[0] ?? (inside ? "move" : "");
}

/**
 * A box that is dragged: as a whole, or by a handle. It stays in the picture, and never turns over.
 *
 * @param {Box} box
 * @param {string} handle
 * @param {[number, number]} way
 * @returns {Box}
 */
export function drag(box, handle, [dx, dy]) {
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  let [left, top, right, bottom] = box;
  if (handle === "move") {
    dx = clamp(dx, -left, 1 - right);
    dy = clamp(dy, -top, 1 - bottom);
    return /** @type {Box} */ ([left + dx, top + dy, right + dx, bottom + dy].map(round));
  }
  if (handle.includes("w")) left = clamp(left + dx, 0, Math.max(right - LEAST, 0));
  if (handle.includes("e")) right = clamp(right + dx, Math.min(left + LEAST, 1), 1);
  if (handle.includes("n")) top = clamp(top + dy, 0, Math.max(bottom - LEAST, 0));
  if (handle.includes("s")) bottom = clamp(bottom + dy, Math.min(top + LEAST, 1), 1);
  return /** @type {Box} */ ([left, top, right, bottom].map(round));
}

/** The box between two corners; null: it is too small to be meant.
 *  @type {(from: [number, number], to: [number, number]) => Box | null} */
export function span(from, to) {
  const [xs, ys] = [0, 1].map((axis) =>
    [from[axis], to[axis]].map((value) => round(Math.min(Math.max(value, 0), 1))).sort((a, b) => a - b));
  return xs[1] - xs[0] < LEAST || ys[1] - ys[0] < LEAST ? null : [xs[0], ys[0], xs[1], ys[1]];
}

// Edits.

/** @type {(board: Storyboard, place: number, change: Partial<Scene>) => Storyboard} */
export function withScene(board, place, change) {
  const scenes = board.scenes.map((scene, at) => (at === place ? { ...scene, ...change } : scene));
  return { ...board, scenes };
}

/** @type {(scene: Scene, id: string, change: Partial<Entity>) => Scene} */
export function withEntity(scene, id, change) {
  const entities = scene.entities.map((entity) => (entity.id === id ? { ...entity, ...change } : entity));
  return { ...scene, entities };
}

/** A track with a box, or null for an absence, at a frame.
 *  @type {(track: Key[], frame: number, box: Box | null) => Key[]} */
export function withKey(track, frame, box) {
  return [...withoutKey(track, frame), { f: frame, box }].sort((one, other) => one.f - other.f);
}

/** @type {(track: Key[], frame: number) => Key[]} */
export const withoutKey = (track, frame) => track.filter((key) => key.f !== frame);

/** A scene with one thing more, which stands still until it gets a second key.
 *  @type {(scene: Scene, text: string, frame: number, box: Box) => Scene} */
export function withThing(scene, text, frame, box) {
  const ids = scene.entities.map((entity) => entity.id);
  const slug = text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_|_$/g, "") || "thing";
  let id = slug;
  for (let number = 2; ids.includes(id); number += 1) id = `${slug}_${number}`;
  const thing = { id, text, track: [{ f: frame, box }], hold: true };
  return { ...scene, entities: [...scene.entities, thing] };
}

/** @type {(scene: Scene, id: string) => Scene} */
export function withoutThing(scene, id) {
  return { ...scene, entities: scene.entities.filter((entity) => entity.id !== id) };
}

/** The fewest frames that a scene can have: its keys are in it.
 *  @type {(scene: Scene) => number} */
export function fewestFrames({ entities }) {
  const keys = entities.flatMap((entity) => [...entity.track, ...(entity.keypoints ?? [])]);
  return keys.reduce((most, key) => Math.max(most, key.f + 1), 1);
}

/** @type {(board: Storyboard) => Storyboard} */
export function withNewScene(board) {
  const id = board.scenes.reduce((most, scene) => Math.max(most, scene.id), 0) + 1;
  const { background, frames } = board.scenes.at(-1);
  return { ...board, scenes: [...board.scenes, { id, prompt: "", background, frames, entities: [] }] };
}

/** A storyboard without a scene, which no group names any more.
 *  @type {(board: Storyboard, place: number) => Storyboard} */
export function withoutScene(board, place) {
  const { id } = board.scenes[place];
  const groups = Object.entries(board.groups).map(([name, ids]) => [name, ids.filter((each) => each !== id)]);
  return { ...board, scenes: board.scenes.filter((scene) => scene.id !== id), groups: Object.fromEntries(groups) };
}

// The text.

/** The storyboard as Frameloom JSON. What is empty and may be left out, is; a key stands on one line.
 *  @type {(board: Storyboard) => string} */
export function format(board) {
  const scenes = board.scenes.map((scene) => filled({ ...scene, entities: scene.entities.map(filled) }));
  return write(filled({ ...board, scenes }), "");
}

const isEmpty = (value) =>
  value === null || value === undefined || value === "" || value === false ||
  (typeof value === "object" && !Object.keys(value).length);

function filled(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

function write(value, indent) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const label = (key) => (isList ? "" : `${JSON.stringify(key)}: `);
  const parts = (deeper) => Object.entries(value).map(([key, each]) => label(key) + write(each, deeper));
  const [open, close] = isList ? "[]" : "{}";
  const short = JSON.stringify(value).length < LINE && open + parts("").join(", ") + close;
  if (short && short.length < LINE) return short;
  const deeper = `${indent}  `;
  return `${open}\n${deeper}${parts(deeper).join(`,\n${deeper}`)}\n${indent}${close}`;
}
