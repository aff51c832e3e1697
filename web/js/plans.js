// Plans: nodes that lay something out over a clip show it while their numbers and texts change, without a run. The
// server makes a plan by the functions that the node runs, so the picture is right, and errors are the node's own.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { companion } from "./companion.js";
import { Surface, THINGS, colours } from "./surface.js";

/**
 * Nodes that have a plan, and the least height of its picture.
 *
 * @type {Record<string, number>}
 */
const NODES = {
  Frameloom_CFGSchedule: 190,
  Frameloom_ContextWindows: 220,
  Frameloom_ControlSchedule: 190,
  Frameloom_FreeNoise: 260,
  Frameloom_MotionLoRASchedule: 190,
  Frameloom_MotionStrength: 190,
  Frameloom_NuwaPlan: 130,
  Frameloom_PromptTravel: 130,
};
const LENGTHS = ["batch_size", "frames", "length"]; // widgets that say how many frames a latent has
const OTHERWISE = 64; // frames of a clip whose length nobody says
const LOOK = 400; // milliseconds between looks at what comes over links
const FURTHEST = 20; // links that are followed one behind another
const TITLE = 14; // height of a panel's title
const TALLEST = 24; // height of a row
const CHART = 6; // height of a chart, in rows
const MOST_NAMED = 4; // rows under the pointer

/**
 * What the server answers with; nodes/drawing/plan.py says what it means.
 *
 * @typedef {[first: number, spacing: number, count: number, weights: number]} Bar
 * @typedef {{ title: string, labels: string[], rows: Bar[][], weights: number[][], marks: number[] }} Rows
 * @typedef {{ title: string, values: number[], first: number, step: number, dots: boolean }} Chart
 * @typedef {{ title: string, frames: number, panels: (Rows | Chart)[] }} Plan
 */

app.registerExtension({
  name: "Frameloom.Plans",
  nodeCreated(/** @type {any} */ node) {
    const height = NODES[node.comfyClass];
    if (!height) return;
    const watch = node.widgets.map((/** @type {any} */ each) => each.name);
    companion(node, "plan", { watch, height, label: "plan of the clip", build });
  },
});

/** @param {any} c - the node's companion */
function build(c) {
  const title = put(c.root, "div", "flex: none; line-height: 15px; max-height: 30px; overflow: hidden");
  const field = c.node.comfyClass === "Frameloom_FreeNoise" ? frameField(c.root) : undefined;
  const surface = new Surface(c.root, "plan");
  const line = put(surface.place, "div", "position: absolute; top: 0; bottom: 0; width: 1px; pointer-events: none");
  const note = put(c.root, "div", "flex: none; line-height: 15px; min-height: 15px; max-height: 60px; overflow: hidden auto");
  note.setAttribute("aria-live", "polite");

  /** @type {Plan} */
  let plan = { title: "", frames: 0, panels: [] };
  let [asked, error] = ["", ""]; // the last question, and what is wrong with it
  let [waiting, timer, frame] = [false, 0, -1]; // the frame is the pointer's

  /** Ask the server again, if the question is another; one at a time, so that the last one is answered last. */
  async function ask() {
    const body = question(c.node, field);
    if (waiting || body === asked) return;
    [waiting, asked] = [true, body];
    const answer = await fetchPlan(body);
    waiting = false;
    error = answer.error ?? "";
    if (!error) plan = answer;
    c.redraw();
    if (c.node.graph) ask();
  }

  function look() {
    if (c.node.graph) return ask();
    timer = window.clearInterval(timer) ?? 0; // the node left its graph
  }

  const again = () => {
    asked = "";
    look();
  };
  api.addEventListener("reconnected", again);

  function point(/** @type {number} */ to) {
    frame = to;
    line.style.display = frame < 0 ? "none" : "block";
    line.style.left = `${(100 * (frame + 0.5)) / plan.frames}%`;
    note.textContent = error || (frame < 0 ? "" : `frame ${frame}: ${describe(plan, frame)}`);
    note.style.whiteSpace = error ? "pre-wrap" : "nowrap"; // one line, so that the picture stays as high as it is
  }

  surface.place.onpointermove = surface.place.onpointerdown = (event) => {
    const [x] = surface.at(event);
    if (x >= 0 && x < surface.width) point(Math.floor((x / surface.width) * plan.frames));
  };
  surface.place.onpointerleave = () => point(-1);

  return {
    changed: look,
    draw() {
      timer ||= window.setInterval(look, LOOK);
      const colour = colours();
      title.textContent = title.title = plan.title;
      note.style.color = error ? colour.error : "";
      line.style.background = colour.text;
      surface.canvas.style.opacity = error ? "0.35" : "1";
      surface.canvas.setAttribute("aria-label", plan.title);
      point(Math.min(frame, plan.frames - 1));
      drawPlan(surface, plan, colour);
    },
    key(/** @type {KeyboardEvent} */ event) {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -plan.frames, End: plan.frames };
      const by = /** @type {Record<string, number>} */ (steps)[event.key];
      if (by) point(Math.min(Math.max(frame + by, 0), plan.frames - 1));
      return Boolean(by);
    },
    removed: () => api.removeEventListener("reconnected", again),
  };
}

