// The box editor's controls around its picture: tabs of the scenes, what the chosen thing or the scene says, a note.

import { CONTROL, ROW, button, field, make, notice, put } from "./controls.js";
import * as story from "./storyboard.js";

export class BoxFields {
  /** @param {Boxes} boxes */
  constructor(boxes) {
    this.boxes = boxes;
    this.tabs = make("div", {}, `${ROW} flex: 1; flex-wrap: wrap`);
    this.top = make("div", {}, ROW, this.tabs, ...(boxes.editable ? [boxes.behind.select] : []));
    this.note = notice("max-height: 80px; user-select: text");

    const onchange = () => boxes.refresh({ thing: this.things.value });
    this.things = make("select", { title: "chosen thing", onchange }, `${CONTROL} flex: 1 1 80px; width: 0`);
    this.name = this.text("name of the thing", (text) => text && boxes.changeThing({ text }));
    const hold = "present before its first key and after its last one, too";
    this.hold = this.field({ type: "checkbox", title: hold }, "flex: none", () => boxes.changeThing({ hold: this.hold.checked }));
    this.key = this.button("◇", "key at this frame", () => {
      const { entity, frame } = boxes;
      if (!entity) return;
      if (story.keyAt(entity, frame)) boxes.removeKey();
      else boxes.setKey(/** @type {any} */ (story.boxAt(entity, frame)?.map(story.round) ?? null));
    });
    this.edges = ["left", "top", "right", "bottom"].map((edge, side) =>
      this.number(`${edge} edge, 0 to 1`, { max: "1", step: "0.01" }, (value) => {
        const box = boxes.entity && boxes.boxOf(boxes.entity);
        if (!box) return;
        const way = value - box[side];
        boxes.setKey(story.drag(box, "wnes"[side], side % 2 ? [0, way] : [way, 0]));
      }));
    this.ofThing = make("div", {}, `${ROW} flex: 3`,
      this.name, this.hold, this.key,
      this.button("absent", "absent from this frame up to its next key", () => boxes.setKey(null)),
      this.button("×", "remove the thing", () => boxes.removeThing()));

    this.prompt = this.text("prompt of the scene", (prompt) => boxes.changeScene({ prompt }));
    this.background = this.text("background of the scene", (background) => boxes.changeScene({ background }));
    this.frames = this.number("frames of the scene", { min: "1", max: "100000" }, (value) => {
      const fewest = boxes.scene ? story.fewestFrames(boxes.scene) : 1;
      boxes.changeScene({ frames: story.clamp(Math.round(value), fewest, 100000) });
      if (value < fewest) boxes.said = `A key is at frame ${fewest}: take it away first for a shorter scene.`;
    });
    this.ofScene = make("div", {}, `${ROW} flex: 3`, this.prompt, this.background, this.frames,
      this.button("+", "add a thing in the middle", () => boxes.addThing([0.375, 0.375, 0.625, 0.625])));
    this.numbers = make("div", {}, ROW, ...this.edges);
    this.chosen = make("div", {}, ROW, this.things, this.ofThing, this.ofScene);
  }

  /** @type {Fields["field"]} */
  field(given, style, then) {
    return field(given, style, (input) => {
      this.boxes.c.step(() => then(input));
      this.boxes.refresh();
    });
  }

  /** @type {Fields["text"]} */
  text(title, then) {
    const given = { type: "text", title, placeholder: title.split(" ")[0] };
    return this.field(given, "flex: 2 1 90px; width: 0", ({ value }) => then(value.trim()));
  }

  /** @type {Fields["number"]} */
  number(title, range, then) {
    const given = { type: "number", title, min: "0", step: "1", ...range };
    return this.field(given, "flex: 1 1 56px; width: 0", ({ value }) => value && then(Number(value)));
  }

  /** @type {Fields["button"]} */
  button(textContent, title, then) {
    return button(textContent, title, () => this.boxes.c.step(then));
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
    if (wasHere) this.tabs.querySelectorAll("button")[boxes.place]?.focus();
    for (const each of [this.chosen, this.numbers]) each.style.display = open ? "flex" : "none";
    this.ofThing.style.display = entity ? "flex" : "none";
    this.numbers.style.visibility = entity ? "" : "hidden"; // the picture keeps its size
    this.ofScene.style.display = entity ? "none" : "flex";
    const options = [{ id: "", text: "the scene" }, ...(scene?.entities ?? [])];
    this.things.replaceChildren(...options.map(({ id, text }) => new Option(text, id)));
    this.things.value = boxes.thing;
    this.hold.checked = entity?.hold ?? false;
    put(this.name, entity?.text ?? "");
    put(this.prompt, scene?.prompt ?? "");
    put(this.background, scene?.background ?? "");
    put(this.frames, scene?.frames ?? 1);
    this.note.textContent = answer.error ? excerpt(boxes) + answer.error.split(" Also tried:")[0] : boxes.said;
    this.note.style.color = answer.error ? "var(--wrong)" : "";
    this.note.style.display = this.note.textContent ? "" : "none";
  }

  /** @param {Storyboard | undefined} board */
  tabsOf(board) {
    const { boxes } = this;
    const tabs = (board?.scenes ?? []).map(({ id, prompt }, place) => {
      const tab = button(`Scene ${id}`, `scene ${id}: ${prompt}`, () => boxes.refresh({ place }));
      tab.ariaPressed = String(place === boxes.place);
      tab.style.flex = "0 1 auto";
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
    this.key.ariaPressed = String(mark === "◆");
  }
}

/** The line that an error speaks of. @param {Boxes} boxes */
function excerpt({ answer, c }) {
  if (!answer.line) return "";
  return `${answer.line} | ${String(c.value("text")).split("\n")[answer.line - 1]?.trim().slice(0, 100)}\n`;
}
