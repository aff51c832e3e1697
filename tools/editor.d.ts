// What ComfyUI's editor gives a module of ours, which ships no types of its own, as far as we use it; and the types of
// what our modules share.

declare module "*/scripts/app.js" {
  export const app: App;
}

declare module "*/scripts/api.js" {
  export const api: {
    addEventListener(event: string, then: () => void): void;
    apiURL(route: string): string;
    fetchApi(route: string, request?: RequestInit): Promise<Response>;
  };
}

interface Window {
  LiteGraph?: { vueNodesMode?: boolean };
}

interface App {
  graph: Graph;
  /** the graph that all subgraphs are in; older editors have none */
  rootGraph?: Graph;
  canvas: {
    canvas: HTMLCanvasElement;
    ds: { scale: number; offset: Point };
    setDirty(foreground: boolean, background: boolean): void;
  };
  extensionManager: any;
  /** by a node's number */
  nodeOutputs?: Record<string, Output>;
  loadGraphData(graph: object, clean: boolean, restoreView: boolean, name: string): Promise<void>;
  registerExtension(extension: {
    name: string;
    nodeCreated?(node: GraphNode): void;
    commands?: { id: string; label: string; icon: string; function(): void }[];
    menuCommands?: { path: string[]; commands: string[] }[];
  }): void;
}

interface Graph {
  id: string;
  serialize(): object;
}

interface GraphNode {
  id: number;
  comfyClass: string;
  graph: Graph | null;
  widgets: Widget[];
  inputs?: Input[];
  outputs: { name: string }[];
  /** 0: it runs as any; others: it is muted, or bypassed */
  mode: number;
  properties: Record<string, any>;
  getInputNode(slot: number): GraphNode | undefined;
  getInputLink(slot: number): { origin_slot: number };
  getOutputNodes(slot: number): GraphNode[] | null;
  addDOMWidget(name: string, type: string, element: HTMLElement, options: object): Widget;
  computeSize(): Point;
  setSize(size: Point): void;
  setDirtyCanvas(foreground: boolean, background: boolean): void;
}

interface Input {
  name: string;
  type: string;
  link: number | null;
  widget?: { name: string };
}

interface Widget {
  name: string;
  value: any;
  serialize?: boolean;
  callback?(value: unknown): void;
}

type Boxes = import("../web/js/boxes.js").Boxes;
type Companion = import("../web/js/companion.js").Companion;
type Surface = import("../web/js/surface.js").Surface;
type Pen = CanvasRenderingContext2D;

/** Take a key and say whether it was of use. */
type TakeKey = (event: KeyboardEvent) => boolean;

/** What a companion's content answers with. */
interface Content {
  /** Something watched is another than was last seen, whoever set it: read it, and end a drag that is going on. */
  changed(): void;
  /** The size, the zoom or something else to show is another. */
  draw(): void;
  /** What is watched besides widgets, and compared as it is. */
  watched?(): unknown;
  key?: TakeKey;
}

interface CompanionOptions {
  /** names of the widgets that are shown */
  watch: string[];
  /** width of a new node */
  width?: number;
  /** what a screen reader says */
  label: string;
  /** makes the content below the companion's root, when it is first seen */
  build(companion: Companion): Content;
}

/** Makers of what people type into and press; `then` hears of it. */
interface Fields {
  field(given: Partial<HTMLInputElement>, style: string, then: (field: HTMLInputElement) => unknown): HTMLInputElement;
  text(title: string, then: (text: string) => unknown): HTMLInputElement;
  number(title: string, range: Partial<HTMLInputElement>, then: (value: number) => unknown): HTMLInputElement;
  button(text: string, title: string, then: () => void): HTMLButtonElement;
}

/** A bar of frames on the page. */
interface FrameBar {
  element: HTMLElement;
  readonly frame: number;
  readonly playing: boolean;
  /** Show numbers; without a frame the one that was shown, as far as the clip reaches. */
  set(now: { frames: number; frame?: number; keys?: number[]; fps?: number }): void;
  /** End playing. */
  stop(): void;
  toggle(): void;
  /** Go by some frames. */
  step(by: number): void;
}
/** What the server made of a workflow. */
type Conversion = { error?: string; verdict: string; report: { verdict: string; text: string }[]; graph: object };

// Storyboards: the format is models/storyboard/scenes.py's.

/** left, top, right, bottom, 0..1 of the picture */
type Box = [number, number, number, number];
type Point = [number, number];
/** no box: absent from this frame on */
type Key = { f: number; box: Box | null };
type Entity = {
  id: string;
  text: string;
  image?: string | null;
  track: Key[];
  hold: boolean;
  keypoints?: { f: number; points: Record<string, number[]> }[] | null;
};
type Scene = { id: number; prompt: string; background: string; frames: number; entities: Entity[] };
type Storyboard = {
  version: number;
  fps: number;
  size: Point;
  scenes: Scene[];
  groups: Record<string, number[]>;
  provenance?: object | null;
};
/** What the server says of a storyboard's text. */
type Reading = { storyboard?: Storyboard; format?: string; error?: string; line?: number };
/** A thing under a hand. id: "" for a new one; now: its box so far; far: it was moved further than a hand slips */
type Held = { id: string; handle: string; from: Point; box: Box | null; now: Box | null; far: boolean };

/** What is shown of a storyboard: number of the scene, frame, id of the chosen thing or "" */
type View = { place: number; frame: number; thing: string };
/** Gives the picture at a part of a clip, 0..1. */
type Decoder = (part: number) => Promise<CanvasImageSource>;

// Motion paths.

/** where frame 0's picture lies: right, down (shares of its sides), zoom, degrees clockwise */
type Place = number[];
/** from the middle of what is seen to the right and down, in pixels of the picture */
type Spot = number[];
/** a place, and where its line is in the text */
type PathKey = { frame: number; line: number; place: Place };
/** The picture under a hand. start: its place when it was taken hold of; now: its place so far */
type Pull = { grip: string; start: Place; now: Place; from: number[] };
/** keys by frame; none where there is a problem */
type Path = { lines: string[]; keys: PathKey[]; problem: string };

// Plans: nodes/drawing/plan.py says what they mean.

type Bar = [first: number, spacing: number, count: number, weights: number];
type Rows = { title: string; labels: string[]; rows: Bar[][]; weights: number[][]; marks: number[] };
type Chart = { title: string; values: number[]; first: number; step: number; dots: boolean };
type Plan = { title: string; frames: number; unit: string; panels: (Rows | Chart)[]; error?: string };

// What a run gives: clips, as host/comfyui/clips.py describes them, and lines of numbers by frame.

type Clip = {
  title: string;
  fps: number;
  frames: number;
  step: number;
  size: number[];
  subfolder: string;
  sheets: string[];
  problem?: string;
  width: number;
  height: number;
  cell: number[];
  columns: number;
  rows: number;
};
type Sheet = HTMLImageElement | "loading" | "gone";
type Curve = { title: string; lines: Record<string, (number | null)[]> };
type Output = {
  frameloom_clips?: Clip[];
  frameloom_curves?: Curve[];
  frameloom_storyboard?: string[];
  images?: ServerFile[];
  animated?: boolean[];
};
type Area = { x: number; y: number; width: number; height: number };
type ServerFile = { filename: string; subfolder: string; type: string };
/** A run in the server's history: number, id, nodes, what the editor sent along, ... */
type Run = {
  prompt: [number, string, Record<string, { class_type: string }>, { extra_pnginfo?: { workflow?: { id: string } } }?];
  outputs?: Record<string, Output>;
};