/** @param {HTMLElement} parent @param {string} kind @param {string} style @returns {any} */
function put(parent, kind, style) {
  const made = document.createElement(kind);
  made.style.cssText = style;
  parent.append(made);
  return made;
}

/** Make a field for a clip's number of frames, for where the graph does not say it. It is saved nowhere. */
function frameField(/** @type {HTMLElement} */ parent) {
  const label = put(parent, "label", "flex: none");
  label.append("no empty latent is found; frames ");
  const style = "width: 64px; color: inherit; background: var(--comfy-input-bg); border: 1px solid var(--border-color)";
  const field = put(label, "input", style);
  Object.assign(field, { type: "number", min: "1", max: "10000", value: String(OTHERWISE) });
  return field;
}

/**
 * Return what to ask the server: a node's values as far as they are known here, and the inputs whose value is not.
 *
 * @param {any} node
 * @param {any} [field] - says how long the clip is, where the graph does not
 */
function question(node, field) {
  /** @type {Record<string, any>} */
  const values = {};
  for (const { name } of node.widgets) values[name] = known(node, name);
  if (field) {
    const length = clipLength(node);
    field.parentElement.style.display = length ? "none" : "";
    values.frames = length ?? (field.valueAsNumber || OTHERWISE);
  }
  const linked = (node.inputs ?? []).filter((/** @type {any} */ each) => each.link != null);
  const names = linked.map((/** @type {any} */ each) => each.name);
  const unknown = names.filter((/** @type {string} */ name) => values[name] === undefined);
  return JSON.stringify({ node: node.comfyClass, values, linked: unknown });
}

/**
 * Return the value of a node's widget, also where it comes over a link from a node that just holds it; undefined where it
 * is known only when the graph runs.
 *
 * @param {any} node @param {string} name @param {number} [left] - links that may be followed @returns {any}
 */
function known(node, name, left = FURTHEST) {
  const slot = node.inputs?.findIndex((/** @type {any} */ each) => each.name === name && each.link != null) ?? -1;
  if (slot < 0) return node.widgets?.find((/** @type {any} */ each) => each.name === name)?.value;
  const [from, link] = [node.getInputNode(slot), node.getInputLink(slot)];
  if (!from || !link || !left) return undefined;
  const output = from.outputs[link.origin_slot]?.name;
  return known(from, output, left - 1) ?? known(from, "value", left - 1);
}

/** @param {any} node @returns {number | undefined} the length of the clip that is sampled behind a node */
function clipLength(node) {
  const behind = new Set([node]);
  for (const each of behind) {
    const length = each !== node && latentLength(each);
    if (length) return length;
    each.outputs?.forEach((/** @type {any} */ _, /** @type {number} */ slot) =>
      each.getOutputNodes(slot)?.forEach((/** @type {any} */ next) => behind.add(next)),
    );
  }
}

/** @param {any} node @returns {number | undefined} how many frames the latent has that comes into a node */
function latentLength(node) {
  for (let left = FURTHEST; left; left--) {
    const slot = node.inputs?.findIndex((/** @type {any} */ each) => each.type === "LATENT" && each.link != null) ?? -1;
    const from = slot < 0 ? null : node.getInputNode(slot);
    if (!from) return undefined;
    node = from;
    for (const name of LENGTHS) if (known(node, name) > 0) return known(node, name);
  }
}

/** @param {string} body @returns {Promise<any>} a plan, or an object with an error */
async function fetchPlan(body) {
  try {
    const headers = { "Content-Type": "application/json" };
    return await (await api.fetchApi("/frameloom/plan", { method: "POST", headers, body })).json();
  } catch {
    return { error: "The server does not answer. This is the plan of before; it follows again when the server does." };
  }
}

/** @param {Rows | Chart} panel @returns {panel is Rows} */
function isRows(panel) {
  return "rows" in panel;
}

