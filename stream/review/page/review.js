// The page of a review: the record beside its video. The server holds the corrections; what it says is shown.

import { $, belong, button, drawBars, follow, insist, keyed, laneSvg, make, naming, offer, pause, post, put, say } from "./shared.js";
import { Overlay } from "./overlay.js";
import { StillPlayer, VideoPlayer, frameAt } from "./player.js";

const scenes = await insist("scenes");
const { times, run } = scenes;
const tracks = new Map(scenes.tracks.map((track) => [track.track, track]));
const overlay = new Overlay($("overlay"), scenes.tracks, times.length, scenes.units);
// In order of appearance, from left to right.
const order = [...scenes.tracks].sort((a, b) => a.frames[0] - b.frames[0] || a.boxes[0] - b.boxes[0]).map((track) => track.track);
let state = { version: -1, groups: [], timeline: null };
let over = false; // another review has taken the place of this one
let groupOf = new Map(); // who each track is
let player = null;
let index = 0; // of the frame on screen
let selected = null; // a track
let waived = false; // that what was taken up may be discarded

const picture = (track) => `tracks/${track}.jpg?${run}`;
const nameOf = (track) => groupOf.get(track)?.name ?? null;
const labelOf = (track) => groupOf.get(track)?.label ?? `track ${track}`;
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const called = (group) => group?.name ?? capital(group?.label ?? "somebody"); // names stay as they are spelt
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function clock(seconds) {
  const tenths = Math.round(Math.abs(seconds) * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, ((tenths % 600) / 10).toFixed(1)];
  const padded = rest.padStart(4, "0");
  return `${seconds < 0 ? "-" : ""}${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${padded}`;
}

function span(track) {
  const { frames } = tracks.get(track);
  return `${clock(times[frames[0]])} to ${clock(times[frames[frames.length - 1]])}`;
}

// Where somebody was, for when the page is loaded again: in this tab, and at this record.

const PLACE = `iznet review ${scenes.place}`;

function mark() {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ index: player.wanted ?? index, selected }));
  } catch {
    // A browser may keep nothing.
  }
}

// The record may be another by now: a track that is not there is not selected.
function comeBack() {
  let place = null;
  try {
    place = JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    // As above, or it is not ours.
  }
  if (Number.isInteger(place?.index)) index = Math.max(0, Math.min(times.length - 1, place.index));
  if (tracks.has(place?.selected)) selected = place.selected;
}

// What is on screen.

function shown(now) {
  index = now;
  overlay.draw(index, nameOf, selected);
  $("where").value = index;
  $("where").setAttribute("aria-valuetext", clock(times[index]));
  put($("time"), `${clock(times[index])}  frame ${index}`);
  put($("play"), player?.playing ? "Pause" : "Play");
  placeHead();
  showNow();
}

function showNow() {
  const here = overlay.on(index).map(({ track }) => track);
  const build = (track) => {
    if (track === "nobody") return make("li", "nobody", "Nobody");
    const item = make("li");
    const face = Object.assign(make("img", "face"), { alt: "", src: picture(track) });
    const words = make("span");
    words.append(make("span", "name"), make("span", "likeness"));
    item.append(face, words, button("", () => ask(Number(track))));
    return item;
  };
  for (const item of keyed($("now"), here.length ? here.map(String) : ["nobody"], build)) {
    if (item.dataset.key === "nobody") continue;
    const track = Number(item.dataset.key);
    put(item.querySelector(".name"), called(groupOf.get(track)));
    put(item.querySelector(".likeness"), `track ${track}`);
    showAsking(item.querySelector("button"), track);
    item.classList.toggle("selected", track === selected);
  }
}

function showAsking(asking, track) {
  const name = nameOf(track);
  put(asking, name ? "Correct" : "Name");
  asking.ariaLabel = name ? `Correct the name ${name}, track ${track}` : `Name ${labelOf(track)}, track ${track}`;
}

function select(track) {
  selected = track;
  put($("selected"), track === null ? "" : `${called(groupOf.get(track))}, track ${track}, ${span(track)}`);
  overlay.draw(index, nameOf, selected);
  showNow();
}

function go(to) {
  player.pause();
  player.seek(Math.max(0, Math.min(times.length - 1, to)));
}

// The picture, where it is not in sight: what was asked for is seen there.
function reveal() {
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  document.querySelector("#stage .picture").scrollIntoView({ block: "nearest", behavior });
}

function step(by) {
  go((player.wanted ?? index) + by);
}

