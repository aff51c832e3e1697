// A companion: a second widget on a node, which shows what the widgets beside it say and lets a hand change it. It is
// saved nowhere, neither in a workflow nor in a prompt: the text beside it stays the value, and can be typed.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const LOOKS_PER_SECOND = 10;
const MARGIN = 10; // that the editor keeps around an element
const ROOT =
  "box-sizing: border-box; display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; padding: 3px;" +
  "touch-action: none; user-select: none; font: 12px sans-serif; color: var(--input-text); outline-offset: -1px;" +
  "--wrong: color-mix(in srgb, red 40%, var(--input-text));";

/** Those of nodes in a graph, by their elements. @type {Map<Element, Companion>} */
const live = new Map();
let timer = 0;

const sizes = new ResizeObserver((seen) => seen.forEach(({ target }) => live.get(target)?.redraw()));
const sights = new IntersectionObserver((seen) =>
  seen.forEach(({ target, isIntersecting }) => live.get(target)?.show(isIntersecting)),
);
api.addEventListener("reconnected", () => live.forEach((each) => (each.seen = [])));
api.addEventListener("executed", () => live.forEach((each) => each.redraw())); // what ran may be shown

export class Companion {
  /** @type {Content | undefined} */
  content; // made when first seen: a graph opens faster
  isSeen = false;
  isLoaded = false; // from a file, or by an undo
  /** @type {unknown[]} */
  seen = [];
  zoom = 0;
  drawing = 0;

  /**
   * Put a companion onto a node that was just made, below its widgets: in another place, some versions of the editor would
   * give the widgets behind it their neighbour's value when a workflow is read.
   *
   * @param {GraphNode} node @param {string} name @param {number} height @param {CompanionOptions} options
   */
  constructor(node, name, height, options) {
    const root = document.createElement("div");
    this.node = node;
    this.root = root;
    this.options = options;
    root.tabIndex = 0;
    root.dataset.frameloom = name;
    root.setAttribute("role", "group");
    root.ariaLabel = options.label;
    root.style.cssText = `${ROOT} min-height: ${height - 2 * MARGIN}px`; // nodes of Vue ask the element alone
    forward(root);
    // behind a finger's drag comes no mouseup
    root.addEventListener("lostpointercapture", ({ pointerType }) => pointerType === "touch" && this.step(() => {}));
    root.addEventListener("keydown", (event) => {
      const typed = event.target instanceof HTMLInputElement && event.target.type !== "range";
      const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
      const used = !typed && isPlain && this.content?.key?.(event);
      if (used) event.preventDefault();
      if (used || typed) event.stopPropagation(); // else the editor would delete the node, or move it
    });

    // A type that the editor has a widget of its own for would show that one in its place.
    const widget = node.addDOMWidget(name, `FRAMELOOM_${name.toUpperCase()}`, root, {
      serialize: false, // in a prompt
      hideOnZoom: false, // else a grey rectangle below some zoom
      selectOn: ["pointerdown"], // later, the raised node would be an undo step of its own
      getMinHeight: () => height,
      getValue: () => "",
      setValue: () => {},
    });
    widget.serialize = false; // in a workflow

    chain(node, "onConfigure", () => {
      this.isLoaded = true;
      this.look();
    });
    chain(node, "onRemoved", () => this.remove());
    chain(node, "onAdded", () => this.begin());
    this.begin();
    const [least, tall] = node.computeSize();
    node.setSize([Math.max(options.width ?? 340, least), tall]);
  }

  /** @param {string} name */
  widget(name) {
    return this.node.widgets.find((each) => each.name === name);
  }

  /** @param {string} name */
  value(name) {
    return this.widget(name)?.value;
  }

  /** Whether a widget's value comes through a link, so is not known here. @param {string} name */
  linked(name) {
    return this.node.inputs?.find((each) => each.widget?.name === name)?.link != null;
  }

  /** Set a widget's value, unless somebody else has just set it: then theirs stays, and is told. Say whether it was set.
   *  @type {(name: string, value: string) => boolean} */
  write(name, value) {
    const widget = this.widget(name);
    if (!widget || this.look()) return false;
    widget.value = value;
    this.seen = this.watched();
    widget.callback?.(value);
    this.node.setDirtyCanvas(true, true);
    return true;
  }

