// Pointer, wheel and keys of the player.

const MODES = ["wipe", "difference", "proxy", "detail"];
const GRAB_PX = 14; // from the divider
const WHEEL = 1.0015; // zoom a pixel of wheel

export function listen(player) {
  const { e, pair } = player;
  e.play.onclick = () => pair.toggle();
  e.back.onclick = () => pair.step(-1);
  e.on.onclick = () => pair.step(1);
  e.scrub.oninput = () => pair.show(Number(e.scrub.value));
  const chosen = (act) => () => {
    act();
    e.root.focus({ preventScroll: true }); // a list keeps the keys that it was given
  };
  e.mode.onchange = chosen(() => player.setMode(e.mode.value));
  e.speed.onchange = chosen(() => pair.setSpeed(Number(e.speed.value)));
  e.whole.onclick = () => player.showWhole();
  e.actual.onclick = () => player.showActual();
  e.full.onclick = () => player.toggleFull();
  e.bar.addEventListener("click", (event) => {
    const pressed = event.detail > 0 && event.target.closest("button"); // by a pointer, not a key
    if (pressed) e.root.focus({ preventScroll: true }); // or space would press it again
  });
  e.root.addEventListener("keydown", (event) => key(player, event));
  e.stage.addEventListener("dblclick", (event) => player.toggleSize(placeOf(player, event)));
  e.stage.addEventListener("wheel", (event) => wheel(player, event), { passive: false });
  drag(player);
  for (const kind of ["pointerdown", "pointermove", "contextmenu"]) {
    e.root.addEventListener(kind, (event) => event.stopPropagation()); // not for the canvas
  }
}

/** Where an event is, in the stage's own pixels: the canvas may have scaled us. */
function placeOf(player, event) {
  const box = player.e.stage.getBoundingClientRect();
  const room = player.stage();
  return {
    x: ((event.clientX - box.left) * room.width) / box.width,
    y: ((event.clientY - box.top) * room.height) / box.height,
  };
}

/** A drag moves the wipe; of a zoomed picture, the picture, unless it begins at the divider. */
function drag(player) {
  const { stage, root } = player.e;
  let from = null;

  function press(event) {
    if (event.button > 1) return;
    event.preventDefault();
    root.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const at = placeOf(player, event);
    const near = Math.abs(at.x - player.wipe * player.stage().width) < GRAB_PX;
    const wipes = player.mode === "wipe" && (near || player.view.zoom === 1);
    from = { ...at, wipes: wipes && event.button === 0 };
    stage.classList.toggle("dragged", !from.wipes);
    if (from.wipes) move(event);
  }

  function move(event) {
    if (!from) return;
    const at = placeOf(player, event);
    if (from.wipes) player.setWipe(at.x / player.stage().width);
    else player.panBy(at.x - from.x, at.y - from.y);
    from = { ...at, wipes: from.wipes };
  }

  function release() {
    from = null;
    stage.classList.remove("dragged");
  }

  stage.addEventListener("pointerdown", press);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
}

function wheel(player, event) {
  event.preventDefault();
  event.stopPropagation();
  const pixels = event.deltaMode === 1 ? 30 * event.deltaY : event.deltaY;
  player.zoomBy(WHEEL ** -pixels, placeOf(player, event));
}

function key(player, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLSelectElement) return;
  const presses = event.target instanceof HTMLButtonElement && [" ", "Enter"].includes(event.key);
  const act = presses ? () => {} : actOf(player, event);
  if (!act) return;
  if (!presses) event.preventDefault();
  event.stopPropagation(); // ComfyUI has shortcuts of its own
  act();
}

function actOf(player, event) {
  const { pair } = player;
  const second = event.shiftKey ? Math.round(player.facts?.detail.fps ?? 1) : 1;
  const next = MODES[(MODES.indexOf(player.mode) + 1) % MODES.length];
  return {
    " ": () => pair.toggle(),
    ArrowLeft: () => pair.step(-second),
    ArrowRight: () => pair.step(second),
    Home: () => pair.show(0),
    End: () => pair.show(Infinity),
    "+": () => player.zoomBy(1.5),
    "=": () => player.zoomBy(1.5),
    "-": () => player.zoomBy(1 / 1.5),
    0: () => player.showWhole(),
    1: () => player.showActual(),
    m: () => player.setMode(next),
    f: () => player.toggleFull(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
}
