// The panel's elements, made once; `update` fills them from the server's answer and adds nothing.

import { el, show } from "./dom.js";
import { Drawing } from "./drawing.js";
import { modelOf, notesOf } from "./notes.js";
import { SECONDS, SIZES, framesOf, isSize, sized, turned } from "./presets.js";
import { duration, grid, number, share, times } from "./words.js";

const MODELS = { auto: "auto", "1.3b": "Wan2.1 1.3B", "14b": "Wan2.1 14B", tiny: "AtlasVid-Tiny" };
const NEARLY = 0.9; // of what there is: worth a second look

export class View {
  /** `act.set(changes)` writes widgets, `inputs` of the plan or of the `node` of a type that uses it,
   * where `act.canSet`; `act.choose(model)` picks the model of the figures; `say`: labels.js. */
  constructor(act, say) {
    [this.act, this.say] = [act, say];
    this.drawing = new Drawing(say.cube);
    this.facts = {};
    this.presets = this.makePresets();
    this.state = el("span", { class: "av-state" });
    this.total = el("span", { class: "av-total" });
    this.model = el(
      "select",
      { class: "av-model", change: () => act.choose(this.model.value) },
      ...Object.entries(MODELS).map(([key, name]) => el("option", { value: key }, name)),
    );
    this.bars = el("div", { class: "av-bars" });
    this.stages = el("div", { class: "av-stages" });
    this.notes = el("div", { class: "av-notes", role: "status" });
    this.root = el(
      "div",
      // the wheel is ours in nodes that are elements of the page, once the panel has been clicked
      { class: "av-panel", "data-state": "waiting", "data-capture-wheel": "true", tabindex: -1 },
      el("div", { class: "av-presets" }, ...this.presets.groups),
      el("div", { class: "av-head" }, this.state, this.total, this.model),
      el("div", { class: "av-body" },
        el("div", { class: "av-picture", title: say.hints.picture }, this.drawing.frame, this.drawing.time),
        this.makeFacts()),
      this.drawing.caption,
      this.bars,
      this.stages,
      this.notes,
    );
  }

  makePresets() {
    const button = (text, title, press) => el("button", { type: "button", title, click: press }, text);
    const set = (change) => () => this.act.set([{ inputs: change(this.act.inputs()) }]);
    const sizes = SIZES.map(({ name, sides }) =>
      [button(name, `${grid(sides)} px`, set((now) => sized(now, sides))), (now) => isSize(now, sides)]);
    const lengths = SECONDS.map((s) => [
      button(this.say.seconds(s), this.say.length(s),
        set((now) => ({ frames: framesOf(s, now.fps) }))),
      (now) => now.frames === framesOf(s, now.fps),
    ]);
    const both = [["▬", this.say.landscape, false], ["▮", this.say.portrait, true]];
    const ways = both.map(([sign, name, portrait]) => [
      button(sign, name, set((now) => turned(now, portrait))),
      (now) => now.height > now.width === portrait && now.height !== now.width,
    ]);
    const groups = [sizes, lengths, ways].map((all) =>
      el("div", { class: "av-group", role: "group" }, ...all.map(([node]) => node)));
    return { groups, all: [...sizes, ...lengths, ...ways] };
  }

  makeFacts() {
    const row = ([name, label]) => {
      this.facts[name] = { main: el("b"), more: el("span") };
      return el("div", { class: "av-fact", "data-fact": name, title: this.say.hints[name] },
        el("label", {}, label), this.facts[name].main, this.facts[name].more);
    };
    return el("div", { class: "av-facts" }, ...Object.entries(this.say.facts).map(row));
  }

  /** Which preset is the one in force. */
  press(inputs) {
    for (const [node, holds] of this.presets.all) node.setAttribute("aria-pressed", holds(inputs));
  }

  wait() {
    this.root.dataset.state = "waiting";
  }

  /** No figures: the server said why, or did not answer. */
  fail(text) {
    this.root.dataset.state = "failed";
    show(this.state, this.say.failed);
    show(this.total, "");
    this.note([{ kind: "bad", text }]);
  }

  update(answer, model, hidden) {
    const { say } = this;
    const refused = answer.snapped.length > 0; // as they stand, the node would raise
    this.root.dataset.state = answer.fits && !refused ? "fits" : "bad";
    show(this.state, !answer.fits ? say.tooMuch : refused ? say.refused : say.fits);
    const unknown = answer.measuring ? say.measuring : "";
    const { shared, device } = answer.machine;
    const total = answer.seconds === null ? unknown : say.atLeast(duration(answer.seconds), shared);
    show(this.total, total, answer.seconds);
    this.total.title = say.bound(device);
    this.model.value = model;
    this.model.options[0].textContent = model === "auto" ? `auto: ${answer.model.label}` : MODELS.auto;
    this.model.title = modelOf(answer.model, say);
    this.drawing.update(answer.drawing);
    this.fillFacts(answer);
    this.bars.replaceChildren(...answer.checks.map((check) => bar(check, say)));
    this.stages.replaceChildren(...answer.stages.map((stage) => stageRow(stage, answer.seconds, say)));
    this.note(notesOf(answer, hidden, say, this.act.canSet));
  }

  fillFacts({ plan, tokens, drawing, ratio }) {
    const { say } = this;
    const fill = (name, main, more, raw) => {
      show(this.facts[name].main, main, raw);
      show(this.facts[name].more, more);
    };
    fill("video", say.tokens(number(tokens.target)),
      `${plan.width_px} × ${plan.height_px}, ${plan.frames_px} f, ${number(plan.seconds, 1)} s`, tokens.target);
    fill("proxy", say.tokens(number(tokens.proxy)),
      `${plan.proxy_width_px} × ${plan.proxy_height_px}, ${plan.proxy_frames_px} f`, tokens.proxy);
    const cubes = drawing.cubes.reduce((a, b) => a * b, 1);
    fill("cubes", number(cubes), say.cubes(grid(drawing.cubes), grid(drawing.cube_tok)), cubes);
    fill("ratio", say.less(times(ratio.attention)), say.stepLess(times(ratio.step)), ratio.attention);
    this.facts.ratio.more.dataset.raw = String(ratio.step);
  }

  note(notes) {
    this.notes.replaceChildren(...notes.map(({ kind, text, changes }) => {
      const press = () => this.act.set(changes);
      const fix = changes ? [el("button", { type: "button", click: press }, this.say.set)] : [];
      return el("div", { class: `av-note av-${kind}` }, el("span", {}, text), ...fix);
    }));
  }
}

function bar(check, say) {
  const part = check.need_bytes / check.have_bytes;
  const kind = !check.fits ? "bad" : check.text || part > NEARLY ? "warn" : "ok";
  const fill = el("i", { style: `width: ${Math.min(100, 100 * part)}%` });
  const text = el("span", { class: "av-share" });
  show(text, share(check.need_bytes, check.have_bytes), check.need_bytes);
  const title = say.told(check) || say.most(say.stages[check.stage]);
  return el("div", { class: `av-bar av-${kind}`, "data-check": check.name, title },
    el("label", {}, say.bars[check.name]), el("div", { class: "av-track" }, fill), text);
}

function stageRow(stage, total, say) {
  const part = total ? (100 * stage.seconds) / total : 0;
  const time = el("span", { class: "av-time-of" });
  show(time, stage.seconds === null ? "–" : duration(stage.seconds), stage.seconds);
  const runs = stage.runs > 1 ? say.steps(stage.runs) : say.once;
  return el("div", { class: "av-stage", "data-stage": stage.name, style: `--part: ${part}%` },
    el("label", {}, say.stages[stage.name]), el("span", {}, runs), time);
}
