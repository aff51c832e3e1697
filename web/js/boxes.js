// The box editor of storyboards: on Layout From Text to draw with, on Layout Preview to look at. The text stays the value.
// The server says what a text means, since it reads every format; an edit is written as Frameloom JSON. A text that can't
// be read is shown with its error, and nothing writes over it.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { Behind, linkOf } from "./boxes_behind.js";
import { BoxFields } from "./boxes_fields.js";
import { HANDLE, laneAt, lanesHeight, paint, paintLanes, placeOf } from "./boxes_picture.js";
import { chain, companion } from "./companion.js";
import { frameBar } from "./frame_bar.js";
import * as story from "./storyboard.js";
import { Surface } from "./surface.js";

/**
 * @import { Box, Entity, Point, Scene, Storyboard } from "./storyboard.js"
 * @typedef {{ storyboard?: Storyboard, format?: string, error?: string, line?: number }} Answer
 * @typedef {{ id: string, handle: string, from: Point, box: Box | null, now: Box | null, far: boolean }} Held
 *   id: "" for a new thing; now: its box so far; far: it was moved further than a hand slips
 */

const OWN = "Frameloom JSON";
const SETTINGS = ["format", "frames", "fps", "width", "height"];
const VIEW = "frameloom_view"; // a node's property: where its user was at the last edit, for undo and for a file
const SLIP = 3; // screen pixels
const LEAST = "200px"; // height of the picture
const MOST_KNOWN = 32;
/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What texts were read as: undo then needs no server. @type {Map<string, Answer>} */
const known = new Map();

/** What nodes show, for previews behind them. @type {WeakMap<object, Answer>} */
const shown = new WeakMap();

/** What previews do when that changed. @type {Set<() => void>} */
const previews = new Set();

/** @param {string} key @param {Answer} answer */
function remember(key, answer) {
  known.delete(key);
  known.set(key, answer);
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value ?? "");
}

/** Ask the server what a text says, under the settings that count where the text does not say them.
 *  @param {any} question @returns {Promise<Answer>} */
async function ask(question) {
  if (!question.text.trim()) return { storyboard: story.empty(question), format: OWN };
  const body = JSON.stringify(question);
  const found = known.get(body);
  if (found) return found;
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  const response = await api.fetchApi("/frameloom/storyboard", request).catch(() => null);
  if (!response) return { error: "The server does not answer, so this text can't be read. It stays as it is." };
  const answer = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
  if (response.ok) remember(body, answer);
  return answer;
}

