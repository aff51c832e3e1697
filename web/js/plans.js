// Plans: nodes that lay something out over a clip show it while their numbers and texts change, without a run. The
// server makes a plan by the functions that the node runs, so the picture is right, and errors are the node's own.

import { companion } from "./companion.js";
import { CONTROL, ask, make, notice } from "./controls.js";
import { wayOf } from "./frame_bar.js";
import { after, before, upTo } from "./graph.js";
import { Surface, colourOf, colours, drawCurve, rangeOf } from "./surface.js";

/** Height of the plan, by the node's class. */
const HEIGHTS = {
  Frameloom_CFGSchedule: 190,
  Frameloom_ContextWindows: 220,
  Frameloom_ControlSchedule: 190,
  Frameloom_FewStepSettings: 130,
  Frameloom_FreeNoise: 260,
  Frameloom_MotionLoRASchedule: 190,
  Frameloom_MotionStrength: 190,
  Frameloom_NuwaPlan: 130,
  Frameloom_PromptTravel: 130,
};
const LENGTHS = ["batch_size", "frames", "length"]; // widgets that say how many frames a latent has
const OTHERWISE = 64; // frames of a clip whose length nobody says
const FURTHEST = 20; // links that are followed one behind another
const TITLE = 14; // height of a panel's title
const TALLEST = 24; // height of a row
const CHART = 6; // height of a chart, in rows
const MOST_NAMED = 4; // rows under the pointer
const SILENCE = "This is the plan of before; it follows again when the server does.";

companion("plan", HEIGHTS, { watch: [], label: "plan of the clip", build });

/** @param {Companion} c @returns {Content} */
function build(c) {
  const title = make("div", {}, "flex: none; max-height: 30px; line-height: 15px; overflow: hidden");
  const field = make("input", { type: "number", min: "1", max: "10000", value: String(OTHERWISE) }, `${CONTROL} width: 64px`);
  const length = make("label", {}, "flex: none; display: none", "no empty latent is found; frames ", field);
  c.root.append(title, length);
  const surface = new Surface(c.root, "plan");
  const note = notice("min-height: 15px; max-height: 60px; line-height: 15px; overflow-x: hidden");
  c.root.append(note);

  /** @type {Plan} */
  let plan = { title: "", frames: 0, panels: [], unit: "frame" };
  let error = ""; // what is wrong with the last question
  let frame = -1; // the pointer's
  let [isAsking, isOld] = [false, false];

  /** What to ask the server: the values as far as they are known here, and the inputs whose value is not. */
  function question() {
    const { node } = c;
    const values = Object.fromEntries(node.widgets.map(({ name }) => [name, known(node, name)]));
    if (node.comfyClass === "Frameloom_FreeNoise") {
      const frames = clipLength(node);
      length.style.display = frames ? "none" : "";
      values.frames = frames ?? (field.valueAsNumber || OTHERWISE); // which is saved nowhere
    }
    if (node.comfyClass === "Frameloom_FewStepSettings") {
      const used = [...upTo(node)].filter((each) => !each.mode && known(each, "strength") !== 0); // not bypassed, not off
      values.before = used.map((each) => `${each.comfyClass} ${known(each, "file") ?? ""}`).join("\n");
    }
    const linked = (node.inputs ?? []).filter(({ link, name }) => link != null && values[name] === undefined);
    return JSON.stringify({ node: node.comfyClass, values, linked: linked.map(({ name }) => name) });
  }

  /** Ask the server, one question at a time, so that the last one is answered last. */
  async function changed() {
    isOld = true;
    if (isAsking) return;
    isAsking = true;
    while (isOld && c.node.graph) {
      isOld = false;
      const answer = await ask("plan", question(), SILENCE);
      error = answer.error ?? "";
      if (!error) plan = answer;
      c.redraw();
    }
    isAsking = false;
  }

  /** @param {number} to */
  function point(to) {
    frame = Math.min(to, plan.frames - 1);
    surface.mark(frame < 0 ? null : (frame + 0.5) / plan.frames);
    note.textContent = error || (frame < 0 ? "" : `${plan.unit} ${frame}: ${describe(plan, frame)}`);
    note.style.whiteSpace = error ? "pre-wrap" : "nowrap"; // one line, so that the picture stays as high as it is
  }

  surface.place.onpointermove = surface.place.onpointerdown = (event) => {
    const [x] = surface.at(event);
    if (x >= 0 && x < surface.width) point(Math.floor((x / surface.width) * plan.frames));
  };
  surface.place.onpointerleave = () => point(-1);

  return {
    changed,
    watched: question,
    draw() {
      title.textContent = title.title = plan.title;
      note.style.color = error ? "var(--wrong)" : "";
      surface.canvas.style.opacity = error ? "0.35" : "1";
      surface.canvas.ariaLabel = plan.title;
      drawPlan(surface, plan);
      point(frame);
    },
    key({ key }) {
      const way = wayOf(key);
      if (way) point(Math.max(frame + way, 0));
      return way !== 0;
    },
  };
}

