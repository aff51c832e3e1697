// The graph around a node: what comes over its links, and what follows it.

/** Return the node that an input's link comes from, and the name of the output there. */
export function before(node, isInput) {
  const slot = node.inputs?.findIndex((each) => each.link != null && isInput(each)) ?? -1;
  const from = slot < 0 ? undefined : node.getInputNode(slot);
  return { slot, from, output: from?.outputs[node.getInputLink(slot)?.origin_slot]?.name };
}

/** Go through the nodes that a node's outputs lead to, the nearest first. */
export function* after(node) {
  const found = new Set([node]);
  for (const each of found) {
    if (each !== node) yield each;
    each.outputs?.forEach((_, slot) => each.getOutputNodes(slot)?.forEach((next) => found.add(next)));
  }
}

/** What a node gave in the last run that this page knows. */
export function outputOf(app, node) {
  const isInside = node.graph && node.graph !== (app.rootGraph ?? app.graph); // of a subgraph
  return app.nodeOutputs?.[isInside ? `${node.graph.id}:${node.id}` : node.id];
}
