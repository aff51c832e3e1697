// The path editor on Motion Path: the picture as a rectangle that moves, zooms by a corner and turns by a handle.

import { companion, placeOf } from "./companion.js";
import { CONTROL, ROW, button, field, make, notice, put } from "./controls.js";
import { frameBar } from "./frame_bar.js";
import { PRESETS, dragged, gripAt, placeAt, preset, readPath, withKey } from "./path.js";
import { Surface, colours } from "./surface.js";

const MEANING = "Drag the picture: to the right, as if the camera went left.";
const HELP = "The thick outline is what is seen. Shift drags along one axis, and turns by 15 degrees. Keys: arrows move " +
  "(Shift: further), + and - zoom, [ and ] turn, comma and full stop go from key to key, Delete removes one.";
const SETTINGS = ["kind", "frames", "width", "height", "keyframes"];
const NUMBERS = ["right", "down", "zoom", "angle"];
const STEPS = [0.01, 0.01, 0.01, 1];
/** Index of the number that a key changes, and its way. @type {Record<string, Point>} */
const NUDGES = {
  ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 1], ArrowUp: [1, -1],
  "+": [2, 1], "=": [2, 1], "-": [2, -1], "]": [3, 1], "[": [3, -1],
};
const [HANDLE, ARM] = [10, 24]; // pixels of the screen

/** Frames that are shown, by the nodes' places. @type {Map<string, number>} */
const shown = new Map();

class PathEditor {
  path = readPath("");
  editable = false;
  /** @type {Pull | null} */
  drag = null;
  span = 2; // of the view, in sides of the picture

  /** @param {Companion} c */
  constructor(c) {
    this.c = c;
    const hint = make("div", { textContent: MEANING, title: HELP }, "flex: none; white-space: nowrap; overflow: hidden");
    c.root.append(hint);
    this.surface = new Surface(c.root, MEANING);
    this.note = notice("max-height: 60px");
    this.fields = NUMBERS.map((name, index) => field({ type: "number", step: String(STEPS[index]), ariaLabel: name },
      "flex: 1; width: 0", ({ valueAsNumber }) => this.edit(index, valueAsNumber)));
    const numbers = this.fields.map((each, index) => make("label", {}, `${ROW} flex: 1`, NUMBERS[index], each));
    const options = ["Write a preset ...", ...PRESETS].map((name) => new Option(name));
    const onchange = () => c.step(() => this.write(preset(this.presets.value, c.value("frames"))));
    this.presets = make("select", { title: "preset", onchange }, `${CONTROL} flex: 1`, ...options);
    this.remover = button("", "delete the key of this frame", () => c.step(() => this.put()));
    this.chooser = button("Draw keyframes", "draw keyframes", () => c.step(() => c.write("kind", "keyframes") && this.changed()));
    this.bar = frameBar(() => this.show());
    const left = shown.get(placeOf(c.node)) ?? 0; // the frame at which this node was left
    this.bar.set({ frames: left + 1, frame: left });
    c.root.append(this.note, make("div", {}, ROW, ...numbers),
      make("div", {}, ROW, this.presets, this.remover, this.chooser), this.bar.element);
    this.listen();
  }

  listen() {
    const { canvas } = this.surface;
    const grip = (/** @type {PointerEvent} */ event) => {
      const { unit } = this.view();
      return this.editable ? gripAt(this.place, this.size, this.at(event), ARM * unit, HANDLE * unit) : "";
    };
    canvas.onpointerdown = (event) => {
      if (event.button !== 0) return;
      this.c.root.focus({ preventScroll: true }); // a number that is being typed is written first
      if (!grip(event)) return;
      this.bar.stop();
      canvas.setPointerCapture(event.pointerId);
      this.drag = { grip: grip(event), start: this.place, now: this.place, from: this.at(event) };
    };
    canvas.onpointermove = (event) => {
      const { drag } = this;
      canvas.style.cursor = drag || grip(event) ? "move" : "";
      if (!drag) return;
      drag.now = dragged(drag.grip, drag.start, drag.now, this.size, drag.from, this.at(event), event.shiftKey);
      this.c.redraw();
    };
    canvas.onpointerup = () => {
      const { drag } = this;
      this.drag = null;
      if (drag && drag.now !== drag.start) this.put(drag.now); // not before: the page is slow to change
    };
    canvas.onlostpointercapture = () => {
      this.drag = null;
      this.c.redraw();
    };
  }

