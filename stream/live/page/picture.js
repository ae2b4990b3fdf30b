// The live picture: over WebRTC where both ends can, as single JPEGs where they cannot, which is said.

import { pause, post } from "./shared.js";

const PATIENCE = 6000; // milliseconds until a picture has to be there
const TOGETHER = 3; // pictures that are asked for at once: browsers have six connections to a server, and others need some
const LULL = 40; // milliseconds until a picture is asked for again where there was no newer one

// Tells the server whose connections are whose, so that it can end them when the page is gone.
export const visit = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// Show a camera's picture in `place`; `say(words)` tells how it comes where it is not the best way.
export async function show(place, address, webrtc, say) {
  if (!webrtc || !("RTCPeerConnection" in window)) {
    ask(place, address);
    say(webrtc ? "The picture comes as JPEGs: this browser has no WebRTC." : "The picture comes as JPEGs: WebRTC is not installed where IZ*Net runs.");
    return;
  }
  try {
    await connect(place, address, say);
  } catch (error) {
    ask(place, address);
    say(`The picture comes as JPEGs: WebRTC did not connect (${error.message}).`);
  }
}

let free = TOGETHER;
const waiting = [];

async function inTurn(act) {
  if (free > 0) free -= 1;
  else await new Promise((mine) => waiting.push(mine));
  try {
    return await act();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
}

// One picture after another, the next when the last has come, as long as there are any and somebody can see them.
async function ask(place, address) {
  const canvas = place.querySelector("canvas");
  place.querySelector("video").hidden = true;
  canvas.hidden = false;
  let seen = false;
  const watching = new IntersectionObserver((entries) => { seen = entries.at(-1).isIntersecting; });
  watching.observe(place);
  let number = 0;
  while (place.isConnected) {
    if (!seen || document.hidden || place.closest(".stale")) {
      await pause(5 * LULL);
      continue;
    }
    try {
      const after = number;
      number = await inTurn(() => draw(canvas, address, after));
      if (number > after) place.classList.add("shown");
      else await pause(LULL);
    } catch {
      await pause(25 * LULL); // the stream of events says what is wrong
    }
  }
  watching.disconnect();
}

// Draw the picture after number `after`; its number, or `after` where there is none yet.
async function draw(canvas, address, after) {
  const answer = await fetch(`${address}/picture.jpg?after=${after}`, { signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  if (answer.status === 204) return after;
  const picture = await createImageBitmap(await answer.blob());
  if (canvas.width !== picture.width || canvas.height !== picture.height) Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  return Number(answer.headers.get("x-number"));
}

async function connect(place, address, say) {
  const video = place.querySelector("video");
  const peer = new RTCPeerConnection({ iceServers: [] });
  const failed = new Promise((done, fail) => {
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "failed") fail(new Error("no way between the two was found"));
    });
    setTimeout(() => fail(new Error("no picture came in time")), PATIENCE);
  });
  failed.catch(() => {}); // after the first picture it does not matter
  try {
    const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
    // Nothing is kept back to smooth what comes: the freshest picture is worth more.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    peer.addEventListener("track", (event) => {
      video.srcObject = new MediaStream([event.track]);
      video.play().catch(() => {});
    });
    await peer.setLocalDescription();
    await Promise.race([gathered(peer), failed]);
    const { sdp } = await post(`${address}/offer`, { sdp: peer.localDescription.sdp, visit });
    await peer.setRemoteDescription({ type: "answer", sdp });
    await Promise.race([new Promise((done) => video.addEventListener("loadeddata", done, { once: true })), failed]);
  } catch (error) {
    peer.close();
    throw error;
  }
  video.hidden = false;
  place.querySelector("canvas").hidden = true;
  place.classList.add("shown");
  peer.addEventListener("connectionstatechange", () => {
    if (peer.connectionState !== "failed") return;
    peer.close();
    ask(place, address);
    say("The picture comes as JPEGs: WebRTC broke off.");
  });
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    peer.addEventListener("icegatheringstatechange", () => { if (peer.iceGatheringState === "complete") done(); });
  });
}
