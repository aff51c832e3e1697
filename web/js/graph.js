// The graph around a node: what comes over its links, and what follows it.

import { app } from "../../../scripts/app.js";

/** The graph that all subgraphs are in. */
export const rootGraph = () => app.rootGraph ?? app.graph;

/** Return the node that an input's link comes from, and the name of the output there.
 *  @param {GraphNode} node @param {(input: Input) => unknown} isInput */
export function before(node, isInput) {
  const slot = node.inputs?.findIndex((each) => each.link != null && isInput(each)) ?? -1;
  const from = slot < 0 ? undefined : node.getInputNode(slot);
  return { slot, from, output: from?.outputs[node.getInputLink(slot).origin_slot]?.name };
}

/** Go through the nodes that a node's outputs lead to, the nearest first. @param {GraphNode} node */
export function* after(node) {
  const found = new Set([node]);
  for (const each of found) {
    if (each !== node) yield each;
    each.outputs?.forEach((_, slot) => each.getOutputNodes(slot)?.forEach((next) => found.add(next)));
  }
}

/** Gather a node and those that lead to it, each behind what leads to it. @param {GraphNode} node */
export function upTo(node, found = new Set()) {
  if (found.has(node)) return found;
  found.add(node);
  node.inputs?.forEach((_, slot) => {
    const from = node.getInputNode(slot);
    if (from) upTo(from, found);
  });
  found.delete(node); // to the end
  return found.add(node);
}

/** What a node gave in the last run that this page knows. @param {GraphNode} node */
export function outputOf({ id, graph }) {
  return app.nodeOutputs?.[graph && graph !== rootGraph() ? `${graph.id}:${id}` : id]; // the first of a subgraph
}
