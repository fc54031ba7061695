// The time that each of our nodes took, in small letters below it.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { texts } from "./timing.js";
import { everyNode } from "./within.js";
import { wordsOf } from "./words.js";

const kept = new Set(); // ids in the job of nodes that the running or last one did not run again
let workflow; // the one that they are nodes of
const FONT = "11px sans-serif";
const BELOW_PX = 14;
const CLASS = "atlasvid-footer";
const LOOK_MS = 1000;

function color() {
  const named = getComputedStyle(document.body).getPropertyValue("--descrip-text");
  return named.trim() || "#999";
}

function wasKept(node) {
  if (!kept.size || node.graph === app.graph) return kept.has(String(node.id));
  return [...everyNode(app.graph)].some(([id, other]) => other === node && kept.has(id));
}

function textsOf(node) {
  return texts(node.atlasvidTime, wasKept(node), wordsOf(app));
}

/** On a canvas node: the longest text that is no wider than the node. */
function draw(node, context) {
  if (!node.atlasvidTime || node.flags?.collapsed || app.canvas.ds.scale < 0.5) return;
  const all = textsOf(node);
  context.save();
  context.font = FONT;
  context.textAlign = "left";
  context.fillStyle = color();
  const fits = all.find((text) => context.measureText(text).width <= node.size[0] - 8);
  context.fillText(fits ?? all.at(-1), 6, node.size[1] + BELOW_PX);
  context.restore();
}

/** On nodes that are elements of the page ("Nodes 2.0"), which draw nothing on the canvas. */
function attach() {
  if (!window.LiteGraph?.vueNodesMode || !app.graph) return;
  for (const node of (app.canvas.graph ?? app.graph).nodes) {
    const element = node.atlasvidTime && document.querySelector(`[data-node-id="${node.id}"]`);
    if (!element) continue;
    let footer = element.querySelector(`:scope > .${CLASS}`);
    if (!footer) {
      footer = Object.assign(document.createElement("div"), { className: CLASS });
      footer.style.cssText =
        `position:absolute;top:100%;left:6px;right:0;font:${FONT};color:${color()};` +
        "white-space:nowrap;overflow:hidden;text-overflow:ellipsis;pointer-events:none";
      element.append(footer);
    }
    const [text] = textsOf(node);
    if (footer.textContent !== text) footer.textContent = text;
  }
}

app.registerExtension({
  name: "AtlasVid.Footer",
  setup() {
    api.addEventListener("execution_start", () => kept.clear());
    api.addEventListener("execution_cached", ({ detail }) => {
      for (const id of detail.nodes ?? []) kept.add(String(id));
      app.graph?.setDirtyCanvas(true);
    });
    setInterval(attach, LOOK_MS); // elements come and go as the page scrolls
  },
  afterConfigureGraph() { // undo configures the same one again
    if (app.graph.id !== workflow) kept.clear();
    workflow = app.graph.id;
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("AtlasVid")) return;
    const { onExecuted, onDrawForeground } = nodeType.prototype;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const time = output?.atlasvid_time?.[0];
      if (time) this.atlasvidTime = time;
      this.setDirtyCanvas(true);
    };
    nodeType.prototype.onDrawForeground = function (context) {
      onDrawForeground?.apply(this, arguments);
      draw(this, context);
    };
  },
});
