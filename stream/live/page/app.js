"use strict";
// The page of a live run: one stream of events says all there is to know; pictures come as MJPEG.

const $ = (id) => document.getElementById(id);
const STATES = { connecting: "connecting", live: "live", waiting: "no signal, trying again", ended: "ended", failed: "given up" };
const cards = new Map();
let asked = null; // the face that the dialog is about
let undoable = null; // the naming that can be taken back
let undoShown = 0; // its number, once it has been shown

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Change only what differs: a screen reader reads what is touched, and a focused button must stay.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function card(number) {
  if (!cards.has(number)) {
    const section = $("camera").content.firstElementChild.cloneNode(true);
    $("cameras").append(section);
    cards.set(number, section);
  }
  return cards.get(number);
}

// One child for each key, in order; children that stay are kept.
function keyed(parent, keys, build) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, at) => {
    const child = there.get(key) ?? build(key);
    child.dataset.key = key;
    there.delete(key);
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  there.forEach((child) => child.remove());
  return [...parent.children];
}

function show(state) {
  state.cameras.forEach((camera, number) => showCamera(card(number), camera, number, state.naming));
  keyed($("people"), state.people, (name) => Object.assign(make("option"), { value: name }));
  undoable = state.undo;
  if (undoable && undoable.number !== undoShown) {
    undoShown = undoable.number;
    say(`${undoable.name} is known now${undoable.new ? " (new in the gallery)" : ""}.`, true);
  }
}

function showCamera(section, camera, number, naming) {
  put(section.querySelector("h2"), camera.name);
  const state = section.querySelector(".state");
  put(state, STATES[camera.state] ?? camera.state);
  state.className = `state ${camera.state}`;
  const problem = section.querySelector(".problem");
  problem.hidden = camera.state === "live" || !camera.problem;
  put(problem, camera.problem ?? "");
  const image = section.querySelector(".picture img");
  if (!image.src && camera.width) {
    image.width = camera.width;
    image.height = camera.height;
    image.src = `cameras/${number}/live.mjpg`;
  }
  const who = camera.faces.map((face) => face.name ?? "somebody unknown");
  image.alt = `Live picture of ${camera.name}: ${who.length ? who.join(", ") : "nobody is seen"}`;
  const faces = camera.state === "live" ? camera.faces : [];
  showBoxes(section.querySelector(".boxes"), faces, camera, number, naming);
  showFaces(section.querySelector(".now"), faces, camera, number, naming);
  showLately(section.querySelector(".lately"), camera.timeline);
  showFigures(section.querySelector(".figures"), camera);
}

function ask(camera, number, face) {
  asked = { camera: number, epoch: camera.epoch, track: face.track };
  $("face").src = `cameras/${number}/faces/${camera.epoch}-${face.track}.jpg`;
  $("name").value = face.name ?? "";
  put($("refused"), "");
  $("naming").showModal();
  $("name").select();
}

function showBoxes(parent, faces, camera, number, naming) {
  const byKey = new Map(faces.map((face) => [`${camera.epoch}-${face.track}`, face]));
  if (!naming) byKey.clear();
  for (const button of keyed(parent, [...byKey.keys()], () => Object.assign(make("button"), { type: "button", tabIndex: -1 }))) {
    const face = byKey.get(button.dataset.key);
    const [x1, y1, x2, y2] = face.box.map((part) => part * 100);
    Object.assign(button.style, { left: `${x1}%`, top: `${y1}%`, width: `${x2 - x1}%`, height: `${y2 - y1}%` });
    button.className = face.name ? "" : "unknown";
    button.ariaLabel = face.name ? `Correct the name ${face.name}` : "Name this unknown person";
    button.onclick = () => ask(camera, number, face);
  }
}

function showFaces(parent, faces, camera, number, naming) {
  const byKey = new Map(faces.map((face) => [`${camera.epoch}-${face.track}`, face]));
  const build = (key) => {
    if (key === "nobody") return make("li", "nobody", "Nobody");
    const item = make("li");
    const picture = make("img");
    picture.alt = "";
    const words = make("span");
    words.append(make("span", "name"), make("span", "likeness"));
    item.append(picture, words);
    if (naming) item.append(Object.assign(make("button"), { type: "button" }));
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

function showLately(parent, timeline) {
  const rows = new Map(timeline.rows.map((row) => [row.name ?? "", row]));
  const build = () => {
    const item = make("li");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    item.append(make("span", "who"), make("span", "sr"), svg);
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
    const svg = item.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${length} 10`);
    const bars = row.stays.map(([from, to]) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      bar.setAttribute("x", from - start);
      bar.setAttribute("width", Math.max(length / 400, to - from));
      bar.setAttribute("height", 10);
      return bar;
    });
    svg.replaceChildren(...bars);
  }
}

function showFigures(parent, camera) {
  const dropped = Object.entries(camera.dropped).map(([cause, count]) => `${count} ${cause}`).join(", ");
  const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);
  const figures = {
    "Named frames a second": camera.fps.toFixed(1),
    "Latency, median": ms(camera.latency.p50),
    "Latency, 95 %": ms(camera.latency.p95),
    "Frames": `${camera.came}`,
    "Named": `${camera.named}`,
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

async function post(path, data) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-iznet": "1" },
    body: JSON.stringify(data),
  });
  const text = await answer.text();
  let said = {};
  try { said = JSON.parse(text); } catch { said = { error: text.trim() }; }
  if (!answer.ok) throw new Error(said.error ?? `the server answered ${answer.status}`);
  return said;
}

let quiet = 0;
function say(words, undo) {
  put($("said").querySelector("span"), words);
  $("undo").hidden = !undo;
  $("said").hidden = false;
  clearTimeout(quiet);
  quiet = setTimeout(() => { $("said").hidden = true; }, 20000);
}

$("naming").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const given = await post("names", { ...asked, name: $("name").value });
    undoable = given;
    undoShown = given.number;
    $("naming").close();
    say(`${given.name} is known now${given.new ? " (new in the gallery)" : ""}.`, true);
  } catch (error) {
    put($("refused"), error.message);
  }
});
$("cancel").addEventListener("click", () => $("naming").close());
$("undo").addEventListener("click", async () => {
  if (!undoable) return;
  try {
    const taken = await post("undo", { number: undoable.number });
    say(`${taken.name}: taken back.`, false);
  } catch (error) {
    say(error.message, false);
  }
});

const events = new EventSource("events");
events.onmessage = (event) => {
  $("link").className = "";
  put($("link"), "");
  show(JSON.parse(event.data));
};
events.onerror = () => {
  $("link").className = "lost";
  put($("link"), "The connection to IZ*Net is lost; trying again …");
};
