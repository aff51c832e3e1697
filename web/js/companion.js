// A companion: a second widget on a node, which shows what the widgets beside it say and lets a hand change it. It is
// saved nowhere, neither in a workflow nor in a prompt: the text beside it stays the value, and can be typed.

import { app } from "../../../scripts/app.js";

const LOOKS_PER_SECOND = 10;
const MARGIN = 10; // that the editor keeps around an element

/** @type {Set<Companion>} */
const live = new Set();
let timer = 0;

/**
 * What a companion's content answers with.
 *
 * @typedef {object} Content
 * @property {() => void} changed - a watched widget has another value than was last seen, whoever set it: read it, and
 *   end a drag that is going on
 * @property {() => void} draw - the size, the zoom or something else to show is another
 * @property {(event: KeyboardEvent) => boolean} [key] - takes a key and says whether it was of use
 * @property {() => void} [removed] - the node leaves the graph
 */

class Companion {
  /**
   * @param {any} node - node of the editor's graph
   * @param {string[]} watch - names of the widgets that are shown
   */
  constructor(node, watch) {
    this.node = node;
    this.watch = watch;
    this.root = document.createElement("div");
    this.root.tabIndex = 0;
    this.root.style.cssText =
      "box-sizing: border-box; display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%;" +
      "touch-action: none; user-select: none; font: 12px sans-serif; color: var(--input-text); outline-offset: -1px";
    /** @type {Content} */
    this.content = { changed() {}, draw() {} };
    /** @type {Map<string, any>} */
    this.seen = new Map();
    this.zoom = 0;
    this.drawing = 0;
    this.sizes = new ResizeObserver(() => this.redraw());
  }

  /** @param {string} name */
  widget(name) {
    return this.node.widgets?.find((/** @type {any} */ each) => each.name === name);
  }

  /** @param {string} name @returns {any} a widget's value */
  value(name) {
    return this.widget(name)?.value;
  }

  /** @param {string} name @returns {boolean} whether the value comes through a link, so is not known here */
  linked(name) {
    return this.node.inputs?.find((/** @type {any} */ each) => each.widget?.name === name)?.link != null;
  }

  /**
   * Set a widget's value, unless somebody else has just set it: then theirs stays, and is told.
   *
   * @param {string} name
   * @param {any} value
   * @returns {boolean} whether it was set
   */
  write(name, value) {
    if (this.look()) return false;
    const widget = this.widget(name);
    this.seen.set(name, value);
    widget.value = value;
    widget.callback?.(value);
    this.node.setDirtyCanvas?.(true, true);
    return true;
  }

  /** Make an undo step of a change that no mouse and no key made; those make their own. */
  snapshot() {
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    if (tracker?.captureCanvasState) tracker.captureCanvasState();
    else tracker?.checkState?.();
  }

  /** Stand where the companion stood of a node that an undo made anew: editors with nodes of Vue keep the old element. */
  settle() {
    if (this.root.isConnected || !this.node.graph) return;
    const name = this.root.dataset.frameloom;
    const old = document.querySelector(`[data-frameloom="${name}"][data-node="${this.node.id}"]`);
    if (old && ![...live].some((each) => each.root === old)) old.replaceWith(this.root);
  }

  /** @returns {boolean} whether a watched widget had another value than was last seen */
  look() {
    this.settle();
    const other = this.watch.filter((name) => this.value(name) !== this.seen.get(name));
    for (const name of other) this.seen.set(name, this.value(name));
    if (other.length) {
      this.content.changed();
      this.redraw();
    }
    if (this.zoom !== app.canvas?.ds.scale) {
      this.zoom = app.canvas?.ds.scale;
      this.redraw();
    }
    return other.length > 0;
  }

  redraw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.root.dataset.node = this.node.id;
      this.content.draw();
    });
  }

  remove() {
    live.delete(this);
    this.sizes.disconnect();
    cancelAnimationFrame(this.drawing);
    this.content.removed?.();
  }
}

/**
 * Put a companion onto a node, below its widgets: in another place, some versions of the editor would give the widgets
 * behind it their neighbour's value when a workflow is read.
 *
 * @param {any} node - node that was just made; call this in nodeCreated
 * @param {string} name - name of the widget
 * @param {object} options
 * @param {string[]} options.watch - names of the widgets that are shown
 * @param {number} options.height - least height, in the graph's pixels
 * @param {number} [options.width] - width of a new node
 * @param {string} options.label - what a screen reader says
 * @param {(companion: Companion) => Content} options.build - makes the content below the companion's root
 * @returns {Companion}
 */
export function companion(node, name, { watch, height, width = 340, label, build }) {
  const made = new Companion(node, watch);
  const { root } = made;
  root.dataset.frameloom = name;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  root.style.minHeight = `${height - 2 * MARGIN}px`; // nodes of Vue ask the element alone
  forward(root);
  // behind a finger's drag comes no mouseup
  root.addEventListener("lostpointercapture", ({ pointerType }) => pointerType === "touch" && made.snapshot());
  root.addEventListener("keydown", (event) => {
    const typed = event.target instanceof HTMLInputElement && event.target.type !== "range";
    const used = !typed && made.content.key?.(event);
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
  made.content = build(made);

  chain(node, "onConfigure", () => made.look());
  chain(node, "onRemoved", () => made.remove());
  chain(node, "onAdded", () => begin(made));
  begin(made);
  const [least, tall] = node.computeSize();
  node.setSize([Math.max(width, least), tall]);
  return made;
}

/** @param {Companion} made */
function begin(made) {
  live.add(made);
  made.sizes.observe(made.root);
  timer ||= window.setInterval(() => {
    for (const each of live) each.look();
    if (!live.size) timer = window.clearInterval(timer) ?? 0;
  }, 1000 / LOOKS_PER_SECOND);
  made.look();
}

/**
 * Call a function after the one that a node has under a name.
 *
 * @param {any} node
 * @param {string} name
 * @param {(...given: any[]) => void} then
 */
export function chain(node, name, then) {
  const before = node[name];
  node[name] = function (/** @type {any[]} */ ...given) {
    const answer = before?.apply(this, given);
    then(...given);
    return answer;
  };
}

/**
 * Let the graph have what it would miss below a widget: its wheel and its middle button.
 *
 * A pointerdown is never prevented: the editor takes its undo steps from the mouse events that follow one.
 *
 * @param {HTMLElement} root
 */
function forward(root) {
  const isClassic = () => !(/** @type {any} */ (window).LiteGraph?.vueNodesMode);
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
