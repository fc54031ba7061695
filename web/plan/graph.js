// What the workflow around a VideoPlan says: sizes that come through links, and the job it plans.

import { originOf, sourceOf, usersOf } from "./links.js";

const INPUTS = [
  "width", "height", "frames", "fps", "r_t", "proxy_height",
  "cube_t", "cube_h", "cube_w", "reach", "alignment",
];
const MODEL_FILES = ["unet_name", "model_name", "ckpt_name", "gguf_name"];
const FURTHEST = 64; // nodes walked through before giving up on a circle

const widget = (node, name) => node?.widgets?.find((w) => w.name === name);
const isPrimitive = (node) => String(node.type).startsWith("Primitive");

/** VideoPlan's inputs by name; `hidden`: those that only the running workflow knows. */
export function inputsOf(node) {
  const { read, hidden } = reader();
  const inputs = Object.fromEntries(INPUTS.map((name) => [name, read(node, name)]));
  return { inputs, hidden: hidden.map(({ name }) => ({ name })) };
}

/** Reads inputs as the next run will. Of those in `hidden`, nodes' types and names, only the running
 * workflow knows the value: their own widget's is read. */
function reader() {
  const hidden = [];
  const read = (node, name) => {
    const own = widget(node, name);
    const ruling = own && ruleOf(node, name);
    if (own && !ruling) hidden.push({ node: node.type.replace(/^AtlasVid/, ""), name });
    return (ruling?.widget ?? own)?.value;
  };
  return { read, hidden };
}

/**
 * The widget that gives a node's input its value, and the node that holds it: its own, that of the
 * subgraph around it, or of a primitive that is linked to it; undefined where only the running
 * workflow knows, as of a node that computes it.
 */
export function ruleOf(node, name) {
  const own = widget(node, name);
  const input = node?.inputs?.find((i) => i.widget?.name === name);
  const from = input && originOf(node.graph, input.link);
  if (!from) return own && { node, widget: own };
  if (from.whole) return ruling(from.whole, widget(from.whole, from.entry));
  if (!isPrimitive(from.node)) return undefined;
  return ruling(from.node, from.node.widgets?.find((w) => typeof w.value === typeof own?.value));
}

const ruling = (node, given) => (given?.value === undefined ? undefined : { node, widget: given });

/** The plan itself, or the active node of a type that uses it. */
export function userOf(plan, type) {
  return plan.type === type ? plan : usersOf(plan).find((node) => node.type === type);
}

/** Steps, files and choices of the nodes that use this plan; what is not there is left out.
 * `hidden` as of `inputsOf`, with the nodes' names. */
export function jobOf(plan) {
  const users = usersOf(plan);
  const one = (type) => users.find((node) => node.type === type);
  const video = one("AtlasVidVideoToProxy");
  const guide = one("AtlasVidScaledRoPEAligner");
  const patch = one("AtlasVidLocalityPreservingPatch");
  const sampler = one("AtlasVidDetailJointSampler");
  const decode = sampler && usersOf(sampler).find((n) => n.type.includes("VAEDecode"));
  const toFile = decode?.type === "AtlasVidTiledVAEDecodeToVideo";
  const model = loaderOf(users, "MODEL", MODEL_FILES);
  const vae = loaderOf([sampler, decode, video], "VAE", ["vae_name"]);
  const { read, hidden } = reader();
  const job = {
    ...stage1Of(users, read),
    reads_video: !!video,
    guide_dtype: read(guide, "dtype"),
    guide_store: read(guide, "store"),
    memory_budget: read(patch, "memory_budget"),
    detail_steps: read(sampler, "steps"),
    keep_steps: sampler && read(sampler, "keep_steps") && read(sampler, "sampler_name") === "euler",
    enlarges: sampler && read(sampler, "start") === "proxy" && !!sourceOf(sampler, "vae"),
    images: decode && !toFile,
    codec: toFile ? read(decode, "codec") : undefined,
    bits: toFile ? read(decode, "bits") : undefined,
    model_file: read(model?.node, model?.name),
    weight_dtype: read(model?.node, "weight_dtype"),
    vae_file: read(vae?.node, vae?.name),
  };
  const known = Object.entries(job).filter(([, v]) => v !== undefined && v !== null);
  return { job: Object.fromEntries(known), hidden };
}

/** Steps: 0 where the proxy comes from elsewhere, undefined where its maker is not seen. */
function stage1Of(users, read) {
  const one = (type) => users.find((node) => node.type === type);
  const stage1 = "AtlasVidSemanticProxyGenerator";
  const source = sourceOf(one("AtlasVidScaledRoPEAligner"), "proxy")
    ?? sourceOf(one("AtlasVidDetailJointSampler"), "proxy");
  const maker = one(stage1) ?? (source?.type === stage1 ? source : undefined);
  if (maker) return { proxy_steps: read(maker, "steps"), stage1_lora: hasLora(maker) };
  const elsewhere = one("AtlasVidVideoToProxy") ?? (source && !source.isVirtualNode);
  return { proxy_steps: elsewhere ? 0 : undefined };
}

/** Whether its MODEL has a LoRA: undefined where none is seen, and nor is the model's loader. */
function hasLora(maker) {
  const namesOf = (node) => [node.type, ...(node.widgets ?? []).map((w) => w.name)];
  const loads = (node) => namesOf(node).some((name) => /lora/i.test(name));
  if ([...upstream([maker], "MODEL")].some(loads)) return true;
  return loaderOf([maker], "MODEL", MODEL_FILES) && false;
}

/** The loader upstream of these nodes, along connections of one type, and its widget of the file. */
function loaderOf(nodes, type, names) {
  for (const node of upstream(nodes, type)) {
    const name = names.find((n) => typeof widget(node, n)?.value === "string");
    if (name) return { node, name };
  }
  return undefined;
}

/** These nodes, and the active ones that they get something of a type from, nearest first. */
function* upstream(nodes, type) {
  const open = nodes.filter(Boolean);
  for (let i = 0; i < open.length && i < FURTHEST; i++) {
    const node = open[i];
    yield node;
    for (const input of node.inputs ?? []) {
      const from = input.type === type ? originOf(node.graph, input.link)?.node : undefined;
      if (from && !open.includes(from)) open.push(from);
    }
  }
}
