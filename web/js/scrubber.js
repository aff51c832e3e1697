// A scrubber: the frames of a node's last run under the mouse, clips side by side in step, and curves of figures below.
// The frames lie on sheets (host/frame_sheets.py), so that each is drawn at once and exactly, without a video's seeks.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { companion } from "./companion.js";
import { addressOf, make, notice } from "./controls.js";
import { frameBar, wayOf } from "./frame_bar.js";
import { outputOf, rootGraph } from "./graph.js";
import { Surface, colourOf, colours, drawCurve, rangeOf } from "./surface.js";

/** Height of the scrubber, by the node's class. */
const HEIGHTS = {
  Frameloom_VideoMetrics: 300,
  Frameloom_DecodeToVideo: 160,
  Frameloom_ForegroundMask: 160,
  Frameloom_JoinScenes: 200,
  Frameloom_LayoutToControl: 160,
  Frameloom_LayoutToMasks: 160,
};
const RUNS = 20; // of the server's history, that are looked through after a reload
const CHART = 34; // pixels of a chart's height
const GAP = 4;
const EMPTY = "Run the node: its frames are shown here.";
const GONE = "The server has these frames no more: run the node again.";
const STILL = "One frame: nothing moves. Set the latent's batch size to the frames of a video.";
const SMALL = "font-size: 10px";

/** How many frames are shown. @param {Clip} clip */
const kept = (clip) => Math.ceil(clip.frames / clip.step);

