// The frame cut into cubes, and time cut into slabs: who sees whom, for the cube under the pointer.
// Axes are (t, h, w); lengths are tokens, so the picture is to scale. Sizes come from the server.

import { el, svg } from "./dom.js";
import { number } from "./words.js";

const [T, H, W] = [0, 1, 2];
const CLEAR = 24; // lines an axis; more of them fade, so that the cubes stay in sight
const FINEST = 160; // more than these would be a grey area

export class Drawing {
  /** `say(cube, own, near, proxy)`: the line below the picture */
  constructor(say) {
    this.say = say;
    this.frame = svg("svg", { class: "av-frame", role: "img", preserveAspectRatio: "xMidYMid meet" });
    this.time = svg("svg", { class: "av-time", role: "img", preserveAspectRatio: "none" });
    this.caption = el("div", { class: "av-caption" });
    this.pinned = null;
    this.over = null;
    for (const [picture, axes] of [[this.frame, [H, W]], [this.time, [T]]]) {
      picture.addEventListener("pointermove", (event) => this.point(picture, axes, event, false));
      picture.addEventListener("pointerdown", (event) => this.point(picture, axes, event, true));
      picture.addEventListener("pointerleave", () => this.leave());
    }
  }

  /** `shape`: `drawing` of the server's answer. */
  update(shape) {
    const same = this.shape && JSON.stringify(this.shape.cubes) === JSON.stringify(shape.cubes);
    this.shape = shape;
    if (!same || !this.pinned) this.pinned = shape.cubes.map((n) => Math.floor((n - 1) / 2));
    if (!same) this.over = null;
    this.draw();
  }

  get chosen() {
    return this.over ?? this.pinned;
  }

  point(picture, axes, event, pin) {
    const at = this.shape && placeIn(picture, event);
    if (!at) return;
    const cube = [...this.pinned];
    if (axes.includes(T)) cube[T] = this.cubeAt(T, at.x);
    else [cube[H], cube[W]] = [this.cubeAt(H, at.y), this.cubeAt(W, at.x)];
    if (pin) this.pinned = cube;
    this.over = pin ? null : cube;
    this.draw();
  }

  leave() {
    this.over = null;
    if (this.shape) this.draw();
  }

  cubeAt(axis, token) {
    const number = Math.floor(token / this.shape.cube_tok[axis]);
    return Math.min(Math.max(number, 0), this.shape.cubes[axis] - 1);
  }

  /** First token and the one past the last, of cube `i` along an axis. */
  span(axis, i) {
    const step = this.shape.cube_tok[axis];
    return [i * step, Math.min((i + 1) * step, this.shape.grid_tok[axis])];
  }

  size(cube) {
    return cube.reduce((count, i, axis) => {
      const [first, end] = this.span(axis, i);
      return count * (end - first);
    }, 1);
  }

  /** The chosen cube and those it sees, inside the video. */
  near() {
    return this.shape.steps
      .map((step) => step.map((s, axis) => this.chosen[axis] + s))
      .filter((cube) => cube.every((i, axis) => i >= 0 && i < this.shape.cubes[axis]));
  }

  /** How many proxy tokens the chosen cube sees: those of all cubes near it, each once. */
  proxies(near) {
    const [, high, wide] = this.shape.proxy_tok;
    const seen = new Set();
    for (const cube of near) {
      const [t, h, w] = cube.map((i, axis) => this.shape.proxy_ranges[axis][i]);
      for (let a = t[0]; a < t[1]; a++)
        for (let b = h[0]; b < h[1]; b++)
          for (let c = w[0]; c < w[1]; c++) seen.add((a * high + b) * wide + c);
    }
    return seen.size;
  }

  draw() {
    const near = this.near();
    this.drawFrame(near);
    this.drawTime(near);
    const tokens = near.reduce((sum, cube) => sum + this.size(cube), 0);
    const facts = { tokens: this.size(this.chosen), near: tokens, proxy: this.proxies(near) };
    Object.assign(this.caption.dataset, facts, { cube: this.chosen.join() });
    this.caption.textContent = this.say(
      this.chosen.map((i) => i + 1).join(", "), number(facts.tokens), number(facts.near), number(facts.proxy));
  }

  drawFrame(near) {
    const [, high, wide] = this.shape.grid_tok;
    const box = (cube, name) => {
      const [[y, bottom], [x, right]] = [this.span(H, cube[H]), this.span(W, cube[W])];
      return svg("rect", { class: name, x, y, width: right - x, height: bottom - y });
    };
    const flat = near.filter((cube) => cube[T] === this.chosen[T]);
    this.frame.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    this.frame.replaceChildren(
      svg("rect", { class: "av-sky", width: wide, height: high }),
      ...this.ragged(H).map(([y, end]) =>
        svg("rect", { class: "av-ragged", y, width: wide, height: end - y })),
      ...this.ragged(W).map(([x, end]) =>
        svg("rect", { class: "av-ragged", x, width: end - x, height: high })),
      ...flat.map((cube) => box(cube, "av-reach")),
      svg("path", {
        class: "av-lines",
        opacity: Math.min(1, CLEAR / Math.max(...this.shape.cubes.slice(H))),
        d: this.lines(W, high, false) + this.lines(H, wide, true),
      }),
      box(this.chosen, "av-chosen"),
      this.footprint(flat),
    );
  }

  /** The proxy tokens that are seen, where they lie in the frame. */
  footprint(flat) {
    const [y, bottom] = this.seen(H, flat);
    const [x, right] = this.seen(W, flat);
    return svg("rect", { class: "av-proxy", x, y, width: right - x, height: bottom - y });
  }

  seen(axis, near) {
    const ranges = near.map((cube) => this.shape.proxy_ranges[axis][cube[axis]]);
    const scale = this.shape.grid_tok[axis] / this.shape.proxy_tok[axis];
    return [Math.min(...ranges.map((r) => r[0])) * scale, Math.max(...ranges.map((r) => r[1])) * scale];
  }

  drawTime(near) {
    const length = this.shape.grid_tok[T];
    const slab = (i, name) => {
      const [x, end] = this.span(T, i);
      return svg("rect", { class: name, x, width: end - x, height: 1 });
    };
    const reached = [...new Set(near.map((cube) => cube[T]))];
    this.time.setAttribute("viewBox", `0 0 ${length} 1`);
    this.time.replaceChildren(
      svg("rect", { class: "av-sky", width: length, height: 1 }),
      ...this.ragged(T).map(([x, end]) => svg("rect", { class: "av-ragged", x, width: end - x, height: 1 })),
      ...reached.map((i) => slab(i, "av-reach")),
      svg("path", { class: "av-lines", d: this.lines(T, 1, false) }),
      slab(this.chosen[T], "av-chosen"),
    );
  }

  /** The last cube along an axis where it is smaller than the others. */
  ragged(axis) {
    const last = this.span(axis, this.shape.cubes[axis] - 1);
    return last[1] - last[0] < this.shape.cube_tok[axis] && this.shape.cubes[axis] > 1 ? [last] : [];
  }

  lines(axis, length, level) {
    const [count, step] = [this.shape.cubes[axis], this.shape.cube_tok[axis]];
    if (count > FINEST) return "";
    let path = "";
    for (let i = 1; i < count; i++) path += level ? `M0 ${i * step}h${length}` : `M${i * step} 0v${length}`;
    return path;
  }
}

/** The pointer in a picture's own units, whatever the canvas is zoomed to. */
function placeIn(picture, event) {
  const matrix = picture.getScreenCTM();
  return matrix && new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
}
