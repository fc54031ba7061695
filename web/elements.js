// Where nodes are elements of the page ("Nodes 2.0"), an undo makes our nodes anew and the page goes
// on showing elements of the old ones, which do nothing any more: ours are put in their place.

import { app } from "../../scripts/app.js";

const OURS = "atlasvid_"; // how types of our widgets begin
const LOOK_MS = 1000;

function putInPlace() {
  if (!window.LiteGraph?.vueNodesMode || !app.graph) return;
  for (const node of (app.canvas.graph ?? app.graph).nodes) {
    for (const { type, element } of node.widgets ?? []) {
      if (!String(type).startsWith(OURS) || !element || element.isConnected) continue;
      const shown = document.querySelector(`[data-node-id="${node.id}"] .${element.classList[0]}`);
      shown?.replaceWith(element); // none is shown of a node that is collapsed
    }
  }
}

app.registerExtension({
  name: "AtlasVid.Elements",
  setup: () => setInterval(putInPlace, LOOK_MS), // the page takes its time to show a workflow
  afterConfigureGraph: putInPlace,
});
