// A scrubber: the frames of a node's last run under the mouse, clips side by side in step, and curves of figures below.
// The frames lie on sheets (host/frame_sheets.py), so that each is drawn at once and exactly, without a video's seeks.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { chain, companion } from "./companion.js";
import { frameBar } from "./frame_bar.js";
import { colours, Surface } from "./surface.js";

/** @type {Record<string, number>} Height of the scrubber, by the node's class. */
const HEIGHTS = {
  Frameloom_VideoMetrics: 300,
  Frameloom_ForegroundMask: 160,
  Frameloom_JoinScenes: 200,
  Frameloom_LayoutToControl: 160,
  Frameloom_LayoutToMasks: 160,
};
const RUNS = 20; // of the server's history, that are looked through after a reload
const CHART = 34; // pixels of a chart's height
const GAP = 4;
const LINES = ["#3d9be0", "#e69f00"]; // told apart by people who see few colours, on dark and on light ground
const EMPTY = "Run the node: its frames are shown here.";
const GONE = "The server has these frames no more: run the node again.";
const STILL = "One frame: nothing moves. Set the latent's batch size to the frames of a video.";

/**
 * What a run gives: clips, as host/comfyui/clips.py describes them, and lines of numbers by frame.
 *
 * @typedef {{ title: string, fps: number, frames: number, step: number, size: number[], subfolder: string,
 *   sheets: string[], problem?: string, width: number, height: number, cell: number[], columns: number,
 *   rows: number }} Clip
 * @typedef {{ title: string, lines: Record<string, (number | null)[]> }} Curve
 * @typedef {{ x: number, y: number, width: number, height: number }} Place
 */

const kept = (/** @type {Clip} */ clip) => Math.ceil(clip.frames / clip.step);

/**
 * Lay pictures of one shape out in a place, as large as they fit.
 *
 * @param {number} count
 * @param {number} ratio - a picture's width, as a multiple of its height
 * @param {Surface} place
 * @returns {Place[]}
 */
function arrange(count, ratio, place) {
  let [height, columns] = [0, 1];
  for (let tried = 1; tried <= count; tried += 1) {
    const rows = Math.ceil(count / tried);
    const fits = Math.min((place.width - GAP * (tried - 1)) / tried / ratio, (place.height - GAP * (rows - 1)) / rows);
    if (fits > height) [height, columns] = [fits, tried];
  }
  const width = height * ratio;
  const left = (place.width - columns * (width + GAP) + GAP) / 2;
  const top = (place.height - Math.ceil(count / columns) * (height + GAP) + GAP) / 2;
  return Array.from({ length: count }, (_, number) => ({
    x: left + (number % columns) * (width + GAP),
    y: top + Math.floor(number / columns) * (height + GAP),
    width,
    height,
  }));
}

class Scrubber {
  /** @type {Clip[]} */
  clips = [];
  /** @type {Curve[]} */
  curves = [];
  /** @type {Map<string, HTMLImageElement | "loading" | "gone">} */
  sheets = new Map();
  step = 1; // frames of a clip from one that is shown to the next
  last = 0; // number of the last frame that is shown
  drawn = ""; // what the curves were drawn for
  figures = document.createElement("div");
  note = document.createElement("div");
  cursor = document.createElement("div");

  /** @param {any} c - the companion */
  constructor(c) {
    this.c = c;
    this.picture = new Surface(c.root, "frames: move the mouse over them, or use the arrow keys");
    this.charts = new Surface(c.root, "curves by frame");
    this.charts.place.style.flex = "none";
    this.cursor.style.cssText = "position: absolute; inset: 0 auto 0 0; width: 1px; background: currentColor; pointer-events: none";
    this.charts.place.append(this.cursor);
    for (const line of [this.figures, this.note]) {
      line.style.cssText = "flex: none; font-size: 10px; white-space: pre-line";
    }
    this.note.setAttribute("role", "status");
    this.bar = frameBar({ onFrame: () => this.draw() });
    c.root.append(this.figures, this.bar.element, this.note);
    for (const surface of [this.picture, this.charts]) {
      surface.canvas.onpointermove = (event) => this.scrub(event, surface);
      surface.canvas.onpointerdown = (event) => this.scrub(event, surface);
    }
    this.show({});
  }

  /** @param {{ frameloom_clips?: Clip[], frameloom_curves?: Curve[] }} output - what a run has given */
  show(output) {
    this.clips = output.frameloom_clips ?? [];
    this.curves = output.frameloom_curves ?? [];
    this.step = this.clips[0]?.step ?? 1;
    this.last = Math.max(0, ...this.clips.map(kept).map((count) => count - 1));
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
    this.bar.set({ frames: this.last + 1, fps: fps ?? this.clips[0]?.fps });
  }

  places() {
    const [first] = this.clips;
    return first ? arrange(this.clips.length, first.width / first.height, this.picture) : [];
  }

  /**
   * Go to the frame under the mouse; while it plays, only where a button is down.
   *
   * @param {PointerEvent} event
   * @param {Surface} surface
   */
  scrub(event, surface) {
    if (event.buttons > 1 || (this.bar.playing && !event.buttons)) return;
    const [x, y] = surface.at(event);
    const places = surface === this.picture ? this.places() : [{ x: 0, y: 0, width: surface.width, height: surface.height }];
    const place = places.find((each) => x >= each.x && x < each.x + each.width && y >= each.y && y < each.y + each.height);
    if (place) this.bar.step(Math.floor(((x - place.x) / place.width) * (this.last + 1)) - this.bar.frame);
  }