  /** Links decide what can be drawn. */
  watched() {
    return SETTINGS.filter((name) => this.c.linked(name)).join(", ");
  }

  /** Read every setting again, as one of them or a link is another; a drag ends. */
  changed() {
    this.drag = null;
    this.path = readPath(this.c.linked("keyframes") ? "" : String(this.c.value("keyframes")));
    this.fit();
  }

  /** Widen the view until every key is in it. */
  fit() {
    const round = Math.hypot(...this.size) / 2 / Math.min(...this.size); // as far as a corner turns
    let need = 0;
    for (const { place: [right, down, zoom, angle] } of this.path.keys) {
      const half = zoom * (angle % 180 ? round : 0.5);
      need = Math.max(need, 2.3 * (Math.max(Math.abs(right), Math.abs(down)) + half));
    }
    this.span = 2;
    while (this.span < need && this.span < 30) this.span *= 1.25;
    this.show();
  }

  /** Show the frame, its key, and what is to say of them. */
  show() {
    const { c, bar, path: { keys, problem } } = this;
    const [kind, frames] = [c.value("kind"), c.value("frames")];
    const linked = this.watched();
    const drawn = kind === "keyframes";
    const behind = keys.filter((key) => key.frame >= frames).length;
    this.editable = drawn && !problem && !c.linked("keyframes");
    bar.set({ frames, keys: keys.slice(0, keys.length - behind).map((key) => key.frame) });
    const none = this.editable && !keys.length ? "keyframes: there are none; drag the rectangle to make one." : "";
    const wrong = drawn ? problem || none : "";
    this.note.textContent = wrong || [
      !drawn && `The kind is ${kind}: its own settings move the picture, and not these keyframes.`,
      linked && `A link sets ${linked}; what it brings is not known here.`,
      behind && `Keys behind the last frame: ${behind}.`,
    ].filter(Boolean).join(" ");
    this.note.style.color = wrong ? "var(--wrong)" : "";
    this.remover.disabled = !this.editable || !keys.some((key) => key.frame === bar.frame);
    this.remover.textContent = this.remover.ariaLabel = `${this.remover.disabled ? "No key at" : "Delete key"} ${bar.frame}`;
    this.chooser.hidden = drawn;
    this.presets.selectedIndex = 0;
    for (const control of [this.presets, ...this.fields]) control.disabled = !this.editable;
    shown.set(placeOf(c.node), bar.frame);
    c.redraw();
  }

  /** @param {string} text */
  write(text) {
    if (!this.c.write("keyframes", text)) return; // somebody else has just written, and was shown
    this.path = readPath(text);
    this.fit();
  }

  /** Make a place the key of this frame, or take its key away. @param {Place} [place] */
  put(place) {
    this.write(withKey(this.path, this.bar.frame, place));
  }

  /** Change one number of the place. @param {number} index @param {number} value */
  edit(index, value) {
    const place = [...this.place];
    place[index] = value;
    if (Number.isFinite(value)) this.c.step(() => this.put(place));
  }

  /** @type {TakeKey} */
  key({ key, target, shiftKey }) {
    if (key === "Delete" || key === "Backspace") this.remover.click();
    else if (target !== this.c.root) return false;
    else if (key === "," || key === ".") this.go(key === "." ? 1 : -1);
    else if (!(key in NUDGES)) return false;
    else if (this.editable) {
      const [index, way] = NUDGES[key];
      const far = shiftKey && index < 2 ? 10 : 1;
      this.edit(index, this.place[index] + way * far * STEPS[index]);
    }
    return true;
  }