// The next track in order of appearance, or the next without a name, and to where it is seen.
function turn(by, unnamed) {
  let at = selected === null ? -1 : order.indexOf(selected);
  if (at < 0) at = by > 0 ? order.findIndex((track) => tracks.get(track).frames.at(-1) >= index) - 1 : order.findLastIndex((track) => tracks.get(track).frames[0] <= index) + 1;
  do at += by; while (order[at] !== undefined && unnamed && nameOf(order[at]));
  if (order[at] === undefined) {
    say(unnamed ? "Nobody else is without a name." : by > 0 ? "That was the last face." : "That was the first face.");
    return;
  }
  select(order[at]);
  if (!overlay.on(index).some(({ track }) => track === order[at])) go(tracks.get(order[at]).frames[0]);
}

function toggle() {
  if (player.playing) player.pause();
  else player.play();
  put($("play"), player.playing ? "Pause" : "Play");
}

// Who everybody is.

function show(said) {
  if (said.run !== run) return leave();
  if (said.version < state.version) return; // late; what is shown is newer
  state = said;
  groupOf = new Map(state.groups.flatMap((group) => group.tracks.map((track) => [track, group])));
  offer(state.people);
  const open = [
    state.unsaved ? `${count(state.unsaved, "track")} corrected` : "",
    state.unlearned ? `${count(state.unlearned, "look")} for ${scenes.gallery}` : "",
  ].filter(Boolean);
  put($("unsaved"), open.length ? `${open.join(", ")}, not saved` : "");
  $("save").disabled = !open.length;
  $("save").classList.toggle("main", open.length > 0);
  $("taken").hidden = waived || !state.taken_up;
  put($("taken").querySelector("p"), state.taken_up ? `${capital(state.taken_up)}.` : "");
  $("notes").hidden = !state.notes.length;
  keyed($("notes"), state.notes, (note) => make("p", "", `${capital(note)}.`));
  for (const [id, word, step] of [["back", "Undo", state.undo], ["again", "Redo", state.redo]]) {
    $(id).disabled = !step;
    $(id).title = step ? `${word}: ${step.words}` : "";
  }
  showCast();
  showTimeline();
  shown(index);
  if (selected !== null) select(selected);
  aimAnew();
}

function longest(group) {
  return group.tracks.reduce((a, b) => (tracks.get(b)?.frames.length > (tracks.get(a)?.frames.length ?? 0) ? b : a));
}

const keyOf = (group) => `${group.name === null ? "?" : "!"}${group.label}`;

function showCast() {
  const groups = new Map(state.groups.map((group) => [keyOf(group), group]));
  const build = () => $("person").content.firstElementChild.cloneNode(true);
  const named = state.groups.filter((group) => group.name !== null).length;
  put($("howmany"), `${named} named, ${groups.size - named} unknown`);
  if (!groups.size) groups.set("nobody", null);
  for (const item of keyed($("cast"), [...groups.keys()], (of) => (of === "nobody" ? make("li", "quiet", "Nobody was found.") : build()))) {
    const group = groups.get(item.dataset.key);
    if (group) showPerson(item, group);
  }
  $("search").hidden = groups.size < MANY && !$("filter").value;
  sift();
}

// People by a part of their name.

const MANY = 8; // people, from which on they are searched rather than seen

// Letters that Unicode takes for letters of their own, not for others with an accent.
const BARE = { ø: "o", ł: "l", đ: "d", ð: "d", ħ: "h", ı: "i", ß: "ss", æ: "ae", œ: "oe" };

// Without accents, and as in lower case.
const plain = (words) =>
  words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[øłđðħıßæœ]/g, (letter) => BARE[letter]);

function sift() {
  const wanted = plain($("filter").value.trim());
  const people = [...$("cast").querySelectorAll(".person")];
  for (const item of people) item.hidden = !plain(item.querySelector(".name").textContent).includes(wanted);
  const found = people.filter((item) => !item.hidden).length;
  put($("found"), !wanted ? "" : found ? `${found} of ${people.length} people` : "Nobody here is called so.");
}

function firstFound() {
  return $("cast").querySelector(".person:not([hidden]) .whole button");
}

