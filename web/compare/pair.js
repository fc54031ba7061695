// Two <video> elements in step: one frame of the detail and its partner in the proxy.

import { frameAt, middleOf, partner, rateOf } from "./time.js";

/** Seeks one <video>; while a seek runs, only the last further one waits. */
class Seeker {
  constructor(video) {
    this.video = video;
    this.next = null;
    video.addEventListener("seeked", () => {
      if (this.next === null) return;
      const seconds = this.next;
      this.next = null;
      video.currentTime = seconds;
    });
  }

  to(seconds) {
    if (this.video.seeking) {
      this.next = seconds;
      return;
    }
    this.next = null; // one may wait still, between the end of a seek and its event
    if (Math.abs(this.video.currentTime - seconds) > 1e-4) this.video.currentTime = seconds;
  }
}

export class Pair {
  /** `onFrame(frame, proxyFrame)` after each change; `facts` {detail, proxy, match} come later. */
  constructor(detail, proxy, onFrame) {
    Object.assign(this, { detail, proxy, onFrame, facts: null, frame: 0, playing: false, speed: 1 });
    this.seekers = [new Seeker(detail), new Seeker(proxy)];
    detail.addEventListener("ended", () => this.playing && this.again());
    detail.addEventListener("pause", () => this.stopped());
  }

  set(facts, frame) {
    this.pause();
    Object.assign(this, { facts, frame });
  }

  proxyFrame() {
    return partner(this.frame, this.facts.detail, this.facts.proxy, this.facts.match);
  }

  /** Shows a frame of the detail, and stops there. */
  show(frame) {
    if (!this.facts) return;
    this.pause();
    this.frame = Math.min(Math.max(frame, 0), this.facts.detail.frames - 1);
    this.seekers[0].to(middleOf(this.frame, this.facts.detail));
    this.seekers[1].to(middleOf(this.proxyFrame(), this.facts.proxy));
    this.onFrame(this.frame, this.proxyFrame());
  }

  step(by) {
    this.show(this.frame + by);
  }

  toggle() {
    if (this.playing) this.show(this.frame);
    else this.play();
  }

  play() {
    if (!this.facts) return;
    if (this.frame >= this.facts.detail.frames - 1) this.show(0);
    this.playing = true;
    this.setSpeed(this.speed);
    for (const video of [this.detail, this.proxy]) video.play().catch(() => {});
    this.follow();
    this.onFrame(this.frame, this.proxyFrame());
  }

  pause() {
    this.playing = false;
    this.detail.pause();
    this.proxy.pause();
  }

  /** The browser paused it: our elements left the page. What it pauses since nobody sees the page
   *  it plays on by itself. */
  stopped() {
    if (document.hidden || !this.playing || !this.detail.paused || this.detail.ended) return;
    this.pause();
    this.onFrame(this.frame, this.proxyFrame());
  }

  again() {
    this.show(0);
    this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.detail.playbackRate = speed;
    if (!this.facts) return;
    const { detail, proxy, match } = this.facts;
    this.proxy.playbackRate = Math.min(Math.max(speed * rateOf(detail, proxy, match), 1 / 16), 16);
  }

  /** While playing: the frame on show, and the proxy led back where it strays by a frame. */
  follow() {
    if (!this.playing) return;
    if (!this.detail.seeking) {
      this.frame = frameAt(this.detail.currentTime, this.facts.detail);
      const want = this.proxyFrame();
      const have = frameAt(this.proxy.currentTime, this.facts.proxy);
      if (Math.abs(want - have) > 1 || (this.proxy.ended && want !== have)) {
        this.seekers[1].to(middleOf(want, this.facts.proxy));
        if (this.proxy.paused) this.proxy.play().catch(() => {});
      }
      this.onFrame(this.frame, want);
    }
    requestAnimationFrame(() => this.follow());
  }
}
