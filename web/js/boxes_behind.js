// The picture behind the boxes: what the last run made of them, or a picture of the user's.

import { api } from "../../../scripts/api.js";
import { CONTROL, addressOf, make } from "./controls.js";
import { after, outputOf } from "./graph.js";

const CHOICE = "frameloom_behind"; // a node's property: "" for the last run, "none", or a file of the input folder

export class Behind {
  /** @type {CanvasImageSource | null} */
  picture = null;
  shown = ""; // file and frame that are shown, or under way
  /** @type {Map<string, Promise<Decoder>>} */
  decoders = new Map();

  /** @param {Companion} c */
  constructor(c) {
    this.c = c;
    const onchange = () => this.choose(this.select.value);
    this.select = make("select", { title: "picture behind the boxes", onchange }, CONTROL);
  }

  get choice() {
    return this.c.node.properties[CHOICE] ?? "";
  }

  refresh() {
    const now = this.choice;
    const names = { "": "last run", none: "no picture", other: "picture...", ...(now.filename ? { now: now.filename } : {}) };
    this.select.replaceChildren(...Object.entries(names).map(([value, name]) => new Option(name, value)));
    this.select.value = now.filename ? "now" : now;
  }

  /** @param {string} value */
  async choose(value) {
    if (value === "now") return;
    const file = value === "other" ? await upload() : value;
    this.c.step(() => file != null && (this.c.node.properties[CHOICE] = file));
    this.refresh();
    this.c.redraw();
  }

  /** The frames of the last run, of the furthest node behind this one that gave a clip. @returns {ServerFile[]} */
  lastRun() {
    const outputs = [...after(this.c.node)].map(outputOf);
    return outputs.filter((output) => output?.images?.[1] || output?.animated?.[0]).at(-1)?.images ?? [];
  }

  /** The picture at a part of the clip, 0..1; the one before, while it is fetched. @param {number} part */
  at(part) {
    const { choice } = this;
    const files = choice.filename ? [choice] : choice ? [] : this.lastRun();
    if (!files.length) return null;
    const file = files[Math.round(part * (files.length - 1))];
    const within = files.length > 1 ? 0 : part; // of the file
    const wanted = `${JSON.stringify(file)} ${within}`;
    if (wanted !== this.shown) this.fetch(file, within, wanted);
    return this.picture;
  }

  /** @param {ServerFile} file @param {number} part @param {string} wanted */
  async fetch(file, part, wanted) {
    this.shown = wanted;
    const url = addressOf(file);
    if (!this.decoders.has(url)) this.decoders.set(url, decoder(url));
    const picture = await this.decoders.get(url)?.then((frame) => frame(part)).catch(() => null) ?? null;
    if (wanted !== this.shown) return;
    this.picture = picture;
    this.c.redraw();
  }
}

/** @type {(url: string) => Promise<Decoder>} */
async function decoder(url) {
  if (/\.(mp4|webm|mov)(&|$)/i.test(url)) {
    const video = make("video", { src: url, muted: true, preload: "auto" });
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
  if (!window.ImageDecoder) return () => createImageBitmap(blob); // of a clip, the first frame
  const frames = new ImageDecoder({ data: await blob.arrayBuffer(), type: blob.type });
  await frames.tracks.ready;
  await frames.completed;
  const last = (frames.tracks.selectedTrack?.frameCount ?? 1) - 1;
  return async (part) => (await frames.decode({ frameIndex: Math.round(part * last) })).image;
}

/** @type {(source: HTMLElement, name: string) => Promise<unknown>} */
const heard = (source, name) =>
  new Promise((resolve, reject) => {
    source.addEventListener(name, resolve, { once: true });
    source.addEventListener("error", () => reject(new Error("no such video")), { once: true });
  });

/** A file of the user's, put into ComfyUI's input folder; null: none was chosen. @returns {Promise<ServerFile | null>} */
async function upload() {
  const input = make("input", { type: "file", accept: "image/*,video/*" });
  const chosen = Promise.race([heard(input, "change"), heard(input, "cancel")]);
  input.click();
  await chosen;
  const file = input.files?.[0];
  if (!file) return null;
  const body = new FormData();
  body.append("image", file);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) return null;
  const { name, subfolder, type } = await response.json();
  return { filename: name, subfolder, type };
}
