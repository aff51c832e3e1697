// What the box editor draws: the things at a frame, and below them the keys of each, frame by frame.

import * as story from "./storyboard.js";
import { THINGS, colours } from "./surface.js";

/**
 * @typedef {import("./storyboard.js").Box} Box
 * @typedef {import("./storyboard.js").Entity} Entity
 * @typedef {import("./storyboard.js").Scene} Scene
 * @typedef {import("./surface.js").Surface} Surface
 * @typedef {{ x: number, y: number, width: number, height: number }} Place  of the picture on its surface
 * @typedef {{ scene: Scene, size: [number, number], frame: number, thing: string, open: boolean, knobs: boolean,
 *   boxOf: (entity: Entity) => Box | null, fresh: Box | null, behind: CanvasImageSource | null }} View
 */

export const HANDLE = 10; // screen pixels
const MARGIN = 12; // around the picture, for handles at its edges
const [LANES, LANE] = [96, 15]; // height of all lanes together, and of one where there are few
const [BEFORE, BEHIND] = [40, 66]; // of a lane: it begins and ends below the frame bar's slider

/** @type {(place: number) => string} */
const colour = (place) => THINGS[place % THINGS.length];

/** Where the picture lies: as large as it fits, in the middle.
 *  @type {(surface: Surface, size: [number, number]) => Place} */
export function placeOf(surface, [wide, tall]) {
  const scale = Math.max(Math.min((surface.width - 2 * MARGIN) / wide, (surface.height - 2 * MARGIN) / tall), 0.001);
  const [width, height] = [wide * scale, tall * scale];
  return { x: (surface.width - width) / 2, y: (surface.height - height) / 2, width, height };
}

