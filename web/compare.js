// CompareVideos: its player, on the canvas.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { Player } from "./compare/player.js";
import { wordsOf } from "./words.js";

const SIZE = [560, 480];
const PLAYER_PX = 240; // no less

function style() {
  const href = new URL("./compare/style.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
}

const urlOf = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

// Nodes that are elements of the page ("Nodes 2.0") let a widget be as high as it likes.
const isFree = () => Boolean(window.LiteGraph?.vueNodesMode);

function addPlayer(node) {
  const player = new Player(wordsOf(app), urlOf, isFree);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => PLAYER_PX };
  const widget = node.addDOMWidget("player", "atlasvid_compare", player.e.root, options);
  widget.serialize = false;
  node.atlasvidPlayer = player;
  node.setSize([Math.max(node.size[0], SIZE[0]), Math.max(node.size[1], SIZE[1])]);
}

app.registerExtension({
  name: "AtlasVid.Compare",
  setup: style,
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== "AtlasVidCompare") return;
    const { onNodeCreated, onExecuted, onRemoved } = nodeType.prototype;
    nodeType.prototype.onNodeCreated = function () {
      onNodeCreated?.apply(this, arguments);
      addPlayer(this);
    };
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const shown = output?.atlasvid_compare?.[0];
      if (shown) this.atlasvidPlayer?.load(shown);
    };
    nodeType.prototype.onRemoved = function () {
      onRemoved?.apply(this, arguments);
      this.atlasvidPlayer?.remove();
    };
  },
});
