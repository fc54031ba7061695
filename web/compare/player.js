// The player: two videos in step, shown by a wipe, as their difference, or one alone.

import { listen } from "./hands.js";
import { Pair } from "./pair.js";
import { build, sign } from "./parts.js";
import { actual, fitted, settled, whole, zoomed } from "./view.js";

const alike = (a, b) => ["width", "height", "frames"].every((key) => a[key] === b[key]);

/** Why a video at an address does not open: the name of the words that say it. */
async function reasonOf(url) {
  const status = await fetch(url, { method: "HEAD" }).then((answer) => answer.status, () => 0);
  if (status === 0) return "unanswered";
  if (status === 404) return "gone";
  return status < 400 ? "unplayable" : "refused";
}

export class Player {
  /** `words` of words.js; `urlOf(place)` gives the address of {filename, subfolder, type};
   *  `isFree()` tells whether nobody sets our height. */
  constructor(words, urlOf, isFree) {
    Object.assign(this, { words, urlOf, isFree, facts: null, wipe: 0.5, mode: "wipe" });
    this.view = { zoom: 1, x: 0, y: 0 };
    this.e = build(words);
    this.pair = new Pair(this.e.detail, this.e.proxy, (...frames) => this.tell(...frames));
    listen(this);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.e.stage);
  }

  /** `shown`: {proxy, detail, match}, as the server sends it. A job run again keeps frame and zoom. */
  async load(shown) {
    const again = this.facts && alike(this.facts.detail, shown.detail);
    const frame = again ? this.pair.frame : 0;
    this.facts = shown;
    this.pair.set(shown, frame);
    this.say(this.words.loading);
    this.e.scrub.max = shown.detail.frames - 1;
    if (!again) this.view = whole(this.stage(), this.picture());
    try {
      await Promise.all(["detail", "proxy"].map((which) => this.open(which, shown[which])));
    } catch (error) {
      if (this.facts === shown) this.say(error.message);
      return;
    }
    if (this.facts !== shown) return; // another pair came meanwhile
    this.e.leftTag.textContent = this.nameOf("proxy");
    this.e.rightTag.textContent = this.nameOf("detail");
    this.say("");
    this.pair.show(frame);
    this.draw();
  }

  nameOf(which) {
    const { width, height } = this.facts[which];
    const less = this.e[which].videoWidth < width ? ` (${this.words.smaller})` : "";
    return `${this.words[which]} ${width} × ${height}${less}`;
  }

  async open(which, place) {
    const video = this.e[which];
    const ready = new Promise((good, bad) => {
      video.onloadeddata = good;
      video.onerror = bad;
    });
    const url = this.urlOf(place);
    video.src = url;
    try {
      await ready;
    } catch {
      throw new Error(`${place.filename} ${this.words[await reasonOf(url)]}`);
    }
  }

  /** Goes on where another one is, which showed the same node before that was made anew. */
  follow({ facts, view, wipe, mode, pair }) {
    Object.assign(this, { facts, view, wipe });
    this.pair.frame = pair.frame;
    this.pair.setSpeed(pair.speed);
    this.e.speed.value = String(pair.speed);
    this.setMode(mode);
  }

  /** Lets go of the files. */
  remove() {
    this.watch.disconnect();
    this.pair.pause();
    for (const video of [this.e.detail, this.e.proxy]) {
      video.onerror = null;
      video.removeAttribute("src");
      video.load();
    }
  }

  say(text) {
    this.e.message.textContent = text;
    this.e.message.hidden = !text;
  }

  tell(frame, proxyFrame) {
    const { detail, proxy } = this.facts;
    this.e.scrub.value = frame;
    this.e.clock.textContent =
      `${this.words.frame} ${frame + 1}/${detail.frames} · ` +
      `${this.words.proxy} ${proxyFrame + 1}/${proxy.frames}`;
    sign(this.e.play, this.pair.playing ? "pause" : "play");
  }

  // Place and size

  stage() {
    return { width: this.e.stage.clientWidth, height: this.e.stage.clientHeight };
  }

  picture() {
    return this.facts?.detail ?? { width: 16, height: 9 };
  }

  draw() {
    const { stage, pictures, proxy, detail, divider, leftTag, rightTag } = this.e;
    this.e.root.classList.toggle("free", this.isFree());
    const room = this.stage();
    if (!room.width || !room.height) return;
    this.view = settled(this.view, room, this.picture());
    const box = fitted(room, this.picture());
    const { zoom, x, y } = this.view;
    pictures.style.width = `${box.width}px`;
    pictures.style.height = `${box.height}px`;
    pictures.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    pictures.classList.toggle("difference", this.mode === "difference");
    const at = (this.wipe * room.width - x) / zoom; // of the wipe, in the picture
    const cut = Math.min(Math.max(box.width - at, 0), box.width);
    proxy.style.clipPath = this.mode === "wipe" ? `inset(0 ${cut}px 0 0)` : "";
    proxy.style.visibility = this.mode === "detail" ? "hidden" : "";
    detail.style.visibility = this.mode === "proxy" ? "hidden" : "";
    const wiped = this.mode === "wipe" && this.facts !== null;
    divider.hidden = !wiped;
    divider.style.left = `${this.wipe * room.width}px`;
    leftTag.hidden = !(wiped || (this.facts && this.mode === "proxy"));
    rightTag.hidden = !(wiped || (this.facts && this.mode === "detail"));
    stage.classList.toggle("pans", this.mode !== "wipe" || zoom > 1);
  }

  setWipe(part) {
    this.wipe = Math.min(Math.max(part, 0), 1);
    this.draw();
  }

  panBy(dx, dy) {
    const { zoom, x, y } = this.view;
    this.view = { zoom, x: x + dx, y: y + dy };
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.e.mode.value = mode;
    this.draw();
  }

  zoomBy(factor, at) {
    const middle = { x: this.stage().width / 2, y: this.stage().height / 2 };
    this.view = zoomed(this.view, factor, at ?? middle, this.stage(), this.picture());
    this.draw();
  }

  showWhole() {
    this.view = whole(this.stage(), this.picture());
    this.draw();
  }

  /** The zoom of actual pixels; the canvas may have scaled us. */
  actual() {
    const room = this.stage();
    const scale = this.e.stage.getBoundingClientRect().width / room.width;
    return actual(room, this.picture(), window.devicePixelRatio * scale);
  }

  showActual() {
    this.zoomBy(this.actual() / this.view.zoom);
  }

  toggleSize(at) {
    if (this.view.zoom > 1) this.showWhole();
    else this.zoomBy(Math.max(this.actual(), 1.5), at);
  }

  toggleFull() {
    if (document.fullscreenElement === this.e.root) document.exitFullscreen();
    else this.e.root.requestFullscreen?.().catch(() => {});
  }
}
