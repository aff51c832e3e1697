// Motion Path's keyframes without a page: read and written, in between, and what a drag makes of a place.
// models/zero_shot/motion_path.py says the same in Python; tests/golden/path_interpolation.json holds both to it.

const STILL = [0, 0, 1, 0]; // a place
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const FORM = "`frame: move right, move down, zoom, angle`, the last two optional, such as `8: 0.25 0 1.5 -10`";

/** @param {string} word */
function readNumber(word) {
  const plain = word.trim().replace(/(?<=\d)_(?=\d)/g, "");
  return NUMBER.test(plain) ? Number(plain) : NaN;
}

/** @type {(text: string, line: number) => PathKey | null} */
function readKey(text, line) {
  const [before, after = "", ...more] = text.split(":");
  const frame = /[.e]/i.test(before) ? NaN : readNumber(before);
  const values = after.replaceAll(",", " ").trim().split(/\s+/).map(readNumber);
  const fits = frame >= 0 && !more.length && values.length >= 2 && values.length <= 4 && values.every(Number.isFinite);
  return fits ? { frame, line, place: [...values, ...STILL.slice(values.length)] } : null;
}

/** Read keyframes as the server does, with its words for a problem. @param {string} text @returns {Path} */
export function readPath(text) {
  const lines = text.split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  /** @type {Map<number, PathKey>} */
  const found = new Map();
  const wrong = (/** @type {string} */ problem) => ({ lines, keys: [], problem });
  for (const [line, whole] of lines.entries()) {
    const bare = whole.split("#")[0].trim();
    if (!bare) continue;
    const key = readKey(bare, line);
    const where = `keyframes line ${line + 1}:`;
    if (!key) return wrong(`${where} got '${whole.trim()}'; expected ${FORM}; correct the line.`);
    if (found.has(key.frame)) return wrong(`${where} frame ${key.frame} comes twice; keep one of its lines.`);
    found.set(key.frame, key);
  }
  const keys = [...found.values()].sort((a, b) => a.frame - b.frame);
  const flat = keys.find(({ place }) => place[2] <= 0);
  if (!flat) return { lines, keys, problem: "" };
  return wrong(`keyframe ${flat.frame}: zoom=${flat.place[2]} must be above 0; 2 is twice as large, 0.5 half.`);
}

/** @param {number} frame @param {Place} place */
function writeKey(frame, [right, down, zoom, angle]) {
  const kept = [right, down, Math.min(Math.max(zoom, 0.01), 100), angle]; // a zoom as the node's own setting has it
  const words = kept.map((value) => String(Number(value.toFixed(4))));
  return `${frame}: ${words.slice(0, words[3] !== "0" ? 4 : words[2] !== "1" ? 3 : 2).join(" ")}`;
}

/** Write a frame's key into the text, or take it out; its remark and every other line stay.
 * @param {Path} path @param {number} frame @param {Place} [place] */