  /** Go to the next key, or back to the one before. @param {number} way */
  go(way) {
    const far = this.path.keys.map((key) => (key.frame - this.bar.frame) * way).filter((frames) => frames > 0);
    if (far.length) this.bar.step(way * Math.min(...far));
  }

  /** @returns {Place} where the picture lies, which may be under a hand */
  get place() {
    return this.drag?.now ?? placeAt(this.path.keys, this.bar.frame);
  }

  get size() {
    return [this.c.value("width"), this.c.value("height")];
  }

  /** @returns pixels of the canvas to one of the picture, and pixels of the picture to one of the screen */
  view() {
    const { width, height, scale: zoom } = this.surface;
    const scale = Math.min(width / this.size[0], height / this.size[1]) / this.span || 1;
    return { scale, unit: 1 / (zoom * scale) };
  }

  /** Where an event is from the middle, in pixels of the picture. @param {PointerEvent} event */
  at(event) {
    const [x, y] = this.surface.at(event);
    const { scale } = this.view();
    return [(x - this.surface.width / 2) / scale, (y - this.surface.height / 2) / scale];
  }

  draw() {
    const pen = this.surface.begin();
    const { scale, unit } = this.view();
    const { text, faint, ground, accent } = colours();
    const { size: [width, height], place, path: { keys }, bar: { frame } } = this;
    /** @type {(x: number, y: number, side: number) => void} */
    const square = (x, y, side) => pen.fillRect(x - (side * unit) / 2, y - (side * unit) / 2, side * unit, side * unit);
    /** @param {Place} place @param {string} colour @param {"seen" | "near" | "held"} role */
    const rectangle = ([right, down, zoom, angle], colour, role) => {
      const [x, y] = [(width * zoom) / 2, (height * zoom) / 2];
      pen.save();
      pen.translate(right * width, down * height);
      pen.rotate((angle * Math.PI) / 180);
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineWidth = (role === "near" ? 1 : 2) * unit;
      if (role === "near") pen.setLineDash([4 * unit, 4 * unit]);
      pen.strokeRect(-x, -y, 2 * x, 2 * y);
      if (role === "held") {
        pen.fillRect(-unit, -y - ARM * unit, 2 * unit, ARM * unit);
        for (const [atX, atY] of [[0, -y - ARM * unit], [-x, -y], [x, -y], [x, y], [-x, y]]) square(atX, atY, HANDLE);
        pen.globalAlpha = 0.15;
        pen.fillRect(-x, -y, 2 * x, 2 * y);
      }
      pen.restore();
    };

    pen.fillStyle = ground;
    pen.fillRect(0, 0, this.surface.width, this.surface.height);
    pen.translate(this.surface.width / 2, this.surface.height / 2);
    pen.scale(scale, scale);
    rectangle([0, 0, 1, 0], text, "seen");
    if (!this.editable) return;
    const near = [keys.filter((key) => key.frame < frame).at(-1), keys.find((key) => key.frame > frame)];
    for (const key of near) if (key) rectangle(key.place, faint, "near");
    pen.strokeStyle = pen.fillStyle = accent;
    pen.lineWidth = unit;
    pen.beginPath();
    for (const key of keys) pen.lineTo(key.place[0] * width, key.place[1] * height);
    pen.stroke();
    for (const key of keys) square(key.place[0] * width, key.place[1] * height, 5);
    rectangle(place, accent, "held");
    this.fields.forEach((each, index) => put(each, Number(place[index].toFixed(4))));
  }
}

companion("path", { Frameloom_MotionPath: 340 }, {
  watch: SETTINGS,
  label: "path editor",
  build: (c) => new PathEditor(c),
});