export class Boxes {
  /** @param {any} c - companion @param {boolean} editable */
  constructor(c, editable) {
    this.c = c;
    this.editable = editable;
    /** @type {Storyboard | undefined} */
    this.board = undefined; // as it was read last
    /** @type {Answer} */
    this.answer = {};
    this.asked = ""; // question that the answer is for
    this.said = "";
    this.place = 0; // of the scene
    this.frame = 0;
    this.thing = ""; // id of the chosen one
    /** @type {Held | null} */
    this.held = null;

    this.boxOf = this.boxOf.bind(this);
    this.behind = new Behind(c);
    this.fields = new BoxFields(this);
    c.root.style.padding = "3px"; // for the ring of the focus
    c.root.append(this.fields.top);
    this.surface = new Surface(c.root, "Boxes of the storyboard at a frame");
    this.surface.place.style.minHeight = LEAST;
    c.root.style.minHeight = "min-content"; // nodes of Vue ask the page how high a widget is
    this.bar = frameBar({ onFrame: (frame) => this.goFrame(frame) });
    c.root.append(this.bar.element);
    this.lanes = new Surface(c.root, "Keys of each thing by frame");
    c.root.append(this.fields.chosen, this.fields.numbers, this.fields.note);

    const { canvas } = this.surface;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.release());
    canvas.addEventListener("lostpointercapture", () => this.drop());
    canvas.addEventListener("dblclick", () => this.fields.rename());
    canvas.addEventListener("contextmenu", (event) => {
      if (!this.open || !this.thingAt(this.at(event))) return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.lanes.canvas.addEventListener("pointerdown", (event) => event.button === 0 && this.pressLane(event));
    for (const end of ["keyup", "focusout"]) {
      c.root.addEventListener(end, () => this.held?.handle === "nudge" && this.edit(() => this.release()));
    }
    this.again = () => this.changed();
    if (editable) api.addEventListener("reconnected", this.again);
  }

  removed() {
    this.bar.stop();
    this.behind.removed();
    api.removeEventListener("reconnected", this.again);
  }

  get scene() {
    return this.board?.scenes[this.place];
  }

  get entity() {
    return this.scene?.entities.find((each) => each.id === this.thing);
  }

  /** Whether a hand may change what is shown: it is what the text says now. */
  get open() {
    return this.editable && Boolean(this.answer.storyboard) && this.asked === this.question();
  }

  question() {
    const settings = SETTINGS.map((name) => [name, this.c.value(name)]);
    return JSON.stringify({ text: String(this.c.value("text") ?? ""), ...Object.fromEntries(settings) });
  }

  // What is shown.

  /** The text, or what counts beside it, is another: a hand that was at work stops. */
  async changed() {
    this.held = null;
    const { c } = this;
    const from = c.linked("text") ? "comes through a link" : c.value("file") === "none" ? "" : "is read from a file";
    if (from) return this.show({ error: `The layout ${from}. Connect Layout Preview to see it after a run.` });
    const question = this.question();
    const answer = await ask(JSON.parse(question));
    if (question !== this.question()) return; // the next answer is under way
    this.asked = question;
    this.said = answer.format === OWN ? "" :
      `This is a text of the format ${answer.format}. An edit here writes it anew as ${OWN}; undo brings it back.`;
    this.show(answer);
  }

  /** @param {Answer} answer */
  show(answer) {
    if (!this.board) {
      const { place, frame, thing } = this.c.node.properties?.[VIEW] ?? this; // of a file: anything
      Object.assign(this, { place: Number(place) || 0, frame: Number(frame) || 0, thing });
    }
    this.answer = answer;
    this.board = answer.storyboard ?? this.board;
    shown.set(this.c.node, answer);
    for (const look of previews) look();
    this.refresh();
  }

  /** Show all that the storyboard, the scene and the chosen thing say. */
  refresh() {
    const { board } = this;
    this.place = story.clamp(this.place, 0, (board?.scenes.length ?? 1) - 1);
    const { scene, entity } = this;
    this.thing = entity?.id ?? "";
    const frames = scene?.frames ?? 1;
    this.frame = story.clamp(this.frame, 0, frames - 1);
    this.bar.set({ frames, frame: this.frame, fps: board?.fps, keys: entity?.track.map((key) => key.f) });
    this.lanes.place.style.flex = `0 0 ${scene ? lanesHeight(scene) : 0}px`;
    this.fields.refresh();
    this.behind.refresh();
    this.c.redraw();
  }

  draw() {
    const { scene, board, held } = this;
    if (!scene || !board) return this.surface.begin();
    paint(this, scene, board.size);
    if (!held) paintLanes(this, scene);
    this.fields.draw();
  }

  /** A thing's box at the frame, which may be under a hand. @param {Entity} entity */
  boxOf(entity) {
    return this.held?.id === entity.id ? this.held.now : story.boxAt(entity, this.frame);
  }

  /** @param {number} frame */
  goFrame(frame) {
    this.drop();
    this.frame = frame;
    this.c.redraw();
  }

  /** @param {number} place */
  goScene(place) {
    this.place = place;
    this.refresh();
  }

  /** @param {string} id */
  choose(id) {
    this.thing = id;
    this.refresh();
  }

  // Edits.

  /** Write a storyboard as the text. @param {Storyboard} board */
  commit(board) {
    const { c, place, frame, thing } = this;
    const text = story.format(board);
    if (!this.open || text === c.value("text")) return;
    if (!["auto", OWN].includes(c.value("format")) && !c.write("format", OWN)) return;
    c.node.properties ??= {};
    c.node.properties[VIEW] = { place, frame, thing };
    if (!c.write("text", text)) return; // somebody else just wrote: theirs is read
    this.asked = this.question();
    this.said = "";
    const answer = { storyboard: board, format: OWN };
    remember(this.asked, answer);
    this.show(answer);
  }

  /** Make an edit that no mouse made one undo step. @param {() => void} edit */
  edit(edit) {
    edit();
    this.c.snapshot();
  }

  /** @param {Partial<Scene>} change */
  changeScene(change) {
    if (this.board) this.commit(story.withScene(this.board, this.place, change));
  }

  /** @param {Partial<Entity>} change - of the chosen thing, as all below */
  changeThing(change) {
    if (this.scene) this.changeScene(story.withEntity(this.scene, this.thing, change));
  }

  /** @param {Box | null} box */
  setKey(box) {
    if (this.entity) this.changeThing({ track: story.withKey(this.entity.track, this.frame, box) });
  }

  /** Take the key at the frame away, and the thing with its last one. */
  removeKey() {
    const { entity, frame } = this;
    if (!entity || !story.keyAt(entity, frame)) return;
    const track = story.withoutKey(entity.track, frame);
    if (track.length) this.changeThing({ track });
    else this.removeThing();
  }

  removeThing() {
    if (this.scene) this.changeScene(story.withoutThing(this.scene, this.thing));
  }

  /** @param {Box} box */
  addThing(box) {
    const { scene } = this;
    if (!scene) return;
    const next = story.withThing(scene, `thing ${scene.entities.length + 1}`, this.frame, box);
    this.thing = next.entities[scene.entities.length].id;
    this.changeScene(next);
  }

  // The mouse.

  /** Where an event is, as a part of the picture. @param {MouseEvent} event @returns {Point} */
  at(event) {
    const [x, y] = this.surface.at(event);
    const place = placeOf(this.surface, this.board?.size ?? [1, 1]);
    return [(x - place.x) / place.width, (y - place.y) / place.height];
  }

  /** So many screen pixels, as parts of the picture. @param {number} pixels @returns {Point} */
  reach(pixels) {
    const { width, height } = placeOf(this.surface, this.board?.size ?? [1, 1]);
    return [pixels / this.surface.scale / width, pixels / this.surface.scale / height];
  }

  /** The smallest thing at a place. @param {Point} at @returns {Entity | undefined} */
  thingAt(at) {
    const area = (/** @type {Box | null} */ box) => (box ? (box[2] - box[0]) * (box[3] - box[1]) : Infinity);
    const here = (this.scene?.entities ?? []).filter((each) => {
      const box = this.boxOf(each);
      return box && story.handleAt(box, at, [0, 0]);
    });
    return here.sort((one, other) => area(this.boxOf(one)) - area(this.boxOf(other)))[0];
  }

  /** The chosen thing's handle at a place. @param {Point} at */
  handleAt(at) {
    const box = this.open && this.entity && this.boxOf(this.entity);
    return box ? story.handleAt(box, at, this.reach(HANDLE / 2)) : "";
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0 && event.button !== 2) return;
    this.bar.stop();
    this.held = null;
    const at = this.at(event);
    let handle = event.button === 0 ? this.handleAt(at) : "";
    if (!handle || handle === "move") {
      const found = this.thingAt(at)?.id ?? "";
      handle = found && "move";
      if (found !== this.thing) this.choose(found);
    }
    if (!this.open) return;
    if (event.button === 2) return this.removeKey();
    const box = this.entity ? this.boxOf(this.entity) : null;
    this.held = { id: this.thing, handle, from: at, box, now: box, far: false };
    this.surface.canvas.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { held } = this;
    const at = this.at(event);
    if (!held || held.handle === "nudge") return this.point(at);
    const way = /** @type {Point} */ ([at[0] - held.from[0], at[1] - held.from[1]]);
    const slip = this.reach(SLIP);
    held.far ||= Math.abs(way[0]) > slip[0] || Math.abs(way[1]) > slip[1];
    if (!held.far) return;
    held.now = held.box ? story.drag(held.box, held.handle, way) : story.span(held.from, at);
    this.c.redraw();
  }