/** Lay pictures of one shape out in a place, as large as they fit.
 *  @type {(count: number, ratio: number, place: Surface) => Area[]} */
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
  /** @type {Map<string, Sheet>} */
  sheets = new Map();
  step = 1; // frames of a clip from one that is shown to the next
  last = 0; // number of the last frame that is shown
  drawn = ""; // what the curves were drawn for

  /** @param {Companion} c */
  constructor(c) {
    this.c = c;
    this.picture = new Surface(c.root, "frames: move the mouse over them, or use the arrow keys");
    this.charts = new Surface(c.root, "curves by frame");
    this.charts.place.style.flex = "none";
    this.figures = make("div", {}, `flex: none; white-space: pre-line; ${SMALL}`);
    this.note = notice(SMALL);
    this.bar = frameBar(() => c.redraw());
    c.root.append(this.figures, this.bar.element, this.note);
    for (const surface of [this.picture, this.charts]) {
      surface.canvas.onpointermove = surface.canvas.onpointerdown = (event) => {
        if (event.buttons > 1 || (this.bar.playing && !event.buttons)) return; // while it plays, a press is needed
        const [x, y] = surface.at(event);
        const places = surface === this.picture ? this.places() : [{ x: 0, y: 0, width: surface.width, height: surface.height }];
        const place = places.find((each) => x >= each.x && x < each.x + each.width && y >= each.y && y < each.y + each.height);
        if (place) this.bar.step(Math.floor(((x - place.x) / place.width) * (this.last + 1)) - this.bar.frame);
      };
    }
    this.show({});
    if (c.isLoaded && !this.watched()) this.recall().catch(() => {}); // a server may have no history
  }

  /** What the last run gave, as this page knows it; where another tab was opened, after its nodes are made. */
  watched() {
    return outputOf(this.c.node)?.frameloom_clips;
  }

  changed() {
    const known = outputOf(this.c.node);
    if (known?.frameloom_clips && known !== this.output) this.show(known);
    else this.pace();
  }

  /** Show the last run that the server remembers, where this page was loaded anew. */
  async recall() {
    const { id, graph, comfyClass } = this.c.node;
    if (graph !== rootGraph()) return; // in a subgraph nodes have other numbers there
    /** @type {Record<string, Run>} */
    const runs = await (await api.fetchApi(`/history?max_items=${RUNS}`)).json();
    const ours = Object.values(runs).filter(({ prompt: [, , nodes, more] }) =>
      more?.extra_pnginfo?.workflow?.id === graph.id && nodes[id]?.class_type === comfyClass);
    const past = ours.map((run) => run.outputs?.[id]).reverse().find((output) => output?.frameloom_clips);
    if (past && !this.clips.length) this.show(past);
  }

  /** Show what a run gave. @param {Output} output */
  show(output) {
    this.output = output;
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

  /** A sheet, which is fetched when it is first asked for. @param {Clip} clip @param {number} number */
  sheet({ sheets, subfolder }, number) {
    const name = sheets[number];
    const known = name ? this.sheets.get(name) : "gone";
    if (known) return known;
    const image = new Image();
    image.src = addressOf({ filename: name, subfolder, type: "temp" });
    this.sheets.set(name, "loading");
    image.decode().then(() => this.sheets.set(name, image), () => this.sheets.set(name, "gone"))
      .finally(() => this.c.redraw());
    return "loading";
  }

  draw() {
    this.picture.begin();
    const there = this.places().map((place, number) => this.drawFrame(place, number));
    const problem = this.clips.find((clip) => clip.problem)?.problem;
    this.note.textContent = there.includes("gone") ? (problem ?? GONE) : this.about();
    const frame = this.bar.frame * this.step;
    this.figures.textContent = this.curves
      .map(({ title, lines }) => `${title}: ${Object.entries(lines).map(([name, line]) => `${name} ${line[frame] ?? "-"}`).join(", ")}`)
      .join("\n");
    this.drawCharts();
  }

  /** Draw a clip's frame; return its sheet, or why it is not there.
   *  @param {Area} place @param {number} number */
  drawFrame({ x, y, width, height }, number) {
    const { pen } = this.picture;
    const clip = this.clips[number];
    const frame = Math.min(this.bar.frame, kept(clip) - 1); // behind its end a clip shows its last frame
    const each = clip.columns * clip.rows;
    const at = Math.floor(frame / each);
    const [left, top] = [(frame % clip.columns) * clip.cell[0], Math.floor((frame % each) / clip.columns) * clip.cell[1]];
    const sheet = this.sheet(clip, at);
    if (at + 1 < clip.sheets.length) this.sheet(clip, at + 1); // will be wanted next
    if (typeof sheet !== "string") {
      pen.imageSmoothingEnabled = width < 4 * clip.width; // cells of a small mask stay squares
      pen.drawImage(sheet, left, top, clip.width, clip.height, x, y, width, height);
    } else {
      pen.fillStyle = colours().ground;
      pen.fillRect(x, y, width, height);
    }
    if (this.clips.length > 1) {
      pen.font = "bold 11px sans-serif";
      pen.lineWidth = 3;
      pen.fillStyle = colourOf(number);
      pen.strokeText(clip.title, x + 5, y + 14);
      pen.fillText(clip.title, x + 5, y + 14);
    }
    return sheet;
  }

  /** What must be said of the frames. */
  about() {
    const [clip] = this.clips;
    if (!clip) return EMPTY;
    if (clip.frames === 1) return STILL;
    const [frame, frames] = [this.bar.frame * clip.step + 1, clip.frames].map((each) => each.toLocaleString("en"));
    const some = clip.step > 1 ? `Frame ${frame} of ${frames}; one in ${clip.step} is shown. ` : "";
    return clip.width < clip.size[0] ? `${some}Shown at ${clip.width} x ${clip.height} of ${clip.size.join(" x ")} pixels.` : some;
  }

  drawCharts() {
    if (!this.curves.length) return;
    const wanted = `${this.charts.place.clientWidth} ${app.canvas.ds.scale}`;
    if (wanted !== this.drawn) this.drawCurves();
    this.drawn = wanted;
    this.charts.mark(this.bar.frame / (this.last || 1));
  }

  drawCurves() {
    const pen = this.charts.begin();
    const width = this.charts.width - 1;
    this.curves.forEach(({ lines }, number) => {
      const range = rangeOf(Object.values(lines).flat());
      const y = number * CHART + 5;
      pen.strokeStyle = colours().edge;
      pen.strokeRect(0.5, y - 2.5, width, CHART - 5);
      Object.values(lines).forEach((line, each) => {
        pen.strokeStyle = colourOf(each);
        const shown = (width * (line.length - 1)) / (this.last * this.step || 1);
        drawCurve(pen, line, { x: 0, y, width: shown, height: CHART - 10 }, range);
      });
    });
  }

  /** @type {TakeKey} */
  key({ key, target }) {
    const toggles = key === " " && !(target instanceof HTMLButtonElement);
    const way = wayOf(key);
    if (toggles) this.bar.toggle();
    else if (way) this.bar.step(way);
    return toggles || way !== 0;
  }
}

companion("scrubber", HEIGHTS, { watch: ["fps"], label: "frames of the last run", build: (c) => new Scrubber(c) });
