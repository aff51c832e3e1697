// A scrubber: the frames of a node's last run under the mouse, clips side by side in step, and curves of figures below.
// The frames lie on sheets (host/frame_sheets.py), so that each is drawn at once and exactly, without a video's seeks.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { chain, companion } from "./companion.js";
import { frameBar } from "./frame_bar.js";
import { colours, Surface } from "./surface.js";

/** Height of the scrubber, by the node's class. */
const HEIGHTS = {
  Frameloom_VideoMetrics: 300,
  Frameloom_ForegroundMask: 160,
  Frameloom_JoinScenes: 200,
  Frameloom_LayoutPreview: 200,
  Frameloom_LayoutToControl: 160,
  Frameloom_LayoutToMasks: 160,
};
const RUNS = 20; // of the server's history, that are looked through after a reload
const CHART = 34; // pixels of a chart's height
const GAP = 4;
const LINES = ["#3d9be0", "#e69f00", "#2fae7f"]; // told apart by people who see few colours, on dark and on light ground
const EMPTY = "Run the node: its frames are shown here.";
const GONE = "The server has these frames no more: run the node again.";

/**
 * A clip as the server describes it (host/comfyui/clips.py).
 *
 * @typedef {object} Clip
 * @property {string} title
 * @property {number} fps
 * @property {number} frames - frames of the clip, of which every `step`-th is on the sheets
 * @property {number} step
 * @property {number} width - width of a frame on a sheet
 * @property {number} height
 * @property {[number, number]} cell - width and height of its place there
 * @property {number} columns
 * @property {number} rows
 * @property {[number, number]} size - width and height of the clip's own frames
 * @property {string} subfolder
 * @property {string[]} sheets
 * @property {string} [problem]
 */

/** @typedef {{ title: string, lines: Record<string, (number | null)[]> }} Curve */

/** @param {Clip} clip */
const kept = (clip) => Math.ceil(clip.frames / clip.step);

/**
 * @param {Clip} clip
 * @param {number} shown - number of a frame among those that are kept; behind the last one, the last
 * @returns {[number, number, number]} its sheet, and its left upper corner there
 */
export function placeOf(clip, shown) {
  const each = clip.columns * clip.rows;
  const number = Math.min(shown, kept(clip) - 1);
  const [row, column] = [Math.floor((number % each) / clip.columns), number % clip.columns];
  return [Math.floor(number / each), column * clip.cell[0], row * clip.cell[1]];
}

/**
 * Lay pictures of one shape out in a place, as large as they fit.
 *
 * @param {number} count
 * @param {number} ratio - a picture's width, as a multiple of its height
 * @param {number} width - width of the place
 * @param {number} height
 * @returns {{ x: number, y: number, width: number, height: number }[]}
 */
export function arrange(count, ratio, width, height) {
  let best = { tall: 0, columns: 1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tall = Math.min((width - GAP * (columns - 1)) / columns / ratio, (height - GAP * (rows - 1)) / rows);
    if (tall > best.tall) best = { tall, columns };
  }
  const [tall, wide] = [best.tall, best.tall * ratio];
  const left = (width - best.columns * (wide + GAP) + GAP) / 2;
  const top = (height - Math.ceil(count / best.columns) * (tall + GAP) + GAP) / 2;
  return Array.from({ length: count }, (_, number) => ({
    x: left + (number % best.columns) * (wide + GAP),
    y: top + Math.floor(number / best.columns) * (tall + GAP),
    width: wide,
    height: tall,
  }));
}

class Scrubber {
  /** @param {any} c - the companion */
  constructor(c) {
    this.c = c;
    /** @type {Clip[]} */
    this.clips = [];
    /** @type {Curve[]} */
    this.curves = [];
    /** @type {Map<string, HTMLImageElement | "loading" | "gone">} */
    this.sheets = new Map();
    this.picture = new Surface(c.root, "frames: move the mouse over them, or use the arrow keys");
    this.charts = new Surface(c.root, "curves by frame");
    this.charts.place.style.flex = "none";
    this.cursor = document.createElement("div");
    this.cursor.style.cssText =
      "position: absolute; top: 0; bottom: 0; left: 0; width: 1px; background: currentColor; pointer-events: none";
    this.charts.place.append(this.cursor);
    this.drawn = ""; // what the charts were drawn for
    this.figures = document.createElement("div");
    this.note = document.createElement("div");
    this.note.setAttribute("role", "status");
    for (const line of [this.figures, this.note]) {
      line.style.cssText = "flex: none; font-size: 10px; white-space: pre-line; color: var(--descrip-text)";
    }
    this.bar = frameBar({ onFrame: () => this.draw() });
    c.root.append(this.figures, this.bar.element, this.note);
    for (const surface of [this.picture, this.charts]) {
      surface.canvas.addEventListener("pointermove", (event) => this.scrub(event, surface));
      surface.canvas.addEventListener("pointerdown", (event) => {
        if (event.button === 0) this.scrub(event, surface);
      });
    }
    this.show({});
  }

