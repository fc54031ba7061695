// A live panel on every VideoPlan: what its plan is and costs, asked of the server as it changes.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { inputsOf, jobOf, ruleOf, userOf } from "./plan/graph.js";
import { LABELS } from "./plan/labels.js";
import { View } from "./plan/view.js";
import { everyNode } from "./within.js";
import { inLanguage } from "./words.js";

const NODE = "AtlasVidPlan";
const WIDGET = "atlasvid_panel";
const KEPT = "atlasvid_model"; // in the node's properties: the model chosen in the panel
const ROUTE = "/atlasvid/plan";
const [PANEL_PX, WIDTH_PX] = [452, 420];
const [QUIET_MS, MEASURED_MS, MOST_ASKS] = [120, 1500, 40];
const SNAPS = ["width", "height", "frames", "proxy_height"];

class Panel {
  constructor(node) {
    this.node = node;
    this.moved = new Map(); // widget -> what was said of its last rounding
    this.say = inLanguage(app, LABELS);
    const act = {
      inputs: () => inputsOf(node).inputs,
      set: (changes) => this.set(changes),
      canSet: (changes) => this.ruling(changes).every(({ widget }) => widget),
      choose: (model) => this.choose(model),
    };
    this.view = new View(act, this.say);
    this.asks = 0;
    for (const w of node.widgets ?? []) this.follow(w);
  }

  get model() {
    return this.node.properties?.[KEPT] ?? "auto";
  }

  /** Hear of every change of a widget, and of what it rounded on the way. */
  follow(w) {
    const before = w.callback;
    w.callback = (given, ...rest) => {
      const result = before?.apply(w, [given, ...rest]);
      if (SNAPS.includes(w.name)) this.rounded(w, given);
      this.refresh();
      return result;
    };
  }

  rounded(w, given) {
    if (typeof given === "number" && given !== w.value) this.moved.set(w.name, [given, w.value]);
    else if (this.moved.get(w.name)?.[1] !== w.value) this.moved.delete(w.name);
  }

  /** One step of undo, of inputs of the plan and of the nodes that use it. */
  set(changes) {
    app.canvas?.emitBeforeChange?.();
    for (const { node, widget, value } of this.ruling(changes)) {
      if (!widget || widget.value === value) continue;
      widget.value = value;
      widget.callback?.(value, app.canvas, node);
    }
    app.canvas?.emitAfterChange?.();
    this.node.setDirtyCanvas?.(true, true);
    this.refresh();
  }

  /** Each value with the widget that it is written to; none where it can't be, or no node is there. */
  ruling(changes) {
    return changes.flatMap(({ inputs, node = NODE }) => {
      const user = userOf(this.node, node);
      return Object.entries(inputs).map(([name, value]) => ({ ...ruleOf(user, name), value }));
    });
  }

  choose(model) {
    this.node.properties ??= {};
    if (model === "auto") delete this.node.properties[KEPT];
    else this.node.properties[KEPT] = model;
    this.refresh();
  }

  /** Ask the server once things have been still for a moment, if anything is new. */
  refresh() {
    if (!this.node.graph) return;
    const [plan, { job, hidden }] = [inputsOf(this.node), jobOf(this.node)];
    const { inputs } = plan;
    this.view.press(inputs);
    const body = JSON.stringify({ inputs, job: { ...job, model: this.model } });
    const unknown = [...plan.hidden, ...hidden];
    if (body === this.body && JSON.stringify(unknown) === JSON.stringify(this.hidden)) return;
    [this.body, this.hidden, this.asks] = [body, unknown, 0];
    this.view.wait();
    this.later(QUIET_MS);
  }