function showPerson(item, group) {
  const best = longest(group);
  const face = item.querySelector(".face");
  if (face.getAttribute("src") !== picture(best)) face.src = picture(best);
  item.style.setProperty("--own", group.colour);
  item.classList.toggle("stranger", group.name === null);
  put(item.querySelector(".name"), called(group));
  put(item.querySelector(".likeness"), `${group.seconds.toFixed(1)} s · ${Math.round(100 * group.share)} %`);
  const asking = item.querySelector(".whole button");
  put(asking, group.name ? "Correct" : "Name");
  asking.ariaLabel = `${group.name ? "Correct" : "Name"} ${group.label} everywhere`;
  asking.onclick = () => ask(best, true);
  put(item.querySelector("summary"), count(group.tracks.length, "track"));
  const build = (of) => {
    const track = Number(of);
    const row = make("li");
    const seen = Object.assign(make("img", "face"), { alt: "", loading: "lazy", src: picture(track) });
    const there = button("Show", () => { select(track); go(tracks.get(track).frames[0]); reveal(); });
    there.ariaLabel = `Show track ${track}`;
    row.append(seen, make("span", "when"), there, button("", () => ask(track)));
    return row;
  };
  for (const row of keyed(item.querySelector(".tracks"), group.tracks.map(String), build)) {
    const track = Number(row.dataset.key);
    const likeness = group.likeness[group.tracks.indexOf(track)];
    const near = group.name && likeness !== null ? `, likeness ${likeness.toFixed(2)}` : "";
    put(row.querySelector(".when"), `${span(track)}, track ${track}${near}`);
    showAsking(row.querySelector("button:last-child"), track);
  }
}

function showTimeline() {
  const { lanes, shots, start, end, marks, subtitle } = state.timeline;
  put($("subtitle"), subtitle);
  const rows = new Map(lanes.map((lane) => [`${lane.known ? "!" : "?"}${lane.name}`, lane]));
  rows.set("shots", shots);
  const build = () => {
    const item = make("li");
    const svg = laneSvg();
    svg.addEventListener("click", (event) => {
      const place = svg.getBoundingClientRect();
      go(frameAt(times, start + ((event.clientX - place.left) / place.width) * (end - start)));
      reveal();
    });
    item.append(make("span", "who"), make("span", "sr"), svg);
    return item;
  };
  for (const item of keyed($("lanes"), [...rows.keys()], build)) {
    const lane = rows.get(item.dataset.key);
    put(item.querySelector(".who"), lane.known ? lane.name : capital(lane.name));
    item.querySelector(".who").title = lane.name;
    put(item.querySelector(".sr"), `${lane.numbers} ${lane.spans.map((bar) => bar[2]).join("; ")}`);
    drawBars(item.querySelector("svg"), lane.spans, start, end - start);
  }
  $("axis").replaceChildren(...marks.filter((mark) => (mark - start) / (end - start) < 0.9).map((mark) => {
    const label = make("span", "", clock(mark));
    label.style.left = `${(100 * (mark - start)) / (end - start)}%`;
    return label;
  }));
  placeHead();
}

function placeHead() {
  if (!state.timeline) return;
  const { start, end } = state.timeline;
  $("head").style.setProperty("--at", (times[index] - start) / (end - start));
}

// Changes.

let aimed = null; // whom the dialog is about: a track, and who that was when it was said

function aim(track, all) {
  const group = groupOf.get(track);
  const several = group.tracks.length > 1;
  aimed = { track, who: whoIs(track) };
  $("scope").hidden = !several;
  $("here").checked = !(several && all);
  $("everywhere").checked = !$("here").checked;
  put($("here").nextElementSibling, `Only here (track ${track}, ${span(track)})`);
  put($("everywhere").nextElementSibling, `${called(group)} everywhere (${count(group.tracks.length, "track")})`);
  $("nobody").hidden = group.name === null;
}

const whoIs = (track) => `${keyOf(groupOf.get(track))} ${groupOf.get(track).tracks}`;

// Another page may say who it is while the dialog is open: `everywhere` is not what was meant any more.
function aimAnew() {
  if (!$("naming").open || naming.asking.busy || whoIs(aimed.track) === aimed.who) return;
  aim(aimed.track, false);
  naming.calm();
  put($("refused"), `Meanwhile this is ${called(groupOf.get(aimed.track))}; look before you name it.`);
}

function ask(track, all = false) {
  player.pause();
  select(track);
  const group = groupOf.get(track);
  aim(track, all || group.name === null);
  $("learn").checked = false; // asked for anew each time: a wrong look stays in the gallery
  $("teaching").hidden = !scenes.gallery;
  naming.open({
    picture: picture(track),
    name: group.name,
    send: async (name, consents) => {
      const where = { everywhere: $("everywhere").checked, learn: $("learn").checked && name !== null };
      const made = await post("names", { track, name, ...where, ...consents });
      show(made);
      say(`${made.undo.words}.`, () => takeBack(made.undo.number));
    },
    home: () => (personOf(track)?.hidden ? $("filter") : personOf(track)?.querySelector(".whole button")),
  });
}

