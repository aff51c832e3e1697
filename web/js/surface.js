// A canvas inside a companion: as large as its place, sharp at every zoom, with the editor's colours.

import { app } from "../../../scripts/app.js";

const SHARPEST = 2; // beyond this zoom a canvas grows no further: its memory goes with the square

export class Surface {
  /**
   * @param {HTMLElement} parent - flex column that the canvas takes the spare height of
   * @param {string} label - what a screen reader says
   */
  constructor(parent, label) {
    this.place = document.createElement("div");
    this.place.style.cssText = "position: relative; flex: 1 1 0; min-height: 0";
    this.canvas = document.createElement("canvas");
    this.canvas.style.cssText = "position: absolute; inset: 0; width: 100%; height: 100%";
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.place.append(this.canvas);
    parent.append(this.place);
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.width = 0;
    this.height = 0;
    this.scale = 1; // screen pixels to a pixel of the pen: a handle of 10 on the screen is 10 / scale
  }

  /** Take the size of the place and empty the canvas; the pen then draws in pixels of the graph. */
  begin() {
    this.width = this.place.clientWidth;
    this.height = this.place.clientHeight;
    this.scale = app.canvas?.ds.scale ?? 1;
    const sharp = window.devicePixelRatio * Math.min(Math.max(this.scale, 1), SHARPEST);
    const [wide, tall] = [Math.round(this.width * sharp), Math.round(this.height * sharp)];
    if (this.canvas.width !== wide || this.canvas.height !== tall) {
      this.canvas.width = wide;
      this.canvas.height = tall;
    }
    this.pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.pen.clearRect(0, 0, this.width, this.height);
    return this.pen;
  }

  /**
   * @param {MouseEvent} event
   * @returns {[number, number]} where it is, in pixels of the pen; right at every zoom, as the rectangle is zoomed, too
   */
  at(event) {
    const seen = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - seen.left) / seen.width) * this.width,
      ((event.clientY - seen.top) / seen.height) * this.height,
    ];
  }
}

/** @returns the editor's colours as they are now, in the dark theme and in the light one */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (/** @type {string} */ name, /** @type {string} */ otherwise) =>
    style.getPropertyValue(name).trim() || otherwise;
  return {
    text: named("--input-text", "#ddd"),
    faint: named("--descrip-text", "#999"),
    ground: named("--comfy-input-bg", "#222"),
    edge: named("--border-color", "#4e4e4e"),
    error: named("--error-text", "#ff4444"),
    accent: named("--p-primary-color", "#4a9eff"),
  };
}

/** Colours of things, told apart on dark and on light ground; by number, around again. */
export const THINGS = ["#e0524d", "#4d8fe0", "#3fa860", "#d99a2b", "#9a6be0", "#2ba8a8", "#d0609a", "#8a8f3c"];