  get frames() {
    return Math.max(1, ...this.clips.map(kept));
  }

  /** Show what a run has given. @param {{ frameloom_clips?: Clip[], frameloom_curves?: Curve[] }} output */
  show(output) {
    this.clips = output.frameloom_clips ?? [];
    this.curves = output.frameloom_curves ?? [];
    this.sheets.clear();
    this.drawn = "";
    this.charts.place.style.height = `${this.curves.length * CHART}px`;
    this.bar.element.style.display = this.clips.length ? "flex" : "none";
    this.pace();
    this.c.redraw();
  }

  /** Play as fast as the node says, or the run did. */
  pace() {
    const fps = this.c.linked("fps") ? undefined : this.c.value("fps");
    this.bar.set({ frames: this.frames, fps: fps ?? this.clips[0]?.fps });
  }

  /** Go to the frame under the mouse; while it plays, only where a button is down. */
  scrub(/** @type {PointerEvent} */ event, /** @type {Surface} */ surface) {
    if (this.bar.playing && !(event.buttons & 1)) return;
    const [x, y] = surface.at(event);
    const whole = [{ x: 0, y: 0, width: surface.width, height: surface.height }];
    const places = surface === this.picture ? this.places() : whole;
    const place = places.find((each) => x >= each.x && x < each.x + each.width && y >= each.y && y < each.y + each.height);
    if (place) this.go(Math.floor(((x - place.x) / place.width) * this.frames));
  }

  go(/** @type {number} */ frame) {
    this.bar.step(frame - this.bar.frame);
  }

  places() {
    const [first] = this.clips;
    return first ? arrange(this.clips.length, first.width / first.height, this.picture.width, this.picture.height) : [];
  }

  /** @returns {HTMLImageElement | "loading" | "gone"} a sheet, which is fetched when it is first asked for */
  sheet(/** @type {Clip} */ clip, /** @type {number} */ number) {
    const name = clip.sheets[number];
    const known = this.sheets.get(name);
    if (known || !name) return known ?? "gone";
    const image = new Image();
    image.src = api.apiURL(`/view?${new URLSearchParams({ filename: name, subfolder: clip.subfolder, type: "temp" })}`);
    this.sheets.set(name, "loading");
    const seen = (/** @type {HTMLImageElement | "gone"} */ what) => {
      if (this.sheets.get(name) === "loading") this.sheets.set(name, what);
      this.c.redraw();
    };
    image.decode().then(
      () => seen(image),
      () => seen("gone"),
    );
    return "loading";
  }