export function withKey({ lines, keys }, frame, place) {
  const next = keys.find((key) => key.frame >= frame);
  const line = next?.line ?? (keys.at(-1)?.line ?? -1) + 1;
  const old = next?.frame === frame ? [lines[line]] : [];
  const written = place ? [writeKey(frame, place) + (old[0]?.match(/\s*(#.*)?$/)?.[0] ?? "")] : [];
  return [...lines.slice(0, line), ...written, ...lines.slice(line + old.length)].join("\n");
}

/** Return where the picture lies in a frame: straight between keys (zoom in its logarithm), still before and after.
 * @param {PathKey[]} keys @param {number} frame @returns {Place} */
export function placeAt(keys, frame) {
  if (!keys.length) return STILL;
  let [low, high] = [0, keys.length - 1];
  const at = Math.min(Math.max(frame, keys[low].frame), keys[high].frame);
  while (high - low > 1) {
    const between = (low + high) >> 1;
    if (keys[between].frame < at) low = between;
    else high = between;
  }
  const [a, b] = [keys[low], keys[high]];
  const part = (at - a.frame) / Math.max(b.frame - a.frame, 1);
  return a.place.map((from, index) => {
    const to = b.place[index];
    return index === 2 ? from ** (1 - part) * to ** part : (1 - part) * from + part * to;
  });
}

/** Places of the first and of the last frame, by name. @type {Record<string, string[]>} */
const ENDS = {
  "move right (camera pans left)": ["0 0", "0.25 0"],
  "move left (camera pans right)": ["0 0", "-0.25 0"],
  "move up (camera pans down)": ["0 0", "0 -0.25"],
  "move down (camera pans up)": ["0 0", "0 0.25"],
  "zoom in": ["0 0", "0 0 1.5"],
  "zoom out": ["0 0 1.5", "0 0"],
  "turn clockwise": ["0 0", "0 0 1 15"],
  "turn anticlockwise": ["0 0", "0 0 1 -15"],
};
export const PRESETS = [...Object.keys(ENDS), "shake"];

/** Write a preset for a clip. @param {string} name @param {number} frames */
export function preset(name, frames) {
  const last = Math.max(frames - 1, 1);
  if (name in ENDS) return `0: ${ENDS[name][0]}\n${last}: ${ENDS[name][1]}`;
  const step = Math.max(2, Math.ceil(frames / 64));
  return Array.from({ length: Math.ceil(last / step) + 1 }, (_, n) => {
    const place = [0.02 * Math.sin(2.4 * n), 0.02 * Math.sin(3.9 * n), 1.06, Math.sin(5.1 * n)]; // zoom hides the edges
    return writeKey(Math.min(n * step, last), place);
  }).join("\n");
}

/** Return where a point lies as the picture sees it, from its own middle.
 * @type {(place: Place, size: number[], point: Spot) => Spot} */
export function seen([right, down, , angle], [width, height], [x, y]) {
  const turn = (angle * Math.PI) / 180;
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const [fromX, fromY] = [x - right * width, y - down * height];
  return [cos * fromX + sin * fromY, cos * fromY - sin * fromX];
}

/** Say what a press takes hold of: the handle that turns, an arm above the picture, a corner, or all of it.
 * @param {Place} place @param {number[]} size @param {Spot} point @param {number} arm @param {number} reach */
export function gripAt(place, size, point, arm, reach) {
  const [x, y] = seen(place, size, point);
  const [outX, outY] = [Math.abs(x) - (size[0] * place[2]) / 2, Math.abs(y) - (size[1] * place[2]) / 2];
  if (y < 0 && Math.hypot(x, outY - arm) <= reach) return "turn";
  if (Math.hypot(outX, outY) <= reach) return "zoom";
  return Math.max(outX, outY) <= 0 ? "move" : "";
}

/** Return where a drag takes the picture that lay at `start` and lies at `now`; straight: on one axis, by 15 degrees.
 * @type {(grip: string, start: Place, now: Place, size: number[], from: Spot, to: Spot, straight: boolean) => Place} */
export function dragged(grip, start, now, size, from, to, straight) {
  const [right, down, zoom, angle] = start;
  if (grip === "move") {
    const by = [to[0] - from[0], to[1] - from[1]];
    if (straight) by[Math.abs(by[0]) < Math.abs(by[1]) ? 0 : 1] = 0;
    return [right + by[0] / size[0], down + by[1] / size[1], zoom, angle];
  }
  const [a, b] = [seen(start, size, from), seen(start, size, to)];
  if (grip === "zoom") return [right, down, (zoom * Math.hypot(...b)) / Math.hypot(...a), angle];
  const turned = angle + ((Math.atan2(b[1], b[0]) - Math.atan2(a[1], a[0])) * 180) / Math.PI;
  const whole = turned + 360 * Math.round((now[3] - turned) / 360); // on behind a full turn
  return [right, down, zoom, straight ? 15 * Math.round(whole / 15) : whole];
}
