// A canvas inside a companion: as large as its place, sharp at every zoom, with the editor's colours.

import { app } from "../../../scripts/app.js";
import { make } from "./controls.js";

const SHARPEST = 2; // beyond this zoom a canvas grows no further: its memory goes with the square

export class Surface {
  width = 0;
  height = 0;
  scale = 1; // screen pixels to a pixel of the pen: a handle of 10 on the screen is 10 / scale

  /** @param {HTMLElement} parent - flex column, whose spare height it takes @param {string} label */
  constructor(parent, label) {
    const style = "position: absolute; inset: 0; width: 100%; height: 100%";
    this.canvas = make("canvas", { ariaLabel: label, role: "img" }, style);
    this.line = make("div", { hidden: true },
      "position: absolute; inset: 0 auto 0 0; width: 1px; background: currentColor; pointer-events: none");
    this.place = make("div", {}, "position: relative; flex: 1 1 0; min-height: 0", this.canvas, this.line);
    parent.append(this.place);
    this.pen = /** @type {Pen} */ (this.canvas.getContext("2d"));
  }

  /** Take the size of the place and empty the canvas; the pen then draws in pixels of the graph. */
  begin() {
    this.width = this.place.clientWidth;
    this.height = this.place.clientHeight;
    this.scale = app.canvas.ds.scale;
    const sharp = devicePixelRatio * Math.min(Math.max(this.scale, 1), SHARPEST);
    const [wide, tall] = [Math.round(this.width * sharp), Math.round(this.height * sharp)];
    if (this.canvas.width !== wide || this.canvas.height !== tall) {
      this.canvas.width = wide;
      this.canvas.height = tall;
    }
    this.pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.pen.clearRect(0, 0, this.width, this.height);
    return this.pen;
  }

  /** Show a line at a share of the width; null: none. @param {number | null} share */
  mark(share) {
    this.line.hidden = share === null;
    this.line.style.transform = `translateX(${(share ?? 0) * (this.width - 1)}px)`;
  }

  /** Where an event is, in pixels of the pen, at every zoom: the rectangle is zoomed, too.
   *  @param {MouseEvent} event @returns {Point} */
  at({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((clientX - left) / width) * this.width, ((clientY - top) / height) * this.height];
  }
}

/** Draw values, null left out, as a line or as dots, from the left to the right of an area. `range`: values at its foot and top.
 *  @type {(pen: Pen, values: (number | null)[], area: Area, range: number[], dots?: boolean) => void} */
export function drawCurve(pen, values, { x, y, width, height }, [low, high], dots) {
  pen.beginPath();
  values.forEach((value, place) => {
    if (value === null) return;
    const across = x + (width * place) / Math.max(values.length - 1, 1);
    const down = y + height * (high > low ? (high - value) / (high - low) : 0.5);
    if (dots) pen.fillRect(across - 1, down - 1, 2, 2);
    else pen.lineTo(across, down);
  });
  pen.stroke();
}

/** Return the least and the greatest of values, null left out. @param {(number | null)[]} values */
export function rangeOf(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value ?? low), Math.max(high, value ?? high)], [Infinity, -Infinity]);
}

/** @returns the editor's colours as they are now, in the dark theme and in the light one */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (/** @type {string} */ name, /** @type {string} */ otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: named("--input-text", "#ddd"),
    faint: named("--descrip-text", "#999"),
    ground: named("--comfy-input-bg", "#222"),
    edge: named("--border-color", "#4e4e4e"),
    accent: named("--p-primary-color", "#4a9eff"),
  };
}

const THINGS = ["#4d8fe0", "#d99a2b", "#e0524d", "#3fa860", "#9a6be0", "#2ba8a8", "#d0609a", "#8a8f3c"];

/** The colour of a thing or a line; everybody tells the first two apart. @param {number} number */
export const colourOf = (number) => THINGS[number % THINGS.length];