/** @param {Plan} plan @param {number} frame @returns {string} what the plan says of a frame */
function describe({ frames, panels }, frame) {
  const said = panels.map((panel) => {
    if (!isRows(panel)) return panel.values.length === frames ? `${panel.title} ${panel.values[frame]}` : "";
    const named = panel.rows.flatMap((bars, row) => {
      for (const [first, spacing, count, weights] of bars) {
        const place = ((frame - first + frames) % frames) / spacing;
        if (!Number.isInteger(place) || place >= count) continue;
        const list = panel.weights[weights];
        const weight = list.length === count ? list[place] : 1;
        return panel.labels[row] + (weight < 1 ? ` (${weight.toFixed(2)})` : "");
      }
      return [];
    });
    if (panels.length > 2) return `${named.length} in ${panel.title}`; // steps
    const more = named.length > MOST_NAMED ? `, and ${named.length - MOST_NAMED} more` : "";
    return named.slice(0, MOST_NAMED).join(", ") + more;
  });
  return said.filter(Boolean).join("; ");
}

/** @param {Surface} surface @param {Plan} plan @param {ReturnType<typeof colours>} colour */
function drawPlan(surface, plan, colour) {
  const pen = surface.begin();
  const { width, height } = surface;
  pen.font = "10px sans-serif";
  pen.textBaseline = "middle";
  const parts = plan.panels.map((panel) => (isRows(panel) ? panel.rows.length : CHART));
  const row = (height - TITLE * parts.length) / parts.reduce((a, b) => a + b, 0);
  let top = 0;
  plan.panels.forEach((panel, index) => {
    pen.fillStyle = colour.faint;
    pen.fillText(panel.title, 2, top + TITLE / 2);
    top += TITLE;
    const room = parts[index] * (isRows(panel) ? Math.min(row, TALLEST) : row);
    if (isRows(panel)) drawRows(panel, top, room);
    else drawChart(panel, top, room);
    top += room;
  });

  /** Draw bars, as high in each frame as it counts there. Of what is smaller than a pixel some is left out. */
  function drawRows(/** @type {Rows} */ panel, /** @type {number} */ top, /** @type {number} */ room) {
    const [unit, tall] = [width / plan.frames, room / panel.rows.length];
    const wide = Math.max(unit > 4 ? unit - 1 : unit, 1);
    const most = Math.max(tall > 4 ? tall - 2 : tall, 1);
    pen.globalAlpha = 0.7; // labels are on top
    for (let row = 0; row < panel.rows.length; row += Math.max(1, Math.floor(1 / tall))) {
      pen.fillStyle = THINGS[row % THINGS.length];
      const foot = top + (row + 1) * tall;
      for (const [first, spacing, count, weights] of panel.rows[row]) {
        const list = panel.weights[weights];
        if (spacing > 1) pen.fillRect(first * unit, foot - 1, Math.min((count - 1) * spacing * unit, width), 0.5);
        for (let place = 0; place < count; place += Math.max(1, Math.floor(1 / (unit * spacing)))) {
          const high = most * (list.length > 1 ? list[place] : list[0]);
          pen.fillRect(((first + place * spacing) % plan.frames) * unit, foot - high, wide, high);
        }
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour.text;
    for (const frame of panel.marks) pen.fillRect((frame + 0.5) * unit - 1, top, 2, room);
    if (tall < 11) return;
    panel.labels.forEach((label, row) => pen.fillText(label, 10, top + (row + 0.5) * tall));
  }

  function drawChart(/** @type {Chart} */ panel, /** @type {number} */ top, /** @type {number} */ room) {
    let [low, high] = [0, 0];
    for (const value of panel.values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    if (low === high) high = 1;
    const unit = width / panel.values.length;
    const y = (/** @type {number} */ value) => top + room - 4 - ((value - low) / (high - low)) * (room - 8);
    pen.fillStyle = colour.edge;
    for (const value of [low, high]) pen.fillRect(0, y(value), width, 1);
    pen.strokeStyle = pen.fillStyle = THINGS[1];
    pen.lineWidth = 1.5;
    pen.beginPath();
    panel.values.forEach((value, place) => {
      if (panel.dots) pen.fillRect((place + 0.5) * unit - 1, y(value) - 1, 2, 2);
      else pen.lineTo((place + 0.5) * unit, y(value));
    });
    pen.stroke();
    pen.fillStyle = colour.text;
    pen.fillText(String(low), 2, y(low) - 7);
    pen.fillText(String(high), 2, y(high) + 7);
  }
}
