// What all pages share: building elements, talking to the server, asking for a name, saying what happened.

export const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, act) {
  const element = make("button", "", text);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}

// Change only what differs: a screen reader reads what is touched, and a focused button must stay.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One child for each key, in order; children that stay are kept.
export function keyed(parent, keys, build) {
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

// Names for the field to choose from.
export function offer(people) {
  keyed($("people"), people, (name) => Object.assign(make("option"), { value: name }));
}

// A lane of a timeline: bars of [from, to] or [from, to, title, colour], in seconds from `start`.
export function drawBars(svg, spans, start, length) {
  svg.setAttribute("viewBox", `0 0 ${length} 10`);
  svg.replaceChildren(...spans.map(([from, to, title, colour]) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    bar.setAttribute("x", from - start);
    bar.setAttribute("width", Math.max(length / 400, to - from));
    bar.setAttribute("height", 10);
    if (colour) bar.style.fill = colour;
    if (title) bar.append(document.createElementNS("http://www.w3.org/2000/svg", "title"));
    if (title) bar.firstChild.textContent = title;
    return bar;
  }));
}

export function laneSvg() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

const PATIENCE = 30; // seconds in which an answer has to come
const SILENCE = 10; // seconds without news after which a connection counts as lost
const PAUSE = 3000; // milliseconds until what failed is tried again
let run = "";

// Which run of IZ*Net the page belongs to: another one that is here later refuses its changes.
export function belong(to) { run = to; }

export function pause(milliseconds = PAUSE) { return new Promise((over) => setTimeout(over, milliseconds)); }

// Ask the server to change something. What it refuses is thrown, with `consent` where it would do it if asked so.
export async function post(path, data) {
  const patience = new AbortController();
  const clock = setTimeout(() => patience.abort(), 1000 * PATIENCE);
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-iznet": run },
      body: JSON.stringify(data),
      signal: patience.signal,
    });
    text = await answer.text();
  } catch {
    throw new Error(patience.signal.aborted
      ? `IZ*Net has not answered for ${PATIENCE} seconds. It may still do it; look before you try again.`
      : "IZ*Net does not answer; is it still running?");
  } finally {
    clearTimeout(clock);
  }
  let said = {};
  try { said = JSON.parse(text); } catch { said = { error: text.trim() }; }
  if (!answer.ok) throw Object.assign(new Error(said.error || `the server answered ${answer.status}`), { consent: said.consent });
  return said;
}

let quiet = 0;
// Say what happened, for a while; `undo` is offered beside it.
export function say(words, undo) {
  put($("said").querySelector("span"), words);
  $("undo").hidden = !undo;
  $("undo").onclick = undo ?? null;
  $("said").hidden = false;
  clearTimeout(quiet);
  quiet = setTimeout(() => { $("said").hidden = true; }, undo ? 20000 : 8000);
}

// The dialog that asks who somebody is. `send(name, consents)` does what is to be done, or throws; `home()` is where the
// keyboard goes on if what the dialog was opened from is gone afterwards.
export const naming = {
  asking: null, // what the open dialog is about

  open({ picture, name, send, home }) {
    this.asking = { send, home, from: document.activeElement, consents: {}, wanted: null, busy: false };
    this.rest();
    $("face").src = picture;
    $("name").value = name ?? "";
    $("naming").showModal();
    $("name").focus();
    $("name").select();
  },

  // Nothing is asked twice any more.
  calm() {
    if (!this.asking || this.asking.busy) return;
    Object.assign(this.asking, { consents: {}, wanted: null });
    this.rest();
  },

  rest(refused = "") {
    const words = { new: "Name, as somebody new", displace: "Name all the same" };
    put($("refused"), refused);
    put($("submit"), words[this.asking.wanted] ?? "Name");
    this.work(false);
  },

  work(busy) {
    this.asking.busy = busy;
    $("naming").ariaBusy = busy;
    for (const button of $("naming").querySelectorAll("button:not(#cancel)")) button.disabled = busy;
    if (busy) put($("submit"), "Naming …");
  },

  async submit(name) {
    const { asking } = this;
    if (!asking || asking.busy) return; // an answer may take a second, and is worth waiting for
    if (asking.wanted) asking.consents[asking.wanted] = true;
    const pressed = document.activeElement === $("submit");
    this.work(true);
    try {
      await asking.send(name, asking.consents);
      asking.busy = false;
      if (this.asking === asking) $("naming").close();
    } catch (error) {
      asking.busy = false;
      if (this.asking !== asking) {
        say(`Not named: ${error.message}`); // that dialog is closed
        return;
      }
      asking.wanted = error.consent;
      this.rest(error.message);
      if (pressed) $("submit").focus();
    }
  },

  closed() {
    if ($("naming").open || !this.asking) return; // opened again meanwhile
    const { busy, from, home } = this.asking;
    this.asking = null;
    // What was sent cannot be called back.
    if (busy) say("The name is on its way already; what comes of it is told here.");
    if (from !== document.body && !from.isConnected) home?.()?.focus();
  },
};

$("naming").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  naming.submit($("name").value);
});
$("naming").addEventListener("close", () => naming.closed());
$("name").addEventListener("input", () => naming.calm());
$("cancel").addEventListener("click", () => $("naming").close());

// The connection.

function tellLost() {
  $("link").className = "lost";
  put($("link"), "The connection to IZ*Net is lost; trying again …");
  fetch("icon.svg").then(({ status }) => {
    if (status === 401 && $("link").className) put($("link"), "IZ*Net wants its token: open the address that it printed. Trying again …");
  }, () => {});
}

function tellLinked() {
  $("link").className = "";
  put($("link"), "");
}

// What a page cannot begin without is asked for until it comes.
export async function insist(path) {
  for (;;) {
    try {
      const answer = await fetch(path);
      if (answer.ok) return await answer.json();
    } catch {
      // As any other answer that is none.
    }
    tellLost();
    await pause();
  }
}

// What the server says as it happens: something every few seconds at least. `lost()` is told when it says nothing any more.
export function follow(path, hear, lost = () => {}) {
  const events = new EventSource(path);
  let silence = 0;
  const fail = async () => {
    clearTimeout(silence);
    events.close(); // by itself a browser gives up where it is refused
    tellLost();
    lost();
    await pause();
    follow(path, hear, lost);
  };
  const wait = () => {
    clearTimeout(silence);
    silence = setTimeout(fail, 1000 * SILENCE);
  };
  events.onmessage = (event) => {
    wait();
    tellLinked();
    hear(JSON.parse(event.data));
  };
  events.onerror = fail;
  wait();
}