  later(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), ms);
  }

  async ask() {
    if (!panels().has(this)) return this.rest();
    const body = this.body;
    this.asks += 1;
    let answer, lost;
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await api.fetchApi(ROUTE, { method: "POST", headers, body });
      if (!response.ok) throw new Error(`the server answered ${response.status} to ${ROUTE}`);
      answer = await response.json();
    } catch (error) {
      lost = true;
      answer = { error: this.say.noAnswer(error.message) };
    }
    if (body !== this.body || !this.node.graph) return;
    this.take(answer);
    if (lost) this.body = undefined; // whatever happens next, ask again
  }

  /** Ask although the plan is the same: the machine, or the server, may not be. */
  again() {
    this.body = undefined;
    this.refresh();
  }

  take(answer) {
    if (answer.error) return this.view.fail(answer.error);
    const moved = [...this.moved].map(([name, [given, used]]) => {
      const why = name === "frames" ? this.say.wanFrames : this.say.wanSides;
      return this.say.moved(name, given, used, why);
    });
    this.view.update({ ...answer, moved }, this.model, this.hidden);
    if (answer.measuring && this.asks < MOST_ASKS) this.later(MEASURED_MS);
  }

  /** The node left the graph; it may come back (undo, a move into a subgraph). */
  rest() {
    clearTimeout(this.timer);
    this.body = undefined;
  }
}

function attach(node) {
  const panel = new Panel(node);
  const shown = node.addDOMWidget(WIDGET, "atlasvid_panel", panel.view.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => PANEL_PX,
    getValue: () => "",
    setValue: () => {},
  });
  shown.serialize = false; // saved workflows keep VideoPlan's own widgets alone
  letCanvasMove(panel.view.root);
  node.setSize([node.size[0], node.computeSize()[1]]);
  // A narrower one that was saved stays so: undo loads it, and would find the workflow changed.
  if (node.size[0] < WIDTH_PX) node.setSize([WIDTH_PX, node.size[1]]);
  node.atlasvidPanel = panel;
  after(node, "onAdded", () => panel.refresh());
  after(node, "onConfigure", () => panel.refresh());
  after(node, "onConnectionsChange", () => queueMicrotask(() => panel.refresh()));
  after(node, "onRemoved", () => panel.rest());
  queueMicrotask(() => panel.refresh());
}

function after(object, name, call) {
  const before = object[name];
  object[name] = function (...given) {
    const result = before?.apply(this, given);
    call();
    return result;
  };
}

/** Zoom, and pan with the middle button, as over the rest of the canvas; drags stay in the panel. */
function letCanvasMove(root) {
  const middle = (event) => event.button === 1 || (event.buttons & 4) === 4;
  const canvas = () => app.canvas;
  root.addEventListener("pointerdown", (event) => {
    if (middle(event)) canvas().processMouseDown?.(event);
    event.stopPropagation();
  });
  root.addEventListener("pointermove", (event) => middle(event) && canvas().processMouseMove?.(event));
  root.addEventListener("pointerup", (event) => middle(event) && canvas().processMouseUp?.(event));
  root.addEventListener("wheel", (event) => {
    const scrolls = [event.target.closest?.(".av-notes"), root].some(overflows);
    if (!event.ctrlKey && scrolls) return event.stopPropagation();
    event.preventDefault();
    canvas().processMouseWheel?.(event);
  }, { passive: false });
}

const overflows = (element) => element && element.scrollHeight > element.clientHeight;

/** Those of the workflow as it is now: of nodes in subgraphs the page does not tell that they go. */
function panels() {
  const all = [...everyNode(app.graph)].map(([, node]) => node.atlasvidPanel);
  return new Set(all.filter(Boolean));
}

function refreshAll() {
  for (const panel of panels()) panel.refresh();
}

function askAgain() {
  for (const panel of panels()) panel.again();
}

/** Jobs fill the disk, and nothing is measured beside them: ask again when the last one is over. */
function whenIdle() {
  let idle = false;
  api.addEventListener("status", ({ detail }) => {
    const before = idle;
    idle = detail?.exec_info?.queue_remaining === 0;
    if (idle && !before) askAgain();
  });
}

app.registerExtension({
  name: "AtlasVid.PlanPanel",
  async setup() {
    const href = new URL("./plan/panel.css", import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
    api.addEventListener("graphChanged", refreshAll); // loaders, samplers and links around the plan
    api.addEventListener("reconnected", askAgain);
    whenIdle();
    app.canvas?.canvas?.addEventListener("litegraph:set-graph", refreshAll); // into a subgraph, and out
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE) attach(node);
  },
  afterConfigureGraph: refreshAll,
});
