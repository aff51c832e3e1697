// The box editor's controls around its picture: tabs of the scenes, what the chosen thing or the scene says, a note.

import * as story from "./storyboard.js";

/** @import { Boxes } from "./boxes.js" */

const CONTROL =
  "box-sizing: border-box; min-width: 0; height: 22px; margin: 0; padding: 0 5px; font: inherit; color: inherit;" +
  "border: 1px solid var(--border-color); border-radius: 4px; background: var(--comfy-input-bg);";
const ROW = "display: flex; flex: none; min-width: 0; align-items: center; gap: 4px;";

export class BoxFields {
  /** @param {Boxes} boxes */
  constructor(boxes) {
    this.boxes = boxes;
    this.tabs = make("div", {}, `${ROW} flex: 1; flex-wrap: wrap`);
    boxes.behind.select.style.cssText = CONTROL;
    this.top = make("div", {}, ROW, this.tabs, ...(boxes.editable ? [boxes.behind.select] : []));
    this.note = make("div", { role: "status" }, "flex: none; max-height: 80px; overflow: auto; white-space: pre-wrap");
    this.note.style.userSelect = "text";

    this.things = make("select", { title: "chosen thing" }, `${CONTROL} flex: 1 1 80px; width: 0`);
    this.things.onchange = () => boxes.choose(this.things.value);
    this.name = this.text("name of the thing", (text) => text && boxes.changeThing({ text }));
    const hold = "present before its first key and after its last one, too";
    this.hold = this.field({ type: "checkbox", title: hold }, "flex: none", () => boxes.changeThing({ hold: this.hold.checked }));
    this.key = this.button("◇", "key at this frame", () => this.toggleKey());
    this.edges = ["left", "top", "right", "bottom"].map((edge, side) =>
      this.number(`${edge} edge, 0 to 1`, { max: 1, step: 0.01 }, (value) => this.setEdge(side, value)));
    this.ofThing = make("div", {}, `${ROW} flex: 3`,
      this.name, this.hold, this.key,
      this.button("absent", "absent from this frame up to its next key", () => boxes.setKey(null)),
      this.button("×", "remove the thing", () => boxes.removeThing()));

    this.prompt = this.text("prompt of the scene", (prompt) => boxes.changeScene({ prompt }));
    this.background = this.text("background of the scene", (background) => boxes.changeScene({ background }));
    this.frames = this.number("frames of the scene", { min: 1, max: 100000 }, (frames) => this.setFrames(frames));
    this.ofScene = make("div", {}, `${ROW} flex: 3`, this.prompt, this.background, this.frames,
      this.button("+", "add a thing in the middle", () => boxes.addThing([0.375, 0.375, 0.625, 0.625])));
    this.numbers = make("div", {}, ROW, ...this.edges);
    this.chosen = make("div", {}, ROW, this.things, this.ofThing, this.ofScene);
  }

  /** @param {object} given @param {string} flex @param {(value: any) => void} then */
  field(given, flex, then) {
    const made = make("input", given, `${CONTROL} ${flex}`);
    made.onchange = () => {
      this.boxes.edit(() => then(made.value));
      this.boxes.refresh();
    };
    return made;
  }

  /** @param {string} title @param {(text: string) => void} then */
  text(title, then) {
    return this.field({ type: "text", title, placeholder: title.split(" ")[0] }, "flex: 2 1 90px; width: 0", (text) => then(text.trim()));
  }

  /** @param {string} title @param {object} range @param {(value: number) => void} then */
  number(title, range, then) {
    const given = { type: "number", title, min: 0, step: 1, ...range };
    return this.field(given, "flex: 1 1 56px; width: 0", (text) => text && then(Number(text)));
  }

  /** @param {string} textContent @param {string} title @param {() => void} then */
  button(textContent, title, then) {
    const onclick = () => this.boxes.edit(then);
    return make("button", { type: "button", textContent, title, onclick }, `${CONTROL} flex: none; cursor: pointer`);
  }

  /** @param {number} side @param {number} value */
  setEdge(side, value) {
    const box = this.boxes.entity && this.boxes.boxOf(this.boxes.entity);
    if (!box) return;
    const way = value - box[side];
    this.boxes.setKey(story.drag(box, "wnes"[side], side % 2 ? [0, way] : [way, 0]));
  }

