// The path editor on Motion Path: the picture as a rectangle that moves, zooms by a corner and turns by a handle.

import { app } from "../../../scripts/app.js";
import { chain, companion } from "./companion.js";
import { frameBar } from "./frame_bar.js";
import { PRESETS, dragged, gripAt, placeAt, preset, readPath, withKey } from "./path.js";
import { Surface, colours } from "./surface.js";

const MEANING = "The rectangle is the picture: drag it right, and the picture moves right, as if the camera went left.";
const HELP = "The thick outline is what is seen. Shift drags along one axis, and turns by 15 degrees. Keys: arrows move " +
  "(Shift: further), + and - zoom, [ and ] turn, comma and full stop go from key to key, Delete removes one.";
const SETTINGS = ["kind", "frames", "width", "height", "keyframes"];
const NUMBERS = ["right", "down", "zoom", "angle"];
const STEPS = [0.01, 0.01, 0.01, 1];
/** Index of the number that a key changes, and its way. @type {Record<string, number[]>} */
const NUDGES = {
  ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 1], ArrowUp: [1, -1],
  "+": [2, 1], "=": [2, 1], "-": [2, -1], "]": [3, 1], "[": [3, -1],
};
const CONTROL = "color: inherit; background: var(--comfy-input-bg); border: 1px solid var(--border-color)";
const [HANDLE, ARM] = [10, 24]; // pixels of the screen

/** Frames that are shown, by workflow and node: undo makes every node anew. @type {Map<string, number>} */
const shown = new Map();

class PathEditor {
  /** @param {any} c the companion */
  constructor(c) {
    this.c = c;
    this.set = /** @type {Record<string, any>} */ ({});
    this.path = readPath("");
    this.editable = false;
    /** @type {{ grip: string, start: number[], from: number[] } | null} */
    this.drag = null;
    this.span = 2; // of the view, in sides of the picture
    this.name = ""; // in all workflows; a node gets its number after this

    make(c.root, "div", { textContent: MEANING, title: HELP });
    this.surface = new Surface(c.root, MEANING);
    this.surface.place.style.minHeight = "220px";
    c.root.style.minHeight = "min-content"; // nodes of Vue ask the page how high a widget is
    this.note = make(c.root, "div", { role: "status" });
    const row = () => make(c.root, "div", { style: "display: flex; gap: 4px; flex: none" });
    const numbers = row();
    this.fields = NUMBERS.map((name, index) => {
      const label = make(numbers, "label", { textContent: name, style: "flex: 1; min-width: 0" });
      const onchange = () => this.edit(index, field.valueAsNumber);
      const style = `width: 100%; box-sizing: border-box; ${CONTROL}`;
      const field = make(label, "input", { type: "number", step: STEPS[index], style, onchange });
      return field;
    });
    const buttons = row();
    this.presets = make(buttons, "select", {
      ariaLabel: "preset", style: `flex: 1; min-width: 0; ${CONTROL}`,
      onchange: () => this.step(() => this.write(preset(this.presets.value, this.set.frames))),
    });
    for (const textContent of ["Write a preset ...", ...PRESETS]) make(this.presets, "option", { textContent });
    this.remover = make(buttons, "button", { style: CONTROL, onclick: () => this.step(() => this.put()) });
    this.chooser = make(buttons, "button", {
      textContent: "Draw keyframes", style: CONTROL,
      onclick: () => this.step(() => c.write("kind", "keyframes") && this.changed()),
    });
    this.bar = frameBar({ onFrame: () => this.show() });
    c.root.append(this.bar.element);
    this.listen(this.surface.canvas);
    chain(c.node, "onConnectionsChange", () => this.changed());
  }