  /** Do what no mouse and no key does by itself, as one step of undo; those make their own. @param {() => void} change */
  step(change) {
    change();
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
  }

  /** Stand where the companion stood of a node that an undo made anew: editors with nodes of Vue keep the old element. */
  settle() {
    if (this.root.isConnected || !this.node.graph) return;
    const name = this.root.dataset.frameloom;
    const old = document.querySelector(`[data-frameloom="${name}"][data-node="${this.node.id}"]`);
    if (old && !live.has(old)) old.replaceWith(this.root);
  }

  /** It came into sight, or went. @param {boolean} isSeen */
  show(isSeen) {
    this.isSeen = isSeen;
    this.content ??= isSeen ? this.options.build(this) : undefined;
    this.look();
    this.redraw();
  }

  watched() {
    return [...this.options.watch.map((name) => this.value(name)), this.content?.watched?.()];
  }

  /** @returns {boolean} whether something watched was another than was last seen */
  look() {
    this.settle();
    this.root.dataset.node = String(this.node.id);
    if (!this.isSeen) return false;
    const now = this.watched();
    const isOther = !this.seen.length || now.some((value, place) => value !== this.seen[place]);
    this.seen = now;
    if (isOther) this.content?.changed();
    if (isOther || this.zoom !== app.canvas.ds.scale) this.redraw();
    this.zoom = app.canvas.ds.scale;
    return isOther;
  }

  redraw() {
    if (!this.isSeen) return;
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.content?.draw();
    });
  }

  begin() {
    live.set(this.root, this);
    sizes.observe(this.root);
    sights.observe(this.root);
    timer ||= setInterval(() => {
      for (const each of live.values()) each.look();
      if (!live.size) timer = clearInterval(timer) ?? 0;
    }, 1000 / LOOKS_PER_SECOND);
  }

  remove() {
    live.delete(this.root);
    sizes.unobserve(this.root);
    sights.unobserve(this.root);
    cancelAnimationFrame(this.drawing);
    this.drawing = 0;
    this.isSeen = false;
  }
}

/** Give nodes a companion; `heights`: least ones, by the node's class.
 *  @type {(name: string, heights: Record<string, number>, options: CompanionOptions) => void} */
export function companion(name, heights, options) {
  app.registerExtension({
    name: `Frameloom.${name}`,
    nodeCreated(node) {
      const height = heights[node.comfyClass];
      if (height) new Companion(node, name, height, options);
    },
  });
}

/** Call a function after the one that a node has under a name.
 *  @type {(node: Record<string, any>, name: string, then: () => void) => void} */
function chain(node, name, then) {
  const before = node[name];
  node[name] = function () {
    const answer = before?.apply(this, arguments);
    then();
    return answer;
  };
}

/** Where a node is among all workflows that are open: undo and a change of tab make it anew. @param {GraphNode} node */
export function placeOf(node) {
  return `${app.extensionManager?.workflow?.activeWorkflow?.path} ${node.id}`;
}

/**
 * Let the graph have what it would miss below a widget: its wheel and its middle button.
 *
 * A pointerdown is never prevented: the editor takes its undo steps from the mouse events that follow one.
 *
 * @param {HTMLElement} root
 */
function forward(root) {
  const isClassic = () => !window.LiteGraph?.vueNodesMode;
  root.addEventListener("wheel", (event) => {
    if (!isClassic()) return; // there the graph hears it
    event.preventDefault();
    app.canvas.canvas.dispatchEvent(new WheelEvent("wheel", event));
  });
  root.addEventListener("pointerdown", (event) => {
    if (event.button === 0) event.stopPropagation();
    if (event.button !== 1 || !isClassic()) return;
    root.setPointerCapture(event.pointerId);
    const pan = (/** @type {PointerEvent} */ moved) => {
      const { ds } = app.canvas;
      ds.offset[0] += moved.movementX / ds.scale;
      ds.offset[1] += moved.movementY / ds.scale;
      app.canvas.setDirty(true, true);
    };
    root.addEventListener("pointermove", pan);
    root.addEventListener("lostpointercapture", () => root.removeEventListener("pointermove", pan), { once: true });
  });
}
