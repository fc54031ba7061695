// Outputs of our nodes come back when a workflow is opened: from the page's memory, else from the
// server's history of the same workflow.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { everyNode } from "./within.js";

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

/** What the page itself kept of a node; inside a subgraph it goes by that graph and the node. */
function remembered(node) {
  const inside = node.graph !== app.graph;
  return app.nodeOutputs?.[inside ? `${node.graph?.id}:${node.id}` : node.id];
}

/** Outputs of all our nodes; `again`: of those alone that still have none. */
async function restore(again) {
  const graph = app.graph;
  let nodes = [...everyNode(graph)]
    .filter(([, node]) => node.type?.startsWith(OURS) && node.onExecuted);
  const missing = nodes.filter(([, node]) => !remembered(node));
  if (again) nodes = missing.filter(([, node]) => !node.atlasvidTime);
  let kept = {};
  if (missing.length && nodes.length && graph.id) {
    const answer = await api.fetchApi(`/history?max_items=${JOBS}`);
    if (answer.ok) kept = latestOutputs(await answer.json(), graph.id);
  }
  if (app.graph !== graph) return; // another workflow was opened meanwhile
  for (const [id, node] of nodes) {
    const output = remembered(node) ?? kept[id];
    if (output && node.graph?.getNodeById(node.id) === node) node.onExecuted(output);
  }
}

function tryTo(again) {
  restore(again).catch((error) => console.warn("AtlasVid: no outputs of earlier jobs:", error));
}

app.registerExtension({
  name: "AtlasVid.Outputs",
  setup() { // a page that came in the middle of a job did not hear of its first nodes
    api.addEventListener("status", ({ detail }) => {
      if (detail?.exec_info?.queue_remaining === 0) tryTo(true);
    });
  },
  afterConfigureGraph: () => tryTo(false),
});
