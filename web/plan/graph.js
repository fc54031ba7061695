// What the workflow around a VideoPlan says: sizes that come through links, and the job it plans.

const [MUTED, BYPASSED] = [2, 4];
const ENTRANCE = -10; // where links into a subgraph begin
const INPUTS = [
  "width", "height", "frames", "fps", "r_t", "proxy_height",
  "cube_t", "cube_h", "cube_w", "reach", "alignment",
];
const MODEL_FILES = ["unet_name", "model_name", "ckpt_name", "gguf_name"];
const FURTHEST = 64; // nodes walked through before giving up on a circle

export const widget = (node, name) => node?.widgets?.find((w) => w.name === name);
const value = (node, name) => widget(node, name)?.value;

/** VideoPlan's inputs by name; `hidden`: those that only the running workflow knows. */
export function inputsOf(node) {
  const inputs = {};
  const hidden = [];
  for (const name of INPUTS) {
    const ruling = ruleOf(node, name);
    if (!ruling) hidden.push(name);
    inputs[name] = ruling ? ruling.widget.value : value(node, name);
  }
  return { inputs, hidden };
}

/**
 * The widget that gives a node's input its value, and the node that holds it: its own, that of the
 * subgraph around it, or what is linked to it; undefined where only the running workflow knows.
 */
function ruleOf(node, name) {
  const own = widget(node, name);
  const input = node.inputs?.find((i) => i.widget?.name === name);
  const from = input && originOf(node.graph, input.link);
  if (!from) return own && { node, widget: own };
  const holder = from.whole ?? from.node;
  const given = from.whole
    ? widget(from.whole, from.entry)
    : holder.widgets?.find((w) => typeof w.value === typeof own?.value);
  return given?.value === undefined ? undefined : { node: holder, widget: given };
}

/** The same, where writing it sets this input and nothing else: not a widget of some other node. */
export function settable(node, name) {
  const ruling = node && ruleOf(node, name);
  const plain = ruling && (ruling.node === node || ruling.node.subgraph || isPrimitive(ruling.node));
  return plain ? ruling : undefined;
}

const isPrimitive = (node) => String(node.type).startsWith("Primitive");

/** The plan itself, or the active node of a type that uses it. */
export function userOf(plan, type) {
  return plan.type === type ? plan : targetsOf(plan, 0).find((node) => node.type === type);
}

/** Steps, files and choices of the nodes that use this plan; what is not there is left out. */
export function jobOf(plan) {
  const users = targetsOf(plan, 0);
  const one = (type) => users.find((node) => node.type === type);
  const proxy = one("AtlasVidSemanticProxyGenerator");
  const video = one("AtlasVidVideoToProxy");
  const guide = one("AtlasVidScaledRoPEAligner");
  const patch = one("AtlasVidLocalityPreservingPatch");
  const sampler = one("AtlasVidDetailJointSampler");
  const decode = sampler && targetsOf(sampler, 0).find((n) => n.type.includes("VAEDecode"));
  const toFile = decode?.type === "AtlasVidTiledVAEDecodeToVideo";
  const job = {
    proxy_steps: proxy ? value(proxy, "steps") : users.length ? 0 : undefined,
    reads_video: !!video,
    guide_dtype: value(guide, "dtype"),
    guide_store: value(guide, "store"),
    memory_budget: value(patch, "memory_budget"),
    detail_steps: value(sampler, "steps"),
    keep_steps: sampler && value(sampler, "keep_steps") && value(sampler, "sampler_name") === "euler",
    enlarges: sampler && value(sampler, "start") === "proxy" && !!sourceOf(sampler, "vae"),
    images: decode && !toFile,
    codec: toFile ? value(decode, "codec") : undefined,
    bits: toFile ? value(decode, "bits") : undefined,
    model_file: fileOf(users, "MODEL", MODEL_FILES),
    vae_file: fileOf([sampler, decode, video], "VAE", ["vae_name"]),
  };
  return Object.fromEntries(Object.entries(job).filter(([, v]) => v !== undefined && v !== null));
}

function linkOf(graph, id) {
  return graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id];
}

/** The node behind an input, seen through reroutes; undefined where nothing is connected. */
function sourceOf(node, name) {
  const input = node?.inputs?.find((i) => i.name === name || i.widget?.name === name);
  return input ? originOf(node.graph, input.link)?.node : undefined;
}

/** What a link comes from: a node, or an `entry` of the subgraph that it lies in, seen from outside. */
function originOf(graph, id) {
  for (let i = 0; i < FURTHEST; i++) {
    const link = id === null || id === undefined ? undefined : linkOf(graph, id);
    if (!link) return undefined;
    if (Number(link.origin_id) === ENTRANCE) { // a text in newer pages
      const whole = instanceOf(graph);
      const entry = whole?.inputs?.[link.origin_slot];
      if (!entry) return undefined;
      if (entry.link === null || entry.link === undefined) return { whole, entry: entry.name };
      [graph, id] = [whole.graph, entry.link];
      continue;
    }
    const node = graph.getNodeById(link.origin_id);
    if (node?.type !== "Reroute") return node ? { node } : undefined;
    id = node.inputs?.[0]?.link;
  }
  return undefined;
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

/** Active nodes that an output leads to, seen through reroutes. */
function targetsOf(node, slot) {
  const found = [];
  const open = [...(node.outputs?.[slot]?.links ?? [])];
  for (let i = 0; i < open.length && i < FURTHEST; i++) {
    const link = linkOf(node.graph, open[i]);
    const target = link && node.graph.getNodeById(link.target_id);
    if (!target || target.mode === MUTED || target.mode === BYPASSED) continue;
    if (target.type === "Reroute") open.push(...(target.outputs?.[0]?.links ?? []));
    else if (!found.includes(target)) found.push(target);
  }
  return found;
}

/** The file that a loader upstream of these nodes names, along connections of one type. */
function fileOf(nodes, type, names) {
  const open = nodes.filter(Boolean);
  for (let i = 0; i < open.length && i < FURTHEST; i++) {
    const node = open[i];
    const name = names.map((n) => value(node, n)).find((v) => typeof v === "string");
    if (name) return name;
    for (const input of node.inputs ?? []) {
      const from = input.type === type ? originOf(node.graph, input.link)?.node : undefined;
      if (from && !open.includes(from)) open.push(from);
    }
  }
  return undefined;
}
