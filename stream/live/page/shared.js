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

// Ask the server to change something. What it refuses is thrown, with `consent` where it would do it if asked so.
export async function post(path, data) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-iznet": "1" },
      body: JSON.stringify(data),
    });
  } catch {
    throw new Error("IZ*Net does not answer; is it still running?");
  }
  const text = await answer.text();
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

// The dialog that asks who somebody is. `send(name, consents)` does what is to be done, or throws.
export const naming = {
  send: null,
  consents: {},
  wanted: null,
  busy: false,

  open({ picture, name, send }) {
    this.send = send;
    this.calm();
    $("face").src = picture;
    $("name").value = name ?? "";
    $("naming").showModal();
    $("name").focus();
    $("name").select();
  },

  // Nothing is asked twice any more.
  calm() {
    this.consents = {};
    this.wanted = null;
    put($("refused"), "");
    put($("submit"), "Name");
  },

  async submit(name) {
    if (this.busy) return; // an answer may take a second, and is worth waiting for
    this.busy = true;
    try {
      if (this.wanted) this.consents[this.wanted] = true;
      await this.send(name, this.consents);
      $("naming").close();
    } catch (error) {
      this.wanted = error.consent;
      put($("refused"), error.message);
      put($("submit"), { new: "Name, as somebody new", displace: "Name all the same" }[error.consent] ?? "Name");
    } finally {
      this.busy = false;
    }
  },
};

$("naming").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  naming.submit($("name").value);
});
$("name").addEventListener("input", () => naming.calm());
$("cancel").addEventListener("click", () => $("naming").close());

// What the server says as it happens.
export function follow(path, hear) {
  const events = new EventSource(path);
  events.onmessage = (event) => {
    $("link").className = "";
    put($("link"), "");
    hear(JSON.parse(event.data));
  };
  events.onerror = () => {
    $("link").className = "lost";
    put($("link"), "The connection to IZ*Net is lost; trying again …");
  };
}