  /** Show by the cursor what a press would do. @param {Point} at */
  point(at) {
    const handle = this.handleAt(at);
    const free = this.thingAt(at) ? "move" : this.open ? "crosshair" : "default";
    this.surface.canvas.style.cursor = handle && handle !== "move" ? `${handle}-resize` : free;
  }

  release() {
    const { held } = this;
    this.held = null;
    this.c.redraw();
    if (!held?.far || !held.now) return;
    if (held.id) this.setKey(held.now);
    else this.addThing(held.now);
  }

  /** Let go without a change. */
  drop() {
    if (this.held) this.c.redraw();
    this.held = null;
  }

  /** @param {PointerEvent} event */
  pressLane(event) {
    if (!this.scene) return;
    this.bar.stop();
    Object.assign(this, laneAt(this.lanes, this.scene, this.lanes.at(event)));
    this.refresh();
  }

  // The keyboard.

  /** @param {KeyboardEvent} event @returns {boolean} */
  key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (key === "Delete" || key === "Backspace") this.edit(() => this.removeKey());
    else if (target !== this.c.root) return false;
    else if (key === "," || key === ".") this.bar.step(key === "," ? -1 : 1);
    else if (key === "Escape" && this.held) this.drop();
    else if (key === "Escape") this.choose("");
    else if (key === "Enter" || key === "F2") this.fields.rename();
    else if (key in ARROWS) this.nudge(ARROWS[key], event.shiftKey ? 10 : 1);
    else return false;
    return true;
  }

  /** Move the chosen thing by pixels of the picture, until the key is let go. @param {Point} way @param {number} pixels */
  nudge(way, pixels) {
    const box = this.entity && this.boxOf(this.entity);
    if (!this.open || !this.board || !box || (this.held && this.held.handle !== "nudge")) return;
    const [wide, tall] = this.board.size;
    const now = story.drag(box, "move", [(way[0] * pixels) / wide, (way[1] * pixels) / tall]);
    this.held = { id: this.thing, handle: "nudge", from: way, box, now, far: true };
    this.c.redraw();
  }
}

