// The picture behind the boxes: what the last run made of them, or a picture of the user's.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/** @typedef {{ filename: string, subfolder: string, type: string }} File */

const CHOICE = "frameloom_behind"; // a node's property: "" for the last run, "none", or a file of the input folder

/** Frames of the last runs, by workflow and node: undo and a change of tab make a node anew. @type {Map<string, File[]>} */
const runs = new Map();

/** @param {any} node @param {number | null} id - of a link @returns {any} */
export const linkOf = (node, id) => id != null && (node.graph?.links.get?.(id) ?? node.graph?.links[id]);

export class Behind {
  /** @param {any} c - companion */
  constructor(c) {
    this.c = c;
    /** @type {CanvasImageSource | null} */
    this.picture = null;
    this.shown = ""; // file and frame that are shown, or under way
    /** @type {Map<string, Promise<any>>} */
    this.decoders = new Map();
    this.select = document.createElement("select");
    this.select.title = "picture behind the boxes";
    this.select.onchange = () => this.choose(this.select.value);
    /** @param {{ detail: any }} event */
    this.heard = ({ detail }) => {
      const files = detail.output?.images ?? [];
      const isMoving = files.length > 1 || detail.output?.animated?.[0];
      if (!isMoving || !leadsTo(c.node, String(detail.node))) return;
      runs.set(this.place(), files);
      c.redraw();
    };
    api.addEventListener("executed", this.heard);
  }

  removed() {
    api.removeEventListener("executed", this.heard);
  }

  place() {
    return `${app.extensionManager?.workflow?.activeWorkflow?.path} ${this.c.node.id}`;
  }

  refresh() {
    const now = this.c.node.properties?.[CHOICE] ?? "";
    const names = { "": "last run", none: "no picture", other: "picture...", ...(now.filename ? { now: now.filename } : {}) };
    this.select.replaceChildren(...Object.entries(names).map(([value, name]) => new Option(name, value)));
    this.select.value = now.filename ? "now" : now;
  }

  /** @param {string} value */
  async choose(value) {
    if (value === "now") return;
    const file = value === "other" ? await upload() : value;
    if (file != null) (this.c.node.properties ??= {})[CHOICE] = file;
    this.refresh();
    this.c.redraw();
    this.c.snapshot();
  }

  /** The picture at a part of the clip, 0..1; the one before, while it is fetched. @param {number} part */
  at(part) {
    const choice = this.c.node.properties?.[CHOICE] ?? "";
    const files = choice.filename ? [choice] : choice ? [] : runs.get(this.place()) ?? [];
    if (!files.length) return null;
    const file = files[Math.round(part * (files.length - 1))];
    const wanted = `${JSON.stringify(file)} ${files.length > 1 ? "" : part}`;
    if (wanted !== this.shown) this.fetch(file, files.length > 1 ? 0 : part, wanted);
    return this.picture;
  }

  /** @param {File} file @param {number} part @param {string} wanted */
  async fetch(file, part, wanted) {
    this.shown = wanted;
    const url = api.apiURL(`/view?${new URLSearchParams({ ...file })}`);
    if (!this.decoders.has(url)) this.decoders.set(url, decoder(url));
    const picture = await this.decoders.get(url)?.then((frame) => frame(part)).catch(() => null);
    if (wanted !== this.shown) return;
    this.picture = picture;
    this.c.redraw();
  }
}

/** A function from a part of a clip to its picture there. @param {string} url @returns {Promise<(part: number) => any>} */
async function decoder(url) {
  if (/\.(mp4|webm|mov)(&|$)/i.test(url)) {
    const video = Object.assign(document.createElement("video"), { src: url, muted: true, preload: "auto" });
    await heard(video, "loadeddata");
    return async (part) => {
      video.currentTime = part * Math.max(video.duration - 0.01, 0);
      await heard(video, "seeked");
      return video;
    };
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const blob = await response.blob();
  const { ImageDecoder } = /** @type {any} */ (window);
  if (!ImageDecoder) return () => createImageBitmap(blob); // of a clip, the first frame
  const frames = new ImageDecoder({ data: await blob.arrayBuffer(), type: blob.type });
  await frames.tracks.ready;
  await frames.completed;
  const last = frames.tracks.selectedTrack.frameCount - 1;
  return async (part) => (await frames.decode({ frameIndex: Math.round(part * last) })).image;
}

/** @param {EventTarget} source @param {string} name */
const heard = (source, name) =>
  new Promise((resolve, reject) => {
    source.addEventListener(name, resolve, { once: true });
    source.addEventListener("error", () => reject(new Error("no such video")), { once: true });
  });

/** A file of the user's, put into ComfyUI's input folder; null: none was chosen. @returns {Promise<File | null>} */
async function upload() {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*,video/*" });
  const chosen = Promise.race([heard(input, "change"), heard(input, "cancel")]);
  input.click();
  await chosen;
  if (!input.files?.length) return null;
  const body = new FormData();
  body.append("image", input.files[0]);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) return null;
  const { name, subfolder, type } = await response.json();
  return { filename: name, subfolder, type };
}

/** Whether a node's outputs reach another one. @param {any} node @param {string} id @param {Set<any>} seen @returns {boolean} */
function leadsTo(node, id, seen = new Set()) {
  if (!node || seen.has(node)) return false;
  seen.add(node);
  const links = (node.outputs ?? []).flatMap((/** @type {any} */ output) => output.links ?? []);
  const next = links.map((/** @type {number} */ link) => node.graph?.getNodeById(linkOf(node, link)?.target_id));
  return next.some((/** @type {any} */ each) => String(each?.id) === id || leadsTo(each, id, seen));
}