function personOf(track) {
  const group = groupOf.get(track);
  return [...$("cast").children].find((item) => item.dataset.key === keyOf(group));
}

async function act(path, data, done) {
  try {
    const said = await post(path, data);
    show(said);
    if (done) say(done);
    return true;
  } catch (error) {
    if (error.consent) throw error;
    say(error.message);
    return false;
  }
}

async function takeBack(number) {
  if (number !== undefined) await act("undo", { number }, "Taken back.");
}

async function doAgain() {
  if (state.redo) await act("redo", { number: state.redo.number }, `${state.redo.words}.`);
}

async function save() {
  if (!state.unsaved && !state.unlearned) return true;
  const places = [state.unsaved ? scenes.record : "", state.unlearned ? scenes.gallery : ""].filter(Boolean);
  return act("save", {}, `Saved in ${places.join(" and ")}.`);
}

async function render(replace = false) {
  if (!(await save())) return;
  try {
    await act("render", { replace });
  } catch (error) {
    makeSure(`${error.message}.`, "Replace it", () => render(true));
  }
}

function discard() {
  const words = `All that is not saved is gone then (${$("unsaved").textContent}), and cannot be brought back.`;
  makeSure(words, "Discard", () => act("discard", {}, `${scenes.record} is as it was saved.`));
}

let agreed = null; // what is done if the answer is yes

function makeSure(words, yes, act) {
  put($("sure-words"), words);
  put($("agree"), yes);
  agreed = act;
  $("sure").returnValue = "";
  $("sure").showModal();
}

function showRendering(rendering) {
  $("rendering").hidden = !rendering;
  if (!rendering) return;
  const running = rendering.state === "running";
  $("stop").hidden = !running;
  $("drawn").hidden = !running;
  $("render").disabled = running;
  $("rendering").className = `panel ${rendering.state}`;
  put($("drawing"), running ? `Drawing ${scenes.output} …` : rendering.words);
  if (rendering.total) Object.assign($("drawn"), { max: rendering.total, value: rendering.done });
}

// What people do.

