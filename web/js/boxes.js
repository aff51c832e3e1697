// The box editor of storyboards: on Layout From Text to draw with, on Layout Preview to look at. The text stays the value.
// The server says what a text means, since it reads every format; an edit is written as Frameloom JSON. A text that can't
// be read is shown with its error, and nothing writes over it.

import { Behind } from "./boxes_behind.js";
import { BoxFields } from "./boxes_fields.js";
import { HANDLE, laneAt, lanesHeight, paint, paintLanes, placeOf } from "./boxes_picture.js";
import { companion } from "./companion.js";
import { ask } from "./controls.js";
import { frameBar } from "./frame_bar.js";
import { before, outputOf } from "./graph.js";
import * as story from "./storyboard.js";
import { Surface } from "./surface.js";

const OWN = "Frameloom JSON";
const VIEW = "frameloom_view"; // a node's property: where its user was at the last edit, for undo and for a file
const SLIP = 3; // screen pixels
const MOST_KNOWN = 32;
const SILENCE = "This text can't be read, and stays as it is.";
/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What texts were read as: undo then needs no server. @type {Map<string, Reading | Promise<Reading>>} */
const known = new Map();

/** @param {string} question @param {Reading | Promise<Reading>} reading */
function remember(question, reading) {
  known.delete(question);
  known.set(question, reading);
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value ?? "");
}

/** Ask the server what a text says, under the settings that count where the text does not say them.
 *  @type {(question: string) => Promise<Reading>} */
async function read(question) {
  const { text, ...settings } = JSON.parse(question);
  if (!text.trim()) return { storyboard: story.empty(settings), format: OWN };
  if (!known.has(question)) remember(question, ask("storyboard", question, SILENCE));
  const reading = (await known.get(question)) ?? {};
  if (reading.error && !reading.line) known.delete(question); // the server may answer the next time
  return reading;
}

/** What to ask the server about a node's text, or where that comes from if it is not known here. @param {GraphNode} node */
function questionOf(node) {
  const values = Object.fromEntries(node.widgets.map(({ name, value }) => [name, value]));
  const { text, file, format, frames, fps, width, height } = values;
  const isLinked = before(node, (each) => each.widget?.name === "text").slot >= 0;
  const from = isLinked ? "comes through a link" : file === "none" ? "" : "is read from a file";
  const asked = { text: String(text ?? ""), format, frames, fps, width, height };
  return { from, question: from ? "" : JSON.stringify(asked) };
}

export class Boxes {
  /** @type {Storyboard | undefined} */
  board; // as read last
  /** @type {Reading} */
  answer = {};
  asked = ""; // question that the answer is for
  said = "";
  place = 0; // of the scene
  thing = ""; // id of the chosen one
  /** @type {Held | null} */
  held = null;

  /** @param {Companion} c @param {boolean} editable */
  constructor(c, editable) {
    this.c = c;
    this.editable = editable;
    this.behind = new Behind(c);
    this.fields = new BoxFields(this);
    c.root.append(this.fields.top);
    this.surface = new Surface(c.root, "Boxes of the storyboard at a frame");
    this.bar = frameBar(() => this.drop());
    c.root.append(this.bar.element);
    this.lanes = new Surface(c.root, "Keys of each thing by frame");
    c.root.append(this.fields.chosen, this.fields.numbers, this.fields.note);
    this.listen();
    for (const end of ["keyup", "focusout"]) {
      c.root.addEventListener(end, () => this.held?.handle === "nudge" && c.step(() => this.release()));
    }
  }

  get frame() {
    return this.bar.frame;
  }

  get scene() {
    return this.board?.scenes[this.place];
  }

  get entity() {
    return this.scene?.entities.find((each) => each.id === this.thing);
  }

  /** Whether a hand may change what is shown: it is what the text says now. */
  get open() {
    return this.editable && Boolean(this.answer.storyboard) && this.asked === this.watched();
  }

  watched() {
    const { from, question } = questionOf(this.c.node);
    return from || question;
  }

  // What is shown.

  /** The text, or what counts beside it, is another: a hand that was at work stops. */
  async changed() {
    this.held = null;
    const { from, question } = questionOf(this.c.node);
    if (from) return this.show({ error: `The layout ${from}. Connect Layout Preview to see it after a run.` });
    const answer = await read(question);
    if (question !== this.watched()) return; // the next answer is under way
    this.asked = question;
    this.said = answer.format === OWN ? "" :
      `This is a text of the format ${answer.format}. An edit here writes it anew as ${OWN}; undo brings it back.`;
    this.show(answer);
  }

  /** @param {Reading} answer */
  show(answer) {
    const { place, frame, thing } = (!this.board && this.c.node.properties[VIEW]) || this; // of a file: anything
    this.answer = answer;
    this.board = answer.storyboard ?? this.board;
    this.refresh({ place: Number(place) || 0, frame: Number(frame) || 0, thing });
  }