/** @param {Surface} surface @param {View} view */
export function paint(surface, view) {
  const pen = surface.begin();
  const place = placeOf(surface, view.size);
  const look = colours();
  const thin = 1 / Math.min(surface.scale, 1);
  const at = (/** @type {number[]} */ [x, y]) =>
    /** @type {[number, number]} */ ([place.x + x * place.width, place.y + y * place.height]);
  const outline = (/** @type {Box} */ box) => {
    const [left, top] = at([box[0], box[1]]);
    const [right, bottom] = at([box[2], box[3]]);
    pen.beginPath();
    pen.rect(left, top, right - left, bottom - top);
  };

  pen.fillStyle = look.ground;
  outline([0, 0, 1, 1]);
  pen.fill();
  if (view.behind) pen.drawImage(view.behind, place.x, place.y, place.width, place.height);
  pen.lineWidth = thin;
  pen.strokeStyle = look.edge;
  if (!view.behind) grid();
  outline([0, 0, 1, 1]);
  pen.stroke();
  pen.globalAlpha = view.open ? 1 : 0.6;

  const { entities } = view.scene;
  const chosen = entities.findIndex((each) => each.id === view.thing);
  if (chosen >= 0) ghosts(entities[chosen], colour(chosen));
  entities.forEach((entity, number) => number !== chosen && thing(entity, number));
  if (chosen >= 0) thing(entities[chosen], chosen);
  if (view.fresh) box(view.fresh, colour(entities.length), 2 * thin, false);
  pen.globalAlpha = 1;

  function grid() {
    pen.globalAlpha = 0.5;
    pen.beginPath();
    for (const part of [0.25, 0.5, 0.75]) {
      pen.moveTo(...at([part, 0]));
      pen.lineTo(...at([part, 1]));
      pen.moveTo(...at([0, part]));
      pen.lineTo(...at([1, part]));
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  /** @param {Box} edges @param {string} ink @param {number} width @param {boolean} dashed */
  function box(edges, ink, width, dashed) {
    outline(edges);
    pen.fillStyle = `${ink}30`;
    pen.fill();
    pen.strokeStyle = ink;
    pen.lineWidth = width;
    pen.setLineDash(dashed ? [5 * thin, 4 * thin] : []); // there is no key at this frame
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {Entity} entity @param {number} number */
  function thing(entity, number) {
    const edges = view.boxOf(entity);
    if (!edges) return;
    const isChosen = entity.id === view.thing;
    box(edges, colour(number), (isChosen ? 2.5 : 1.5) * thin, !story.keyAt(entity, view.frame));
    const [left, top] = at([edges[0], edges[1]]);
    const text = 12 * thin;
    pen.font = `${text}px sans-serif`;
    const width = Math.min(pen.measureText(entity.text).width, place.width) + 8 * thin;
    const x = Math.min(left, place.x + place.width - width);
    const y = top >= place.y + text + 5 * thin ? top - text - 5 * thin : top;
    pen.fillStyle = colour(number);
    pen.fillRect(x, y, width, text + 5 * thin);
    pen.fillStyle = "#fff";
    pen.fillText(entity.text, x + 4 * thin, y + text, place.width);
    if (isChosen && view.knobs) knobs(edges, colour(number));
  }

  /** @param {Box} edges @param {string} ink */
  function knobs(edges, ink) {
    const side = HANDLE / surface.scale;
    pen.lineWidth = thin;
    pen.strokeStyle = ink;
    pen.fillStyle = "#fff";
    for (const spot of Object.values(story.handles(edges))) {
      const [x, y] = at(spot);
      pen.fillRect(x - side / 2, y - side / 2, side, side);
      pen.strokeRect(x - side / 2, y - side / 2, side, side);
    }
  }

  /** The boxes of the keys around, and the way of the centre. @param {Entity} entity @param {string} ink */
  function ghosts(entity, ink) {
    pen.strokeStyle = pen.fillStyle = ink;
    pen.lineWidth = thin;
    pen.globalAlpha = 0.5;
    for (const { f, box: edges } of story.neighbours(entity, view.frame)) {
      outline(/** @type {Box} */ (edges));
      pen.stroke();
      const [x, y] = at([edges?.[2] ?? 0, edges?.[3] ?? 0]);
      pen.font = `${10 * thin}px sans-serif`;
      pen.fillText(String(f + 1), x + 2 * thin, y);
    }
    pen.globalAlpha = 0.8;
    for (const line of story.path(entity)) {
      pen.beginPath();
      for (const spot of line) pen.lineTo(...at(spot));
      pen.stroke();
      for (const spot of line) pen.fillRect(at(spot)[0] - 2 * thin, at(spot)[1] - 2 * thin, 4 * thin, 4 * thin);
    }
    pen.globalAlpha = view.open ? 1 : 0.6;
  }
}

// Lanes: one for each thing, with a bar where it is present, and a mark at each key.

/** @type {(scene: Scene) => number} */
const laneHeight = ({ entities }) => Math.min(LANE, LANES / Math.max(entities.length, 1));

/** @type {(scene: Scene) => number} */
export const lanesHeight = (scene) => Math.ceil(laneHeight(scene) * scene.entities.length);

/** @param {Surface} surface @param {View} view */
export function paintLanes(surface, view) {
  const pen = surface.begin();
  const { scene } = view;
  const tall = laneHeight(scene);
  const look = colours();
  const wide = Math.max(surface.width - BEFORE - BEHIND, 1);
  const x = (/** @type {number} */ frame) => BEFORE + (wide * frame) / Math.max(scene.frames - 1, 1);
  scene.entities.forEach((entity, number) => {
    const [top, middle] = [number * tall, (number + 0.5) * tall];
    pen.fillStyle = colour(number);
    pen.globalAlpha = entity.id === view.thing ? 0.45 : 0.2;
    for (const [from, to] of story.presence(entity, scene.frames)) {
      pen.fillRect(x(from) - 2, top + 1, x(to) - x(from) + 4, tall - 2);
    }
    pen.globalAlpha = 1;
    for (const { f, box } of entity.track) {
      pen.globalAlpha = box ? 1 : 0.4;
      pen.fillRect(x(f) - 2.5, middle - Math.min(tall / 3, 4), 5, Math.min((2 * tall) / 3, 8));
    }
    pen.globalAlpha = 1;
    if (tall < 11) return;
    pen.font = "10px sans-serif";
    pen.fillStyle = entity.id === view.thing ? look.text : look.faint;
    pen.fillText(entity.text, 2, middle + 3.5, BEFORE - 8);
  });
  pen.fillStyle = look.text;
  pen.fillRect(x(view.frame) - 0.5, 0, 1, surface.height);
}

/** The thing and the frame at a place among the lanes.
 *  @type {(surface: Surface, scene: Scene, at: [number, number]) => { entity: Entity | undefined, frame: number }} */
export function laneAt(surface, scene, [x, y]) {
  const wide = Math.max(surface.width - BEFORE - BEHIND, 1);
  const frame = Math.round(((x - BEFORE) / wide) * (scene.frames - 1));
  const entity = scene.entities[Math.floor(y / laneHeight(scene))];
  return { entity, frame: Math.min(Math.max(frame, 0), scene.frames - 1) };
}