  /**
   * @param {Clip} clip
   * @param {number} number
   * @returns {HTMLImageElement | "loading" | "gone"} a sheet, which is fetched when it is first asked for
   */
  sheet(clip, number) {
    const name = clip.sheets[number];
    const known = name ? this.sheets.get(name) : "gone";
    if (known) return known;
    const image = new Image();
    image.src = api.apiURL(`/view?${new URLSearchParams({ filename: name, subfolder: clip.subfolder, type: "temp" })}`);
    this.sheets.set(name, "loading");
    const seen = (/** @type {HTMLImageElement | "gone"} */ what) => {
      this.sheets.set(name, what);
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
    const there = this.places().map((place, number) => this.drawFrame(pen, place, number));
    const problem = this.clips.find((clip) => clip.problem)?.problem;
    this.note.textContent = there.includes("gone") ? (problem ?? GONE) : this.about();
    const frame = this.bar.frame * this.step;
    this.figures.textContent = this.curves
      .map(({ title, lines }) => `${title}: ${Object.entries(lines).map(([name, line]) => `${name} ${line[frame] ?? "-"}`).join(", ")}`)
      .join("\n");
    this.drawCharts();
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {Place} place
   * @param {number} number - number of the clip
   * @returns {unknown} its sheet, or why it is not there
   */
  drawFrame(pen, place, number) {
    const clip = this.clips[number];
    const frame = Math.min(this.bar.frame, kept(clip) - 1); // behind its end a clip shows its last frame
    const each = clip.columns * clip.rows;
    const at = Math.floor(frame / each);
    const [left, top] = [(frame % clip.columns) * clip.cell[0], Math.floor((frame % each) / clip.columns) * clip.cell[1]];
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
      pen.fillStyle = LINES[number % LINES.length];
      pen.strokeText(clip.title, place.x + 5, place.y + 14);
      pen.fillText(clip.title, place.x + 5, place.y + 14);
    }
    return sheet;
  }

  /** @returns {string} what must be said of the frames that are shown */
  about() {
    const [clip] = this.clips;
    if (!clip) return EMPTY;
    if (clip.frames === 1) return STILL;
    const [frame, frames] = [this.bar.frame * clip.step + 1, clip.frames].map((each) => each.toLocaleString("en"));
    const some = clip.step > 1 ? `Frame ${frame} of ${frames}; one in ${clip.step} is shown. ` : "";
    return clip.width < clip.size[0] ? `${some}Shown at ${clip.width} x ${clip.height} of ${clip.size.join(" x ")} pixels.` : some;
  }

  drawCharts() {
    const { clientWidth: width } = this.charts.place;
    this.cursor.style.transform = `translateX(${(this.bar.frame / (this.last || 1)) * (width - 1)}px)`;
    this.cursor.style.display = this.curves.length ? "block" : "none";
    const wanted = `${width} ${app.canvas.ds.scale}`;
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    const pen = this.charts.begin();
    this.curves.forEach(({ lines }, number) => drawCurve(pen, lines, width - 1, number * CHART, this.last * this.step || 1));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const ways = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, Home: -this.last, End: this.last });
    const toggles = event.key === " " && !(event.target instanceof HTMLButtonElement);
    if (toggles) this.bar.toggle();
    else if (event.key in ways) this.bar.step(ways[event.key]);
    return toggles || event.key in ways;
  }

  /** Show what the last run gave: as this page knows it, or the server's history. */
  async restore() {
    const { node } = this.c;
    const graph = app.rootGraph ?? app.graph;
    const isInside = node.graph && node.graph !== graph; // of a subgraph, in which the history has other numbers
    const known = app.nodeOutputs?.[isInside ? `${node.graph.id}:${node.id}` : node.id];
    if (known?.frameloom_clips) return this.show(known);
    const past = isInside || this.clips.length ? null : await fromHistory(graph.id, node);
    if (past && !this.clips.length) this.show(past);
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Record<string, (number | null)[]>} lines
 * @param {number} width
 * @param {number} top
 * @param {number} last - number of the frame at the right end
 */
function drawCurve(pen, lines, width, top, last) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of Object.values(lines).flat()) {
    if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  pen.strokeStyle = colours().edge;
  pen.lineWidth = 1;
  pen.strokeRect(0.5, top + 2.5, width, CHART - 5);
  Object.values(lines).forEach((line, number) => {
    pen.strokeStyle = LINES[number % LINES.length];
    pen.beginPath();
    line.forEach((value, frame) => {
      const share = high > low ? ((value ?? low) - low) / (high - low) : 0.5;
      if (value !== null) pen.lineTo((frame / last) * width, top + CHART - 5 - share * (CHART - 10));
    });
    pen.stroke();
  });
}

/**
 * @param {string} workflow
 * @param {any} node
 * @returns {Promise<any>} what a node of a workflow gave in the last of the runs that the server remembers
 */
async function fromHistory(workflow, node) {
  try {
    const answer = await (await api.fetchApi(`/history?max_items=${RUNS}`)).json();
    const isOurs = (/** @type {any} */ { prompt }) =>
      prompt[3]?.extra_pnginfo?.workflow?.id === workflow && prompt[2][node.id]?.class_type === node.comfyClass;
    const outputs = Object.values(answer).filter(isOurs).map((run) => run.outputs?.[node.id]);
    return outputs.reverse().find((output) => output?.frameloom_clips);
  } catch {
    return null; // a server without a history: nothing is shown until the next run
  }
}

/** @type {Set<Scrubber>} */
const live = new Set();

app.registerExtension({
  name: "Frameloom.Scrubber",
  nodeCreated(/** @type {any} */ node) {
    const height = HEIGHTS[node.comfyClass];
    if (!height) return;
    companion(node, "scrubber", {
      watch: ["fps"],
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
  // Another tab was opened: the editor gives back what its nodes showed after they are made.
  onNodeOutputsUpdated() {
    for (const scrubber of live) scrubber.restore();
  },
});
