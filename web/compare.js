// CompareVideos: its player, on the canvas.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { Player } from "./compare/player.js";
import { everyNode } from "./within.js";
import { wordsOf } from "./words.js";

const SIZE = [560, 480];
const PLAYER_PX = 240; // no less
const players = new Map(); // place of a node -> the last player that showed its videos

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

/** A node by its workflow, graph and number: undo and other tabs make the same one anew. */
const placeOf = (node) => [app.graph.id, node.graph?.id, node.id].join();

function load(node, shown) {
  const [place, player] = [placeOf(node), node.atlasvidPlayer];
  const before = players.get(place);
  players.set(place, player);
  if (before && before !== player) {
    player.follow(before);
    before.remove();
  }
  player.load(shown);
}

/** A node that goes into a subgraph is made anew there, under its number. Another workflow, loaded
 *  meanwhile, has nodes of that number, too. */
function passOn({ id, type, atlasvidPlayer: player }, workflow) {
  if (app.graph.id !== workflow) return;
  const fits = (node) => node.id === id && node.type === type && node.atlasvidPlayer;
  const heir = [...everyNode(app.graph)].map(([, node]) => node).find(fits);
  if (!heir || heir.atlasvidPlayer.facts || !player.facts) return;
  players.set(placeOf(heir), player);
  load(heir, player.facts);
}

/** Nodes made anew show what the old ones did; players of those that are gone let go. Of nodes in
 *  subgraphs the page does not tell that they go. */
function review() {
  const there = new Set();
  for (const [, node] of everyNode(app.graph)) {
    const player = node.atlasvidPlayer;
    if (!player) continue;
    there.add(player);
    const before = players.get(placeOf(node));
    if (before && !player.facts) load(node, before.facts);
  }
  for (const player of players.values()) if (!there.has(player)) player.remove();
}

app.registerExtension({
  name: "AtlasVid.Compare",
  setup: style,
  afterConfigureGraph: review,
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
      if (shown && this.atlasvidPlayer) load(this, shown);
    };
    nodeType.prototype.onRemoved = function () {
      onRemoved?.apply(this, arguments);
      this.atlasvidPlayer?.remove();
      const workflow = app.graph.id;
      if (this.atlasvidPlayer) setTimeout(() => passOn(this, workflow));
    };
  },
});
