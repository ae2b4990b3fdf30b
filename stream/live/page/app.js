// The page of a live run: one stream of events says all there is to know; pictures come beside it.

import { $, belong, drawBars, follow, keyed, laneSvg, make, naming, offer, post, put, say } from "./shared.js";
import { show as showPicture, visit } from "./picture.js";

const STATES = { connecting: "connecting", live: "live", waiting: "no signal, trying again", ended: "ended", failed: "given up" };
const WORKS = { "not begun": "nothing yet", on: "on", waiting: "waiting, trying again", failed: "given up" };
const STEPS = [10, 30, 60, 120, 300, 600, 3600]; // seconds between two ticks
const cards = new Map();
let run = null; // of IZ*Net: what it said belongs together
let undoShown = 0; // the number of the latest naming that was told of

function card(number) {
  if (!cards.has(number)) {
    const section = $("camera").content.firstElementChild.cloneNode(true);
    $("cameras").append(section);
    cards.set(number, section);
  }
  return cards.get(number);
}

function show(state) {
  if (state.run !== run) begin(state);
  state.cameras.forEach((camera, number) => showCamera(card(number), camera, number, state));
  offer(state.people);
  if (state.undo && state.undo.number > undoShown) tell(state.undo);
}

// Another run, or the first: nothing that was there is what it was, and what was said before is no news.
function begin(state) {
  if ($("naming").open) {
    $("naming").close();
    say("IZ*Net was started anew; the face that you were about to name is gone.");
  }
  run = state.run;
  belong(run);
  undoShown = state.undo?.number ?? 0;
  cards.forEach((section) => section.remove());
  cards.clear();
}

// Nobody knows any more who is there.
function lose() {
  for (const section of cards.values()) {
    section.classList.add("stale");
    put(section.querySelector(".state"), "no connection to IZ*Net");
    section.querySelector(".state").className = "state waiting";
    section.querySelector(".boxes").replaceChildren();
    keyed(section.querySelector(".now"), ["lost"], () => make("li", "nobody", "Not known now"));
  }
}

function tell(given) {
  undoShown = given.number;
  say(`${given.name} is known now${given.new ? " (new in the gallery)" : ""}.`, () => takeBack(given.number));
}

async function takeBack(number) {
  try {
    const taken = await post("undo", { number });
    say(`${taken.name}: taken back.`);
  } catch (error) {
    say(error.message);
  }
}

function showCamera(section, camera, number, { naming: nameable, webrtc }) {
  put(section.querySelector("h2"), camera.name);
  const state = section.querySelector(".state");
  put(state, STATES[camera.state] ?? camera.state);
  state.className = `state ${camera.state}`;
  section.classList.toggle("stale", camera.state !== "live");
  const problem = section.querySelector(".problem");
  problem.hidden = camera.state === "live" || !camera.problem;
  put(problem, camera.problem ?? "");
  if (!section.dataset.began && camera.width) {
    section.dataset.began = "yes";
    const way = section.querySelector(".way");
    const place = section.querySelector(".picture");
    place.style.setProperty("--shape", camera.width / camera.height);
    showPicture(place, `cameras/${number}`, webrtc, (words) => {
      way.hidden = false;
      put(way, words);
    });
  }
  const who = camera.faces.map((face) => face.name ?? "somebody unknown");
  const there = camera.state !== "live" ? "no signal" : who.length ? who.join(", ") : "nobody is seen";
  const words = `Live picture of ${camera.name}: ${there}`;
  section.querySelector(".picture canvas").ariaLabel = words;
  section.querySelector(".picture video").ariaLabel = words;
  const faces = camera.state === "live" ? camera.faces : [];
  showBoxes(section.querySelector(".boxes"), faces, camera, number, nameable);
  showFaces(section.querySelector(".now"), faces, camera, number, nameable);
  showLately(section, camera.timeline);
  showOutputs(section.querySelector(".outputs"), camera.outputs);
  showFigures(section.querySelector(".figures"), camera, nameable);
}

// Where else it goes, and what is wrong there.
function showOutputs(parent, outputs) {
  const byKey = new Map(outputs.map((output, at) => [`${at} ${output.name}`, output]));
  for (const item of keyed(parent, [...byKey.keys()], () => make("li"))) {
    const { name, state, problem, skipped } = byKey.get(item.dataset.key);
    item.className = state.replace(" ", "-");
    const why = state === "on" || !problem ? "" : ` (${problem})`;
    put(item, `${name}: ${WORKS[state] ?? state}${why}${skipped ? `, ${skipped} pictures left out` : ""}`);
  }
}

function ask(camera, number, face) {
  const asked = { camera: number, epoch: camera.epoch, track: face.track };
  naming.open({
    picture: `cameras/${number}/faces/${camera.epoch}-${face.track}.jpg`,
    name: face.name,
    send: async (name) => tell(await post("names", { ...asked, name })),
    home: () => cards.get(number)?.querySelector(".now button"),
  });
}

