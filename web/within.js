// Nodes of a graph and of the subgraphs in it.

/** Pairs of a node's id in jobs ("7", inside subgraphs "7:3") and the node. */
export function* everyNode(graph, before = "") {
  for (const node of graph?.nodes ?? []) {
    yield [`${before}${node.id}`, node];
    if (node.subgraph) yield* everyNode(node.subgraph, `${before}${node.id}:`);
  }
}
