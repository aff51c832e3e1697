// What ComfyUI's editor gives a module of ours, which ships no types of its own; and the types of what our modules share.

declare module "*/scripts/app.js" {
  export const app: any;
}

declare module "*/scripts/api.js" {
  export const api: any;
}

type Boxes = import("../web/js/boxes.js").Boxes;
type Companion = import("../web/js/companion.js").Companion;
type Surface = import("../web/js/surface.js").Surface;
type Colours = ReturnType<typeof import("../web/js/surface.js").colours>;
type Pen = CanvasRenderingContext2D;

/** What a companion's content answers with. */
interface Content {
  /** Something watched is another than was last seen, whoever set it: read it, and end a drag that is going on. */
  changed(): void;
  /** The size, the zoom or something else to show is another. */
  draw(): void;
  /** What is watched besides widgets, and compared as it is. */
  watched?(): unknown;
  /** Take a key and say whether it was of use. */
  key?(event: KeyboardEvent): boolean;
}

interface CompanionOptions {
  /** names of the widgets that are shown */
  watch: string[];
  /** least height, in the graph's pixels */
  height: number;
  /** width of a new node */
  width?: number;
  /** what a screen reader says */
  label: string;
  /** makes the content below the companion's root, when it is first seen */
  build(companion: Companion): Content;
}

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

// Motion paths.

/** where frame 0's picture lies: right, down (shares of its sides), zoom, degrees clockwise */
type Place = number[];
/** a place, and where its line is in the text */
type PathKey = { frame: number; line: number; place: Place };
/** keys by frame; none where there is a problem */
type Path = { lines: string[]; keys: PathKey[]; problem: string };

// Plans: nodes/drawing/plan.py says what they mean.

type Bar = [first: number, spacing: number, count: number, weights: number];
type Rows = { title: string; labels: string[]; rows: Bar[][]; weights: number[][]; marks: number[] };
type Chart = { title: string; values: number[]; first: number; step: number; dots: boolean };
type Plan = { title: string; frames: number; panels: (Rows | Chart)[]; error?: string };

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
type Curve = { title: string; lines: Record<string, (number | null)[]> };
type Output = { frameloom_clips?: Clip[]; frameloom_curves?: Curve[] };
type Area = { x: number; y: number; width: number; height: number };
type ServerFile = { filename: string; subfolder: string; type: string };