  draw() {
    const pen = this.picture.begin();
    const missing = this.places().map((place, number) => this.drawFrame(pen, place, this.clips[number], number));
    const problem = this.clips.find((clip) => clip.problem)?.problem;
    this.note.textContent = missing.includes("gone") ? (problem ?? GONE) : this.describe();
    this.drawCharts();
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {{ x: number, y: number, width: number, height: number }} place
   * @param {Clip} clip
   * @param {number} number
   * @returns {"loading" | "gone" | undefined} why the frame is not there
   */
  drawFrame(pen, place, clip, number) {
    const [at, left, top] = placeOf(clip, this.bar.frame);
    const sheet = this.sheet(clip, at);
    if (at + 1 < clip.sheets.length) this.sheet(clip, at + 1); // will be wanted next
    if (typeof sheet !== "string") {
      pen.imageSmoothingEnabled = place.width < 4 * clip.width; // cells of a small mask stay squares
      pen.drawImage(sheet, left, top, clip.width, clip.height, place.x, place.y, place.width, place.height);
    } else {
      pen.fillStyle = colours().ground;
      pen.fillRect(place.x, place.y, place.width, place.height);
    }
    if (this.clips.length > 1) {
      pen.font = "bold 11px sans-serif";
      pen.lineWidth = 3;
      pen.strokeStyle = "#000";
      pen.strokeText(clip.title, place.x + 5, place.y + 14);
      pen.fillStyle = LINES[number % LINES.length];
      pen.fillText(clip.title, place.x + 5, place.y + 14);
    }
    return typeof sheet === "string" ? sheet : undefined;
  }

  describe() {
    const [clip] = this.clips;
    if (!clip) return EMPTY;
    if (clip.frames === 1) return "One frame: nothing moves. Set the latent's batch size to the frames of a video.";
    const number = (/** @type {number} */ whole) => whole.toLocaleString("en");
    const some = clip.step > 1 ? `Frame ${number(this.bar.frame * clip.step + 1)} of ${number(clip.frames)}; one in ${clip.step} is shown. ` : "";
    return clip.width < clip.size[0] ? `${some}Shown at ${clip.width} x ${clip.height} of ${clip.size.join(" x ")} pixels.` : some;
  }

  drawCharts() {
    const { place } = this.charts;
    const last = Math.max(this.frames - 1, 1);
    this.cursor.style.transform = `translateX(${((this.bar.frame / last) * (place.clientWidth - 1)).toFixed(1)}px)`;
    this.cursor.style.display = this.curves.length ? "block" : "none";
    this.figures.textContent = this.curves.map((curve) => this.value(curve)).join("\n");
    const wanted = `${place.clientWidth} ${this.curves.length} ${app.canvas.ds.scale}`;
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    const pen = this.charts.begin();
    this.curves.forEach((curve, number) => drawCurve(pen, curve, this.charts.width, number * CHART, last * (this.clips[0]?.step ?? 1)));
  }

  /** @returns {string} a chart's title and its values at the frame */
  value(/** @type {Curve} */ curve) {
    const frame = this.bar.frame * (this.clips[0]?.step ?? 1);
    const values = Object.entries(curve.lines).map(([name, line]) => `${name} ${line[frame] ?? "-"}`);
    return `${curve.title}: ${values.join(", ")}`;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const ways = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, Home: -this.bar.frame, End: this.frames });
    if (!this.clips.length) return false;
    if (event.key in ways) this.bar.step(ways[event.key]);
    else if (event.key === " " && !(event.target instanceof HTMLButtonElement)) this.bar.toggle();
    else return false;
    return true;
  }

  /** Show what the last run gave: as this page knows it, or the server's history. */
  async restore() {
    const { node } = this.c;
    const graph = app.rootGraph ?? app.graph;
    const isInside = node.graph && node.graph !== graph;
    const known = app.nodeOutputs?.[isInside ? `${node.graph.id}:${node.id}` : node.id];
    const output = known?.frameloom_clips ? known : isInside ? null : await fromHistory(graph.id, node);
    if (output && !this.clips.length) this.show(output);
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Curve} curve
 * @param {number} width
 * @param {number} top
 * @param {number} last - number of the frame at the right end
 */
function drawCurve(pen, curve, width, top, last) {
  const values = Object.values(curve.lines).flat().filter((value) => value !== null);
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  pen.strokeStyle = colours().edge;
  pen.lineWidth = 1;
  pen.strokeRect(0.5, top + 2.5, width - 1, CHART - 5);
  Object.values(curve.lines).forEach((line, number) => {
    pen.strokeStyle = LINES[number % LINES.length];
    pen.beginPath();
    line.forEach((value, frame) => {
      if (value === null) return;
      const share = high > low ? (value - low) / (high - low) : 0.5;
      pen.lineTo((frame / last) * (width - 1), top + CHART - 5 - share * (CHART - 10));
    });
    pen.stroke();
  });
}

/** @returns {Promise<any>} what a node of a workflow gave in the last of the runs that the server remembers */
async function fromHistory(/** @type {string} */ workflow, /** @type {any} */ node) {
  try {
    const answer = await (await api.fetchApi(`/history?max_items=${RUNS}`)).json();
    const runs = Object.values(answer).filter(
      ({ prompt }) => prompt[3]?.extra_pnginfo?.workflow?.id === workflow && prompt[2][node.id]?.class_type === node.comfyClass,
    );
    return runs.map(({ outputs }) => outputs?.[node.id]).findLast((output) => output?.frameloom_clips);
  } catch {
    return null; // a server without a history: nothing is shown until the next run
  }
}

/** @type {Set<Scrubber>} */
const live = new Set();

app.registerExtension({
  name: "Frameloom.Scrubber",
  nodeCreated(/** @type {any} */ node) {
    const height = HEIGHTS[/** @type {keyof typeof HEIGHTS} */ (node.comfyClass)];
    if (!height) return;
    companion(node, "scrubber", {
      watch: node.widgets?.some((/** @type {any} */ each) => each.name === "fps") ? ["fps"] : [],
      height,
      label: "frames of the last run",
      build(c) {
        const scrubber = new Scrubber(c);
        chain(node, "onAdded", () => live.add(scrubber));
        chain(node, "onConfigure", () => scrubber.restore());
        chain(node, "onExecuted", (output) => output?.frameloom_clips && scrubber.show(output));
        return {
          changed: () => scrubber.pace(),
          draw: () => scrubber.draw(),
          key: (event) => scrubber.key(event),
          removed: () => (scrubber.bar.stop(), live.delete(scrubber)),
        };
      },
    });
  },
  // Another tab's graph was opened: the editor remembers what its runs gave, and says so after its nodes are made.
  onNodeOutputsUpdated() {
    for (const scrubber of live) scrubber.restore();
  },
});
