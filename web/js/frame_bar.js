// A bar of frames: play, the frame that is shown, and where the keys are.

import { ROW, button, make } from "./controls.js";
import { clamp } from "./storyboard.js";

const FPS = 8;
/** @type {Record<string, number>} */
const WAYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** Return how many frames a key goes on, from the first to the last; 0: it is another key. @param {string} key */
export const wayOf = (key) => WAYS[key] ?? 0;

/** Make a bar; `onFrame` hears of the frame that was chosen, from 0. @type {(onFrame: (frame: number) => void) => FrameBar} */
export function frameBar(onFrame) {
  const play = button("", "play", toggle);
  play.style.width = "26px";
  const range = make("input", { type: "range", min: "0", step: "1", ariaLabel: "frame", oninput: () => jump(range.valueAsNumber) },
    "position: absolute; inset: 0; width: 100%; margin: 0; cursor: pointer");
  const ticks = make("div", {}, "position: absolute; left: 8px; right: 8px; bottom: 0; height: 5px; pointer-events: none");
  const track = make("div", {}, "position: relative; flex: 1 1 0; min-width: 0; height: 22px", range, ticks);
  const number = make("span", {}, "flex: none; min-width: 52px; text-align: right; font-variant-numeric: tabular-nums");
  const element = make("div", {}, `${ROW} height: 24px`, play, track, number);

  let timer = 0;
  let [frames, frame, fps, ticked] = [1, 0, FPS, ""];

  function show() {
    range.max = String(frames - 1);
    range.value = String(frame);
    range.disabled = play.disabled = frames < 2;
    number.textContent = `${frame} / ${frames - 1}`; // as keys and prompts count
    play.textContent = timer ? "❚❚" : "▶";
    play.ariaLabel = play.title = timer ? "pause" : "play";
  }

  /** @param {number} to */
  function go(to) {
    frame = clamp(to, 0, frames - 1);
    show();
    onFrame(frame);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    show();
  }

  function toggle() {
    if (timer) return stop();
    timer = setInterval(() => (element.isConnected ? go((frame + 1) % frames) : stop()), 1000 / fps);
    show();
  }

  /** @param {number} to */
  function jump(to) {
    stop();
    go(to);
  }

  range.onpointerdown = ({ pointerId, pointerType }) => {
    if (pointerType === "pen") range.setPointerCapture(pointerId); // to return false would keep a mouse from the slider
  };
  range.onpointermove = ({ pointerType, buttons, clientX }) => {
    if (pointerType !== "pen" || !buttons) return; // a slider follows a pen only as long as it is over the knob
    const { left, width } = range.getBoundingClientRect();
    jump(Math.round(((clientX - left) / width) * (frames - 1)));
  };

  return {
    element,
    stop,
    toggle: () => play.click(),
    get playing() {
      return timer > 0;
    },
    step: (by) => jump(frame + by),
    get frame() {
      return frame;
    },
    set(now) {
      ({ frames, fps = FPS } = now);
      frames = Math.max(frames, 1);
      frame = clamp(now.frame ?? frame, 0, frames - 1);
      const styles = (now.keys ?? []).map((key) => `position: absolute; left: ${(100 * key) / Math.max(frames - 1, 1)}%;` +
        "bottom: 0; width: 2px; height: 5px; margin-left: -1px; background: currentColor");
      if (styles.join() !== ticked) ticks.replaceChildren(...styles.map((style) => make("i", {}, style)));
      ticked = styles.join();
      show();
    },
  };
}
