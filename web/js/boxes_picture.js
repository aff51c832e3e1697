// What the box editor draws: the things at a frame, and below them the keys of each thing, frame by frame.

import * as story from "./storyboard.js";
import { colourOf, colours } from "./surface.js";

export const HANDLE = 10; // screen pixels
const MARGIN = 12; // around the picture, for handles at its edges
const [LANES, LANE] = [90, 15]; // height of all lanes, and of one where there are few
const [BEFORE, BEHIND] = [40, 66]; // of a lane: it begins and ends below the frame bar's slider
const FAINT = 0.5;

/** Where the picture lies: as large as it fits, in the middle. @param {Surface} surface @param {Point} size */
export function placeOf(surface, [wide, tall]) {
  const scale = Math.max(Math.min((surface.width - 2 * MARGIN) / wide, (surface.height - 2 * MARGIN) / tall), 0.001);
  const [width, height] = [wide * scale, tall * scale];
  return { x: (surface.width - width) / 2, y: (surface.height - height) / 2, width, height };
}

/** @param {Boxes} boxes @param {Scene} scene @param {Point} size */
export function paint(boxes, { entities, frames }, size) {
  const { surface, frame, thing, held, behind, open, editable } = boxes;
  const pen = surface.begin();
  const { x, y, width, height } = placeOf(surface, size);
  const look = colours();
  const thin = 1 / Math.min(surface.scale, 1); // a pixel of the screen, or of a graph that is near
  /** @type {(across: number, down: number) => Point} */
  const at = (across, down) => [x + across * width, y + down * height];
  const outline = (/** @type {number[]} */ [left, top, right, bottom]) => {
    pen.beginPath();
    pen.rect(...at(left, top), (right - left) * width, (bottom - top) * height);
  };
  const ink = (/** @type {string} */ stroke, fill = stroke, line = 1) =>
    Object.assign(pen, { strokeStyle: stroke, fillStyle: fill, lineWidth: line * thin });

  ink(look.edge, look.ground);
  outline([0, 0, 1, 1]);
  pen.fill();
  pen.stroke();
  const picture = behind.at(frame / Math.max(frames - 1, 1));
  pen.globalAlpha = picture ? 1 : FAINT;
  if (picture) pen.drawImage(picture, x, y, width, height);
  else for (const part of [0.25, 0.5, 0.75]) for (const line of [[part, 0, part, 1], [0, part, 1, part]]) {
    outline(line);
    pen.stroke();
  }
  const full = open || !editable ? 1 : FAINT;
  pen.globalAlpha = full;
  const chosen = entities.findIndex((each) => each.id === thing);
  if (chosen >= 0) ghosts(entities[chosen], colourOf(chosen));
  entities.forEach((entity, number) => number !== chosen && draw(entity, colourOf(number)));
  if (chosen >= 0) draw(entities[chosen], colourOf(chosen));
  if (held?.id === "" && held.now) box(held.now, colourOf(entities.length), 2);
  pen.globalAlpha = 1;

  /** @param {Box} edges @param {string} hue @param {number} line */
  function box(edges, hue, line) {
    outline(edges);
    ink(hue, `${hue}30`, line);
    pen.fill();
    pen.stroke();
  }

  /** @param {Entity} entity @param {string} hue */
  function draw(entity, hue) {
    const edges = boxes.boxOf(entity);
    if (!edges) return;
    const isChosen = entity.id === thing;
    pen.setLineDash(story.keyAt(entity, frame) ? [] : [5 * thin, 4 * thin]); // between keys
    box(edges, hue, isChosen ? 2.5 : 1.5);
    pen.setLineDash([]);
    pen.font = `${12 * thin}px sans-serif`;
    const [left, top] = at(edges[0], edges[1]);
    const long = Math.min(pen.measureText(entity.text).width + 8 * thin, width);
    const [start, level] = [Math.min(left, x + width - long), Math.max(top - 17 * thin, y)];
    ink("#fff", hue);
    pen.fillRect(start, level, long, 17 * thin);
    ink(hue, "#fff");
    pen.fillText(entity.text, start + 4 * thin, level + 13 * thin, long - 8 * thin);
    if (!isChosen || !open) return;
    const side = HANDLE / surface.scale;
    for (const spot of Object.values(story.handles(edges))) {
      const [across, down] = at(...spot);
      pen.fillRect(across - side / 2, down - side / 2, side, side);
      pen.strokeRect(across - side / 2, down - side / 2, side, side);
    }
  }

  /** The boxes of the keys around, and the way of the centre. @param {Entity} entity @param {string} hue */
  function ghosts(entity, hue) {
    ink(hue);
    pen.font = `${10 * thin}px sans-serif`;
    pen.globalAlpha = FAINT;
    for (const { f, box: edges } of story.neighbours(entity, frame)) {
      if (!edges) continue;
      outline(edges);
      pen.stroke();
      pen.fillText(String(f + 1), ...at(edges[2], edges[3]));
    }
    for (const line of story.path(entity)) {
      pen.beginPath();
      for (const spot of line) pen.lineTo(...at(...spot));
      pen.stroke();
      for (const [across, down] of line.map((spot) => at(...spot))) {
        pen.fillRect(across - 2 * thin, down - 2 * thin, 4 * thin, 4 * thin);
      }
    }
    pen.globalAlpha = full;
  }
}

// Lanes: one for each thing, with a bar where it is present and a mark at each key.

/** @param {Scene} scene */
const laneHeight = ({ entities }) => Math.min(LANE, LANES / Math.max(entities.length, 1));

/** @param {Scene} scene */
export const lanesHeight = (scene) => Math.ceil(laneHeight(scene) * scene.entities.length);

/** @param {Boxes} boxes @param {Scene} scene */
export function paintLanes({ lanes, frame, thing }, scene) {
  const pen = lanes.begin();
  const tall = laneHeight(scene);
  const look = colours();
  const step = (lanes.width - BEFORE - BEHIND) / Math.max(scene.frames - 1, 1);
  const x = (/** @type {number} */ at) => BEFORE + step * at;
  pen.font = "10px sans-serif";
  scene.entities.forEach((entity, number) => {
    const top = number * tall;
    /** @type {(alpha: number, from: number, to: number, edge: number) => void} */
    const bar = (alpha, from, to, edge) => {
      pen.globalAlpha = alpha;
      pen.fillRect(x(from) - 2.5, top + edge, x(to) - x(from) + 5, tall - 2 * edge);
    };
    pen.fillStyle = colourOf(number);
    for (const [from, to] of story.presence(entity, scene.frames)) bar(entity.id === thing ? FAINT : 0.25, from, to, 1);
    for (const { f, box } of entity.track) bar(box ? 1 : FAINT, f, f, tall / 5);
    pen.globalAlpha = 1;
    pen.fillStyle = entity.id === thing ? look.text : look.faint;
    if (tall > 10) pen.fillText(entity.text, BEFORE + 6, top + tall / 2 + 3.5);
  });
  pen.fillStyle = look.text;
  pen.fillRect(x(frame) - 0.5, 0, 1, lanes.height);
}

/** The thing and the frame at a place among the lanes. @param {Surface} lanes @param {Scene} scene @param {Point} at */
export function laneAt(lanes, scene, [x, y]) {
  const part = (x - BEFORE) / Math.max(lanes.width - BEFORE - BEHIND, 1);
  const frame = story.clamp(Math.round(part * (scene.frames - 1)), 0, scene.frames - 1);
  return { thing: scene.entities[Math.floor(y / laneHeight(scene))]?.id ?? "", frame };
}