/** What Layout Preview shows: the text of a node straight before it, or what its last run drew. @param {any} node */
function preview(node) {
  /** @type {Answer} */
  let ran = {};
  companion(node, "boxes_preview", {
    watch: [],
    height: 375,
    label: "Storyboard: its boxes over time",
    build(c) {
      const boxes = new Boxes(c, false);
      const look = () => {
        const input = node.inputs?.find((/** @type {any} */ each) => each.name === "storyboard");
        const link = linkOf(node, input?.link);
        const before = link && shown.get(node.graph.getNodeById(link.origin_id));
        const answer = before?.storyboard ? before : ran;
        if (answer !== boxes.answer) boxes.answer = answer;
        boxes.board = answer.storyboard;
        boxes.refresh();
      };
      look();
      previews.add(look);
      chain(node, "onConnectionsChange", look);
      chain(node, "onExecuted", (output) => {
        const [text] = output?.frameloom_storyboard ?? [];
        if (text) ran = { storyboard: JSON.parse(text) };
        look();
      });
      return {
        changed: look,
        draw: () => boxes.draw(),
        key: (event) => boxes.key(event),
        removed() {
          previews.delete(look);
          boxes.removed();
        },
      };
    },
  });
}

app.registerExtension({
  name: "Frameloom.Boxes",
  nodeCreated(/** @type {any} */ node) {
    if (node.comfyClass === "Frameloom_LayoutPreview") preview(node);
    if (node.comfyClass !== "Frameloom_LayoutFromText") return;
    companion(node, "boxes", {
      watch: ["text", "file", ...SETTINGS],
      height: 440,
      width: 440,
      label: "Storyboard: draw boxes and move them over time",
      build: (c) => new Boxes(c, true),
    });
  },
});