function listen() {
  $("play").onclick = toggle;
  $("earlier").onclick = () => step(-1);
  $("later").onclick = () => step(1);
  $("previous").onclick = () => turn(-1, false);
  $("next").onclick = () => turn(1, false);
  $("where").oninput = () => go(Number($("where").value));
  $("save").onclick = save;
  $("back").onclick = () => takeBack(state.undo?.number);
  $("again").onclick = doAgain;
  $("render").onclick = () => render();
  $("reload").onclick = () => location.reload();
  $("stop").onclick = () => act("stop", {});
  $("nobody").onclick = () => naming.submit(null);
  $("sure").onclose = () => { if ($("sure").returnValue === "yes") agreed(); };
  $("discard").onclick = discard;
  $("keep").onclick = () => {
    waived = true;
    $("taken").hidden = true;
  };
  $("filter").oninput = sift;
  $("filter").onkeydown = filtering;
  $("scope").onchange = () => naming.calm();
  $("sound").onclick = () => {
    $("video").muted = !$("video").muted;
    $("sound").setAttribute("aria-pressed", $("video").muted);
  };
  const face = (event) => {
    const place = $("overlay").getBoundingClientRect();
    return overlay.at(index, (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  };
  $("overlay").onclick = (event) => {
    const track = face(event);
    if (track === null) toggle();
    else ask(track);
  };
  $("overlay").onmousemove = (event) => $("overlay").classList.toggle("face-there", face(event) !== null);
  addEventListener("resize", () => overlay.draw(index, nameOf, selected));
  addEventListener("beforeunload", (event) => { if (!over && (state.unsaved || state.unlearned)) event.preventDefault(); });
  // Who points presses no keys for the button pointed at: space goes on to play, Enter to name.
  addEventListener("mousedown", (event) => { if (event.target.closest("button, summary")) event.preventDefault(); });
  addEventListener("keydown", pressed);
  addEventListener("pagehide", mark);
}

const KEYS = {
  " ": toggle,
  k: toggle,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  n: () => turn(1, false),
  p: () => turn(-1, false),
  N: () => turn(1, true),
  P: () => turn(-1, true),
  Enter: () => { if (selected !== null) ask(selected); },
  u: () => takeBack(state.undo?.number),
  U: doAgain,
  s: save,
  "/": () => { if (!$("search").hidden) $("filter").focus(); },
};

function filtering(event) {
  if (event.key === "Escape") {
    if (!$("filter").value) $("filter").blur();
    $("filter").value = "";
    sift();
  } else if (["Enter", "ArrowDown"].includes(event.key) && !event.isComposing) {
    event.preventDefault();
    firstFound()?.focus();
  }
}

function pressed(event) {
  if (over || document.querySelector("dialog[open]")) return;
  const held = event.ctrlKey || event.metaKey;
  const act = held ? { z: KEYS.u, Z: KEYS.U, y: KEYS.U, s: KEYS.s }[event.key] : event.altKey ? null : KEYS[event.key];
  // A button that has the focus is pressed, a slider moved: those are theirs.
  const own = event.target.matches("button, summary") ? [" ", "Enter"] : event.target.matches("input") ? ["ArrowLeft", "ArrowRight"] : [];
  if (!act || own.includes(event.key)) return;
  if (event.target === $("filter") && !(held && act === save)) return; // letters are typed there
  event.preventDefault();
  act();
}

// The video, or where the browser cannot play it, pictures of its frames.

const UNPLAYABLE = "This browser cannot play the video, so its frames are shown one by one, as JPEG and without sound.";

let refusals = 0; // times in a row that the browser would not play what the server has

// A video that cannot be played may be of a kind that the browser does not know, be gone, or just not come now.
async function fail() {
  const status = await fetch("video", { method: "HEAD" }).then((answer) => answer.status, () => 0);
  if (player instanceof StillPlayer || over) return;
  if (status === 404) useStills(`${scenes.video} is not where it was any more, so there are no pictures.`);
  else if (status === 200 && refusals > 0) useStills(UNPLAYABLE);
  else {
    refusals = status === 200 ? 1 : 0;
    if (!refusals) await pause();
    $("video").addEventListener("loadedmetadata", () => player.seek(index), { once: true });
    $("video").load();
  }
}

function useStills(words) {
  if (player instanceof StillPlayer) return;
  $("video").hidden = true;
  $("video").removeAttribute("src");
  $("sound").hidden = true;
  $("still").hidden = false;
  $("way").hidden = false;
  put($("way"), words);
  player = new StillPlayer($("still"), times, run, shown);
  player.seek(index);
}

function begin() {
  put($("file"), `${scenes.record} · ${scenes.video}`);
  document.title = `${scenes.video} – IZ*Net review`;
  const shape = (width, height) => document.documentElement.style.setProperty("--shape", width / height);
  shape(scenes.width, scenes.height);
  $("where").max = Math.max(0, times.length - 1);
  put($("teaching").querySelector("span"), `Learn this face: its clearest looks go into ${scenes.gallery} when you save`);
  $("render").hidden = !scenes.output;
  $("render").title = `Draws ${scenes.output}`;
  const video = $("video");
  video.addEventListener("error", fail);
  video.addEventListener("loadedmetadata", () => {
    if (!video.videoWidth) useStills(UNPLAYABLE); // sound alone
    else shape(video.videoWidth, video.videoHeight); // pixels need not be square
  });
  for (const change of ["play", "pause", "ended"]) video.addEventListener(change, () => put($("play"), player.playing ? "Pause" : "Play"));
  player = new VideoPlayer(video, times, scenes.end, shown);
  comeBack();
  if (index) player.seek(index);
  video.src = "video";
  listen();
}

// Another review is at this address now, of this record or another: nothing here is its own.
function leave() {
  if (over) return;
  over = true;
  player.pause();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const part of document.querySelectorAll("main, .doing, #taken, #rendering, #said")) part.inert = true;
  const what = count(state.unsaved, "corrected track");
  const kept = state.kept ? `is kept for the next review of ${scenes.record}` : "is gone";
  const lost = state.unsaved ? ` What was not saved here (${what}) ${kept}.` : "";
  put($("other").querySelector("p"), `Another review is running here now; reload the page.${lost}`);
  $("other").hidden = false;
}

let newest = -1; // of the versions that were told of
let asking = false;

async function hear(news) {
  if (news.run !== run) return leave();
  showRendering(news.rendering); // only here: the answer to a request may be older than the news
  newest = Math.max(newest, news.version);
  if (asking) return;
  asking = true;
  try {
    while (state.version < newest && !over) show(await (await fetch("state")).json());
  } catch {
    // It is told of again soon.
  } finally {
    asking = false;
  }
}

belong(run);
begin();
follow("events", hear);