  /** @param {number} value */
  setFrames(value) {
    const { scene, boxes } = { scene: this.boxes.scene, boxes: this.boxes };
    if (!scene) return;
    const fewest = story.fewestFrames(scene);
    boxes.changeScene({ frames: story.clamp(Math.round(value), fewest, 100000) });
    if (value < fewest) boxes.said = `A key is at frame ${fewest}: take it away first for a shorter scene.`;
  }

  toggleKey() {
    const { entity, frame } = this.boxes;
    if (!entity) return;
    if (story.keyAt(entity, frame)) this.boxes.removeKey();
    else this.boxes.setKey(/** @type {any} */ (story.boxAt(entity, frame)?.map(story.round) ?? null));
  }

  rename() {
    if (!this.boxes.open || !this.boxes.entity) return;
    this.name.focus();
    this.name.select();
  }

  /** Show what the scene, the chosen thing and the server's answer are. */
  refresh() {
    const { boxes } = this;
    const { answer, board, scene, entity, open } = boxes;
    const wasHere = this.tabs.contains(document.activeElement);
    this.tabs.replaceChildren(...this.tabsOf(board));
    if (wasHere) this.tabs.children[boxes.place]?.focus();
    for (const each of [this.chosen, this.numbers]) each.style.display = open ? "flex" : "none";
    this.ofThing.style.display = entity ? "flex" : "none";
    this.numbers.style.visibility = entity ? "" : "hidden"; // the picture keeps its size
    this.ofScene.style.display = entity ? "none" : "flex";
    const options = [{ id: "", text: "the scene" }, ...(scene?.entities ?? [])];
    this.things.replaceChildren(...options.map(({ id, text }) => make("option", { value: id, textContent: text })));
    this.things.value = boxes.thing;
    this.hold.checked = entity?.hold ?? false;
    put(this.name, entity?.text ?? "");
    put(this.prompt, scene?.prompt ?? "");
    put(this.background, scene?.background ?? "");
    put(this.frames, scene?.frames ?? 1);
    this.note.textContent = answer.error ? excerpt(boxes) + answer.error.split(" Also tried:")[0] : boxes.said;
    this.note.style.color = answer.error ? "var(--error-text)" : "";
    this.note.style.display = this.note.textContent ? "" : "none";
  }

  /** @param {Boxes["board"]} board */
  tabsOf(board) {
    const { boxes } = this;
    const tabs = (board?.scenes ?? []).map(({ id, prompt }, place) => {
      const onclick = () => boxes.goScene(place);
      const given = { type: "button", textContent: `Scene ${id}`, title: `scene ${id}: ${prompt}`, onclick };
      const tab = make("button", given, `${CONTROL} flex: 0 1 auto; cursor: pointer`);
      tab.setAttribute("aria-pressed", String(place === boxes.place));
      if (place === boxes.place) tab.style.borderColor = "currentColor";
      return tab;
    });
    if (!board || !boxes.open) return tabs;
    const without = () => boxes.commit(story.withoutScene(board, boxes.place));
    const add = () => {
      boxes.place = board.scenes.length;
      boxes.commit(story.withNewScene(board));
    };
    const remove = board.scenes.length > 1 ? [this.button("×", "remove this scene", without)] : [];
    return [...tabs, this.button("+", "add a scene", add), ...remove];
  }

  /** Show what the frame changes. */
  draw() {
    const { entity, open, frame } = this.boxes;
    if (!entity || !open) return;
    const box = this.boxes.boxOf(entity);
    this.edges.forEach((field, side) => put(field, box ? story.round(box[side]) : ""));
    const mark = story.keyAt(entity, frame) ? "◆" : "◇";
    if (this.key.textContent !== mark) this.key.textContent = mark;
    this.key.setAttribute("aria-pressed", String(mark === "◆"));
  }
}

/** @param {string} tag @param {Record<string, any>} given @param {string} style @param {...Node} children @returns {any} */
function make(tag, given, style = "", ...children) {
  const made = Object.assign(document.createElement(tag), given);
  if (style) made.style.cssText = style;
  if (given.title) made.setAttribute("aria-label", given.title);
  made.append(...children);
  return made;
}

/** The line that an error speaks of. @param {Boxes} boxes */
function excerpt({ answer, c }) {
  if (!answer.line) return "";
  return `${answer.line} | ${String(c.value("text")).split("\n")[answer.line - 1]?.trim().slice(0, 100)}\n`;
}

/** Set a field's value, unless somebody types in it. @param {any} field @param {any} value */
function put(field, value) {
  if (document.activeElement !== field && field.value !== String(value)) field.value = value;
}