/** The value of a node's widget, also where it comes over a link from a node that just holds it; undefined where it is
 * known only when the graph runs. @param {GraphNode} node @param {string} [name] @returns {any} */
function known(node, name, left = FURTHEST) {
  const { slot, from, output } = before(node, (each) => each.name === name);
  if (slot < 0) return node.widgets?.find((each) => each.name === name)?.value;
  return from && left ? known(from, output, left - 1) ?? known(from, "value", left - 1) : undefined;
}

/** The length of the clip that is sampled behind a node, where the graph says it. @param {GraphNode} node */
function clipLength(node) {
  for (const each of after(node)) {
    const length = latentLength(each);
    if (length) return length;
  }
}

/** How many frames the latent has that comes into a node. @param {GraphNode | undefined} node */
function latentLength(node) {
  for (let left = FURTHEST; left && node; left--) {
    const { from } = before(node, (each) => each.type === "LATENT");
    const length = from && LENGTHS.map((name) => known(from, name)).find((each) => each > 0);
    if (length) return length;
    node = from;
  }
}

/** @param {Rows | Chart} panel */
const isRows = (panel) => "rows" in panel;

/** What the plan says of a frame. @param {Plan} plan @param {number} frame */
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

/** @param {Surface} surface @param {Plan} plan */
function drawPlan(surface, plan) {
  const colour = colours();
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

  /** Draw bars, as high in a frame as it counts there. Of what is below a pixel some is left out.
   *  @param {Rows} panel @param {number} top @param {number} room */
  function drawRows(panel, top, room) {
    const [unit, tall] = [width / plan.frames, room / panel.rows.length];
    const wide = Math.max(unit > 4 ? unit - 1 : unit, 1);
    const most = Math.max(tall > 4 ? tall - 2 : tall, 1);
    pen.globalAlpha = 0.7;
    for (let row = 0; row < panel.rows.length; row += Math.max(1, Math.floor(1 / tall))) {
      pen.fillStyle = colourOf(row);
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
    pen.fillStyle = colour.faint;
    for (const frame of panel.marks) pen.fillRect((frame + 0.5) * unit - 1, top, 2, room);
    if (tall < 11) return;
    pen.fillStyle = colour.text;
    panel.labels.forEach((label, row) => pen.fillText(label, 10, top + (row + 0.5) * tall));
  }

  /** @param {Chart} panel @param {number} top @param {number} room */
  function drawChart({ values, dots }, top, room) {
    let [low, high] = rangeOf([0, ...values]);
    if (low === high) high = 1;
    const unit = width / values.length;
    const [y, tall] = [top + 4, room - 8];
    pen.fillStyle = colour.edge;
    for (const level of [y, y + tall]) pen.fillRect(0, level, width, 1);
    pen.strokeStyle = pen.fillStyle = colourOf(0);
    pen.lineWidth = 1.5;
    drawCurve(pen, values, { x: unit / 2, y, width: width - unit, height: tall }, [low, high], dots);
    pen.fillStyle = colour.text;
    pen.fillText(String(low), 2, y + tall - 7);
    pen.fillText(String(high), 2, y + 7);
  }
}
