// A bar of frames: play, the frame that is shown, and where the keys are.

const FPS = 8;

/**
 * @param {object} options
 * @param {(frame: number) => void} options.onFrame - is called with the frame that was chosen, from 0
 * @returns the bar: its element; `set` shows numbers, `stop` ends playing, `step` goes by some frames
 */
export function frameBar({ onFrame }) {
  const element = document.createElement("div");
  element.style.cssText = "display: flex; align-items: center; gap: 6px; flex: none; height: 24px";
  const play = document.createElement("button");
  play.type = "button";
  play.style.cssText =
    "width: 26px; height: 22px; padding: 0; flex: none; cursor: pointer; border: 1px solid var(--border-color);" +
    "border-radius: 4px; background: var(--comfy-input-bg); color: inherit";
  const track = document.createElement("div");
  track.style.cssText = "position: relative; flex: 1 1 0; min-width: 0; height: 22px";
  const range = document.createElement("input");
  range.type = "range";
  range.min = "0";
  range.step = "1";
  range.setAttribute("aria-label", "frame");
  range.style.cssText = "position: absolute; inset: 0; width: 100%; margin: 0; cursor: pointer";
  const ticks = document.createElement("div");
  ticks.style.cssText = "position: absolute; left: 8px; right: 8px; bottom: 0; height: 5px; pointer-events: none";
  const number = document.createElement("span");
  number.style.cssText = "flex: none; min-width: 52px; text-align: right; font-variant-numeric: tabular-nums";
  track.append(range, ticks);
  element.append(play, track, number);

  let timer = 0;
  let [frames, frame, fps, shown] = [1, 0, FPS, ""];

  function show() {
    range.max = String(frames - 1);
    range.value = String(frame);
    range.disabled = play.disabled = frames < 2;
    number.textContent = `${frame} / ${frames - 1}`; // as keys and prompts count
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? "pause" : "play");
  }

  function go(/** @type {number} */ to) {
    frame = Math.min(Math.max(to, 0), frames - 1);
    show();
    onFrame(frame);
  }

  function stop() {
    window.clearInterval(timer);
    timer = 0;
    show();
  }

  play.onclick = () => {
    if (timer) return stop();
    timer = window.setInterval(() => (element.isConnected ? go((frame + 1) % frames) : stop()), 1000 / fps);
    show();
  };
  range.oninput = () => {
    const to = Number(range.value); // stop shows the old frame
    stop();
    go(to);
  };

  range.onpointerdown = ({ pointerId, pointerType }) => pointerType === "pen" && range.setPointerCapture(pointerId);
  range.onpointermove = ({ pointerType, buttons, clientX }) => {
    if (pointerType !== "pen" || !buttons) return; // a slider follows a pen only as long as it is over the knob
    const { left, width } = range.getBoundingClientRect();
    stop();
    go(Math.round(((clientX - left) / width) * (frames - 1)));
  };

  return {
    element,
    stop,
    toggle: () => play.click(),
    get playing() {
      return timer > 0;
    },
    step: (/** @type {number} */ by) => (stop(), go(frame + by)),
    get frame() {
      return frame;
    },
    /** @param {{ frames: number, frame?: number, keys?: number[], fps?: number }} now */
    set(now) {
      ({ frames, fps = FPS } = now);
      frames = Math.max(frames, 1);
      frame = Math.min(now.frame ?? frame, frames - 1);
      const keys = now.keys ?? [];
      const others = JSON.stringify([frames, keys]);
      if (others !== shown) {
        shown = others;
        ticks.replaceChildren(...keys.map((key) => tick((100 * key) / Math.max(frames - 1, 1))));
      }
      show();
    },
  };
}

function tick(/** @type {number} */ percent) {
  const mark = document.createElement("i");
  mark.style.cssText = `position: absolute; left: ${percent}%; bottom: 0; width: 2px; height: 5px; margin-left: -1px; background: currentColor`;
  return mark;
}
