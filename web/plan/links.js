// Where links lead, seen through reroutes, bypassed nodes and the walls of subgraphs.

const [MUTED, BYPASSED] = [2, 4];
const ENTRANCE = -10; // where links into a subgraph begin
const FURTHEST = 64; // links followed before giving up on a circle

function linkOf(graph, id) {
  if (id === null || id === undefined) return undefined;
  return graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id];
}

/**
 * What a link comes from: a `node` and its output `slot`; or, where it enters a subgraph at which
 * nothing is connected, that `whole` and the name of its `entry`; undefined where nothing is.
 */
export function originOf(graph, id) {
  for (let i = 0; i < FURTHEST; i++) {
    const link = linkOf(graph, id);
    if (!link) return undefined;
    const slot = link.origin_slot;
    if (Number(link.origin_id) === ENTRANCE) { // a text in newer pages
      const whole = instanceOf(graph);
      const entry = whole?.inputs?.[slot];
      if (!entry) return undefined;
      if (entry.link === null || entry.link === undefined) return { whole, entry: entry.name };
      [graph, id] = [whole.graph, entry.link];
      continue;
    }
    const node = graph.getNodeById(link.origin_id);
    if (!node) return undefined;
    const before = passedOn(node, slot);
    if (!before) return { node, slot };
    [graph, id] = before;
  }
  return undefined;
}

/** Of a node that hands on what it is given: the graph and id of the link behind its output. */
function passedOn(node, slot) {
  if (node.type === "Reroute") return [node.graph, node.inputs?.[0]?.link];
  if (node.mode === BYPASSED) {
    const type = node.outputs?.[slot]?.type;
    return [node.graph, node.inputs?.find((input) => input.type === type)?.link];
  }
  return node.subgraph && [node.subgraph, node.subgraph.outputs?.[slot]?.linkIds?.[0]];
}

/** The node behind an input; undefined where nothing is connected. */
export function sourceOf(node, name) {
  const input = node?.inputs?.find((i) => i.name === name || i.widget?.name === name);
  return input ? originOf(node.graph, input.link)?.node : undefined;
}

/** The node that stands for a subgraph, in whichever graph it lies. */
function instanceOf(subgraph) {
  const open = [subgraph.rootGraph];
  for (let i = 0; i < open.length && i < FURTHEST; i++) {
    for (const node of open[i]?.nodes ?? []) {
      if (node.subgraph === subgraph) return node;
      if (node.subgraph) open.push(node.subgraph);
    }
  }
  return undefined;
}

/** Active nodes of the whole workflow that an output leads to. */
export function usersOf(source, slot = 0) {
  const uses = (node) => (node.inputs ?? []).some((input) => {
    const from = originOf(node.graph, input.link);
    return from?.node === source && from.slot === slot;
  });
  return [...activeNodes(source.graph?.rootGraph)].filter(uses);
}

function* activeNodes(graph) {
  for (const node of graph?.nodes ?? []) {
    if (node.mode === MUTED || node.mode === BYPASSED) continue;
    if (node.subgraph) yield* activeNodes(node.subgraph);
    else yield node;
  }
}
