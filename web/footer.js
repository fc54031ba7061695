// The time that each of our nodes took, in small letters below it.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { texts } from "./timing.js";
import { wordsOf } from "./words.js";

const kept = new Set(); // ids of nodes that the running or last job did not run again
const FONT = "11px sans-serif";
const BELOW_PX = 14;

function color(name, instead) {
  return getComputedStyle(document.body).getPropertyValue(name).trim() || instead;
}

function draw(node, context) {
  const time = node.atlasvidTime;
  if (!time || node.flags?.collapsed || app.canvas.ds.scale < 0.5) return;
  const all = texts(time, kept.has(String(node.id)), wordsOf(app));
  context.save();
  context.font = FONT;
  context.textAlign = "left";
  context.fillStyle = color("--descrip-text", "#999");
  const fits = all.find((text) => context.measureText(text).width <= node.size[0] - 8);
  context.fillText(fits ?? all.at(-1), 6, node.size[1] + BELOW_PX);
  context.restore();
}

app.registerExtension({
  name: "AtlasVid.Footer",
  setup() {
    api.addEventListener("execution_start", () => kept.clear());
    api.addEventListener("execution_cached", ({ detail }) => {
      for (const id of detail.nodes ?? []) kept.add(String(id));
      app.graph?.setDirtyCanvas(true);
    });
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