  /** @param {HTMLCanvasElement} canvas */
  listen(canvas) {
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
      this.drag = { grip: grip(event), start: this.place, from: this.at(event) };
    };
    canvas.onpointermove = (event) => {
      canvas.style.cursor = this.drag || grip(event) ? "move" : "";
      if (!this.drag) return;
      const { grip: held, start, from } = this.drag;
      this.put(dragged(held, start, this.place, this.size, from, this.at(event), event.shiftKey));
    };
    canvas.onlostpointercapture = () => {
      this.drag = null;
      this.fit();
    };
  }

  /** Read every setting again, as one of them or a link is another; a drag ends. */
  changed() {
    this.drag = null;
    for (const name of SETTINGS) this.set[name] = this.c.value(name);
    this.path = readPath(this.c.linked("keyframes") ? "" : String(this.set.keyframes));
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
    const { set, bar, path: { keys, problem } } = this;
    const linked = SETTINGS.filter((name) => this.c.linked(name));
    const drawn = set.kind === "keyframes";
    const behind = keys.filter((key) => key.frame >= set.frames).length;
    this.editable = drawn && !problem && !linked.includes("keyframes");
    bar.set({ frames: set.frames, keys: keys.slice(0, keys.length - behind).map((key) => key.frame) });
    const none = this.editable && !keys.length ? "keyframes: there are none; drag the rectangle to make one." : "";
    const wrong = drawn ? problem || none : "";
    this.note.textContent = wrong || [
      !drawn && `The kind is ${set.kind}: its own settings move the picture, and not these keyframes.`,
      linked.length && `A link sets ${linked.join(", ")}; what it brings is not known here.`,
      behind && `Keys behind the last frame: ${behind}.`,
    ].filter(Boolean).join(" ");
    this.note.style.color = wrong ? colours().error : "";
    this.remover.disabled = !this.editable || !keys.some((key) => key.frame === bar.frame);
    this.remover.textContent = `${this.remover.disabled ? "No key at" : "Delete key"} ${bar.frame}`;
    this.chooser.hidden = drawn;
    this.presets.selectedIndex = 0;
    for (const control of [this.presets, ...this.fields]) control.disabled = !this.editable;
    if (this.name) shown.set(this.name, bar.frame);
    this.c.redraw();
  }

  /** @param {string} text */
  write(text) {
    if (!this.c.write("keyframes", text)) return; // somebody else has just written, and was shown
    const before = this.path.keys.length;
    this.path = readPath(text);
    if (!this.drag) this.fit();
    else if (this.path.keys.length !== before) this.show();
    else this.c.redraw(); // a drag changes nothing else, and the page is slow to change
  }

  /** Make a place the key of this frame, or take its key away. @param {number[]} [place] */
  put(place) {
    this.write(withKey(this.path, this.bar.frame, place));
  }

  /** @param {number} index @param {number} value */
  edit(index, value) {
    const place = [...this.place];
    place[index] = value;
    if (Number.isFinite(value)) this.step(() => this.put(place));
  }

  /** Do what no mouse and no key does by itself, as a step that can be undone. @param {() => void} change */
  step(change) {
    change();
    this.c.snapshot();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was of use */
  key({ key, target, shiftKey, ctrlKey, metaKey, altKey }) {
    if (ctrlKey || metaKey || altKey) return false;
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

  get place() {
    return placeAt(this.path.keys, this.bar.frame);
  }

  get size() {
    return [this.set.width, this.set.height];
  }

  /** @returns pixels of the canvas to one of the picture, and pixels of the picture to one of the screen */
  view() {
    const { width, height, scale: zoom } = this.surface;
    const scale = Math.min(width / this.size[0], height / this.size[1]) / this.span || 1;
    return { scale, unit: 1 / (zoom * scale) };
  }

  /** @param {PointerEvent} event @returns {number[]} where it is from the middle, in pixels of the picture */
  at(event) {
    const [x, y] = this.surface.at(event);
    const { scale } = this.view();
    return [(x - this.surface.width / 2) / scale, (y - this.surface.height / 2) / scale];
  }

  draw() {
    if (!this.name) this.begin();
    const pen = this.surface.begin();
    const { scale, unit } = this.view();
    const { text, faint, ground, accent } = colours();
    const { size: [width, height], place, path: { keys }, bar: { frame } } = this;
    const square = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ side) =>
      pen.fillRect(x - (side * unit) / 2, y - (side * unit) / 2, side * unit, side * unit);
    /** @param {number[]} place @param {string} colour @param {"seen" | "near" | "held"} role */
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
    for (const [index, field] of this.fields.entries()) {
      if (field !== document.activeElement) field.value = String(Number(place[index].toFixed(4)));
    }
  }

  /** Go to the frame at which this node was left. */
  begin() {
    this.name = `${app.extensionManager?.workflow?.activeWorkflow?.key} ${this.c.node.id}`;
    this.bar.step((shown.get(this.name) ?? 0) - this.bar.frame);
  }

  removed() {
    this.bar.stop();
  }
}

/** @param {HTMLElement} parent @param {string} tag @param {Record<string, any>} set @returns {any} */
function make(parent, tag, set) {
  const made = Object.assign(document.createElement(tag), set);
  parent.append(made);
  return made;
}

app.registerExtension({
  name: "Frameloom.PathEditor",
  nodeCreated(/** @type {any} */ node) {
    if (node.comfyClass !== "Frameloom_MotionPath") return;
    companion(node, "path", { watch: SETTINGS, height: 400, label: "path editor", build: (c) => new PathEditor(c) });
  },
});
