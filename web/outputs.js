// Outputs of our nodes come back when a workflow is opened: from the page's memory, else from the
// server's history of the same workflow.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const JOBS = 24; // of the history, the latest ones
const OURS = "AtlasVid";

/** Node id -> output, of the latest job of the workflow `id` that ran each node. */
export function latestOutputs(history, id) {
  const jobs = Object.values(history).sort((a, b) => b.prompt[0] - a.prompt[0]);
  const found = {};
  for (const job of jobs) {
    if (job.prompt[3]?.extra_pnginfo?.workflow?.id !== id) continue;
    for (const [node, output] of Object.entries(job.outputs ?? {})) found[node] ??= output;
  }
  return found;
}

async function restore() {
  const nodes = app.graph.nodes.filter((node) => node.type?.startsWith(OURS) && node.onExecuted);
  if (!nodes.length) return;
  const graph = app.graph;
  const missing = nodes.filter((node) => !app.nodeOutputs?.[node.id]);
  let kept = {};
  if (missing.length && graph.id) {
    const answer = await api.fetchApi(`/history?max_items=${JOBS}`);
    if (answer.ok) kept = latestOutputs(await answer.json(), graph.id);
  }
  if (app.graph !== graph) return; // another workflow was opened meanwhile
  for (const node of nodes) {
    const output = app.nodeOutputs?.[node.id] ?? kept[node.id];
    if (output && graph.getNodeById(node.id) === node) node.onExecuted(output);
  }
}

app.registerExtension({
  name: "AtlasVid.Outputs",
  afterConfigureGraph() {
    restore().catch((error) => console.warn("AtlasVid: no outputs of earlier jobs:", error));
  },
});