  /** Show what the storyboard says, of another scene, frame or thing where one is given. @param {Partial<View>} [to] */
  refresh({ place = this.place, frame = this.frame, thing = this.thing } = {}) {
    const { board } = this;
    this.place = story.clamp(place, 0, (board?.scenes.length ?? 1) - 1);
    this.thing = thing;
    const { scene, entity } = this;
    this.thing = entity?.id ?? "";
    this.bar.set({ frames: scene?.frames ?? 1, frame, fps: board?.fps, keys: entity?.track.map((key) => key.f) });
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

  // Edits.

  /** Write a storyboard as the text. @param {Storyboard} board */
  commit(board) {
    const { c, place, frame, thing } = this;
    const text = story.format(board);
    if (!this.open || text === c.value("text")) return;
    if (!["auto", OWN].includes(c.value("format")) && !c.write("format", OWN)) return;
    c.node.properties[VIEW] = { place, frame, thing };
    if (!c.write("text", text)) return; // somebody else just wrote: theirs is read
    this.asked = this.watched();
    this.said = "";
    const answer = { storyboard: board, format: OWN };
    remember(this.asked, answer);
    this.show(answer);
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
    const next = story.withThing(scene, this.frame, box);
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

  /** The smallest thing at a place; "": none. @param {Point} at */
  thingAt(at) {
    const here = (this.scene?.entities ?? []).flatMap((entity) => {
      const box = this.boxOf(entity);
      if (!box || !story.handleAt(box, at, [0, 0])) return [];
      return { id: entity.id, area: (box[2] - box[0]) * (box[3] - box[1]) };
    });
    return here.sort((one, other) => one.area - other.area)[0]?.id ?? "";
  }

  /** The chosen thing's handle at a place. @param {Point} at */
  handleAt(at) {
    const box = this.open && this.entity && this.boxOf(this.entity);
    return box ? story.handleAt(box, at, this.reach(HANDLE / 2)) : "";
  }

  listen() {
    const { canvas } = this.surface;
    canvas.onpointerdown = (event) => {
      if (event.button !== 0 && event.button !== 2) return;
      this.bar.stop();
      this.held = null;
      const at = this.at(event);
      let handle = event.button === 0 ? this.handleAt(at) : "";
      if (!handle || handle === "move") {
        const thing = this.thingAt(at);
        handle = thing && "move";
        if (thing !== this.thing) this.refresh({ thing });
      }
      if (!this.open) return;
      if (event.button === 2) return this.removeKey();
      const box = this.entity ? this.boxOf(this.entity) : null;
      this.held = { id: this.thing, handle, from: at, box, now: box, far: false };
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointermove = (event) => {
      const { held } = this;
      const at = this.at(event);
      if (!held || held.handle === "nudge") {
        const handle = this.handleAt(at);
        const free = this.thingAt(at) ? "move" : this.open ? "crosshair" : "default";
        canvas.style.cursor = handle && handle !== "move" ? `${handle}-resize` : free;
        return;
      }
      const way = /** @type {Point} */ ([at[0] - held.from[0], at[1] - held.from[1]]);
      const slip = this.reach(SLIP);
      held.far ||= Math.abs(way[0]) > slip[0] || Math.abs(way[1]) > slip[1];
      if (!held.far) return;
      held.now = held.box ? story.drag(held.box, held.handle, way) : story.span(held.from, at);
      this.c.redraw();
    };
    canvas.onpointerup = () => this.release();
    canvas.onlostpointercapture = () => this.drop();
    canvas.ondblclick = () => this.fields.rename();
    canvas.oncontextmenu = (event) => {
      if (!this.open || !this.thingAt(this.at(event))) return;
      event.preventDefault();
      event.stopPropagation();
    };
    this.lanes.canvas.onpointerdown = (event) => {
      if (event.button !== 0 || !this.scene) return;
      this.bar.stop();
      this.refresh(laneAt(this.lanes, this.scene, this.lanes.at(event)));
    };
  }

  release() {
    const { held } = this;
    this.drop();
    if (!held?.far || !held.now) return;
    if (held.id) this.setKey(held.now);
    else this.addThing(held.now);
  }

  /** Let go without a change. */
  drop() {
    this.held = null;
    this.c.redraw();
  }

  // The keyboard.

  /** @type {TakeKey} */
  key({ key, target, shiftKey }) {
    if (key === "Delete" || key === "Backspace") this.c.step(() => this.removeKey());
    else if (target !== this.c.root) return false;
    else if (key === "," || key === ".") this.bar.step(key === "," ? -1 : 1);
    else if (key === "Escape" && this.held) this.drop();
    else if (key === "Escape") this.refresh({ thing: "" });
    else if (key === "Enter" || key === "F2") this.fields.rename();
    else if (key in ARROWS) this.nudge(ARROWS[key], shiftKey ? 10 : 1);
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

/** What Layout Preview shows: the text of a node straight before it, or what its last run drew. */
class Preview extends Boxes {
  sources() {
    const { from } = before(this.c.node, (each) => each.name === "storyboard");
    const { question } = from?.comfyClass === "Frameloom_LayoutFromText" ? questionOf(from) : { question: "" };
    return { question, ran: outputOf(this.c.node)?.frameloom_storyboard?.[0] };
  }

  watched() {
    return Object.values(this.sources()).join();
  }

  async changed() {
    const { question, ran } = this.sources();
    const answer = question ? await read(question) : {};
    if (question !== this.sources().question) return;
    this.board = answer.storyboard ?? (ran && JSON.parse(ran));
    this.answer = { storyboard: this.board };
    this.refresh();
  }
}

companion("boxes_preview", { Frameloom_LayoutPreview: 330 }, {
  watch: [],
  label: "Storyboard: its boxes over time",
  build: (c) => new Preview(c, false),
});

companion("boxes", { Frameloom_LayoutFromText: 385 }, {
  watch: [],
  width: 440,
  label: "Storyboard: draw boxes and move them over time",
  build: (c) => new Boxes(c, true),
});