function showBoxes(parent, faces, camera, number, nameable) {
  const byKey = new Map(faces.map((face) => [`${camera.epoch}-${face.track}`, face]));
  if (!nameable) byKey.clear();
  for (const button of keyed(parent, [...byKey.keys()], () => Object.assign(make("button"), { type: "button", tabIndex: -1 }))) {
    const face = byKey.get(button.dataset.key);
    const [x1, y1, x2, y2] = face.box.map((part) => part * 100);
    Object.assign(button.style, { left: `${x1}%`, top: `${y1}%`, width: `${x2 - x1}%`, height: `${y2 - y1}%` });
    button.className = face.name ? "" : "unknown";
    button.ariaLabel = face.name ? `Correct the name ${face.name}` : "Name this unknown person";
    button.onclick = () => ask(camera, number, face);
  }
}

function showFaces(parent, faces, camera, number, nameable) {
  const byKey = new Map(faces.map((face) => [`${camera.epoch}-${face.track}`, face]));
  const build = (key) => {
    if (key === "nobody") return make("li", "nobody", "Nobody");
    const item = make("li");
    const picture = make("img", "face");
    picture.alt = "";
    const words = make("span");
    words.append(make("span", "name"), make("span", "likeness"));
    item.append(picture, words);
    if (nameable) item.append(Object.assign(make("button"), { type: "button" }));
    return item;
  };
  for (const item of keyed(parent, byKey.size ? [...byKey.keys()] : ["nobody"], build)) {
    const face = byKey.get(item.dataset.key);
    if (!face) continue;
    const source = `cameras/${number}/faces/${item.dataset.key}.jpg`;
    const picture = item.querySelector("img");
    if (picture.getAttribute("src") !== source) picture.src = source;
    put(item.querySelector(".name"), face.name ?? "Unknown");
    put(item.querySelector(".likeness"), face.name && face.similarity !== null ? `likeness ${face.similarity.toFixed(2)}` : "");
    const button = item.querySelector("button");
    if (!button) continue;
    put(button, face.name ? "Correct" : "Name");
    button.ariaLabel = face.name ? `Correct the name ${face.name}` : "Name this unknown person";
    button.onclick = () => ask(camera, number, face);
  }
}

// The last minutes end now and grow to the left until the window is full.
function showLately(section, timeline) {
  const parent = section.querySelector(".lately");
  const rows = new Map(timeline.rows.map((row) => [row.name ?? "", row]));
  const build = () => {
    const item = make("li");
    item.append(make("span", "who"), make("span", "sr"), laneSvg());
    return item;
  };
  const start = Math.max(0, timeline.now - timeline.window);
  const length = Math.max(30, timeline.now - start);
  for (const item of keyed(parent, [...rows.keys()], build)) {
    const row = rows.get(item.dataset.key);
    item.className = row.name ? "" : "stranger";
    put(item.querySelector(".who"), row.name ?? "Unknown");
    const seconds = row.stays.reduce((sum, [from, to]) => sum + to - from, 0);
    put(item.querySelector(".sr"), `${Math.round(seconds / 10) * 10} seconds in ${row.stays.length} appearances`);
    drawBars(item.querySelector("svg"), row.stays, start, length);
  }
  put(section.querySelector(".window"), `The last ${Math.round(timeline.window / 60)} minutes`);
  showScale(section.querySelector(".scale"), timeline.now - start, length);
}

// How long ago things were: ticks in minutes, in seconds while there is no minute yet.
function showScale(parent, past, length) {
  const step = STEPS.find((step) => past / step < 6);
  const ticks = Array.from({ length: Math.floor(past / step) + 1 }, (_, at) => at * step).filter((ago) => (past - ago) / length < 0.9);
  const words = (ago) => (ago === 0 ? "now" : ago % 60 ? `−${ago} s` : `−${ago / 60} min`);
  for (const tick of keyed(parent, ticks.map(String), () => make("span"))) {
    const ago = Number(tick.dataset.key);
    put(tick, words(ago));
    tick.style.left = `${(100 * (past - ago)) / length}%`;
  }
}

function showFigures(parent, camera, nameable) {
  const dropped = Object.entries(camera.dropped).map(([cause, count]) => `${count} ${cause}`).join(", ");
  const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);
  const figures = {
    [nameable ? "Named frames a second" : "Frames looked at a second"]: camera.fps.toFixed(1),
    "Latency, median": ms(camera.latency.p50),
    "Latency, 95 %": ms(camera.latency.p95),
    "Frames": `${camera.came}`,
    [nameable ? "Named" : "Looked at"]: `${camera.named}`,
    "Dropped": dropped || "none",
    "Connections": `${camera.connections}`,
    "Source": camera.source,
  };
  const children = keyed(parent, Object.keys(figures).flatMap((name) => [`t${name}`, `d${name}`]), (key) => make(key[0] === "t" ? "dt" : "dd"));
  for (const child of children) {
    const name = child.dataset.key.slice(1);
    put(child, child.tagName === "DT" ? name : figures[name]);
  }
}

follow(`events?visit=${visit}`, show, lose);
