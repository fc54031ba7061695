// The elements of the player; no behaviour.

const ICONS = { // shapes in a box of 16 x 16
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  back: "M10.5 3 5.5 8l5 5",
  on: "m5.5 3 5 5-5 5",
  full: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  whole: "M6 2.5V6H2.5M13.5 6H10V2.5M10 13.5V10h3.5M2.5 10H6v3.5",
};
const FILLED = new Set(["play", "pause"]);

/** Puts an icon into a button. */
export function sign(button, name) {
  if (button.dataset.sign === name) return;
  button.dataset.sign = name;
  const paint = FILLED.has(name) ? 'fill="currentColor"' : 'fill="none" stroke="currentColor"';
  button.innerHTML = `<svg viewBox="0 0 16 16" width="13" height="13" stroke-width="1.6" ${paint}>
    <path d="${ICONS[name]}"/></svg>`;
}

function element(name, className, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), { className }, properties);
  made.append(...children);
  return made;
}

const video = (className) =>
  element("video", className, { muted: true, playsInline: true, preload: "auto", loop: false });

const option = (value, label) => element("option", "", { value, textContent: label });

/** -> the elements by name; `root` holds the others. */
export function build(words) {
  const button = (className, title) => {
    const made = element("button", className, { type: "button", title, ariaLabel: title });
    sign(made, className);
    return made;
  };
  const e = {
    detail: video("detail"),
    proxy: video("proxy"),
    divider: element("div", "divider", { hidden: true }),
    leftTag: element("div", "tag left", { hidden: true }),
    rightTag: element("div", "tag right", { hidden: true }),
    message: element("div", "message", { textContent: words.empty }),
    play: button("play", words.play),
    back: button("back", words.back),
    on: button("on", words.on),
    scrub: element("input", "scrub", { type: "range", min: 0, max: 0, value: 0, title: words.scrub }),
    clock: element("span", "clock"),
    mode: element("select", "mode", { title: words.mode }, [
      option("wipe", words.wipe), option("difference", words.difference),
      option("proxy", words.onlyProxy), option("detail", words.onlyDetail),
    ]),
    speed: element("select", "speed", { title: words.speed }, [
      option("0.25", "¼×"), option("0.5", "½×"), option("1", "1×"), option("2", "2×"),
    ]),
    whole: button("whole", words.whole),
    actual: element("button", "actual", {
      type: "button", title: words.actual, textContent: "1:1",
    }),
    full: button("full", words.full),
  };
  e.speed.value = "1";
  e.pictures = element("div", "pictures", {}, [e.detail, e.proxy]);
  const inStage = [e.pictures, e.divider, e.leftTag, e.rightTag, e.message];
  e.stage = element("div", "stage", {}, inStage);
  const inBar = [
    e.back, e.play, e.on, e.scrub, e.clock, e.mode, e.speed, e.whole, e.actual, e.full,
  ];
  e.bar = element("div", "bar", {}, inBar);
  e.root = element("div", "atlasvid-compare", { tabIndex: 0 }, [e.stage, e.bar]);
  e.root.dataset.captureWheel = "true"; // not for the canvas, in nodes that are elements of the page
  return e;
}
