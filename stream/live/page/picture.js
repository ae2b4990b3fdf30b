// The live picture: over WebRTC where both ends can, as MJPEG where they cannot, which is said.

import { post } from "./shared.js";

const PATIENCE = 6000; // milliseconds until a picture has to be there

// Tells the server whose connections are whose, so that it can end them when the page is gone.
export const visit = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// Show a camera's picture in `place`; `say(words)` tells how it comes where it is not the best way.
export async function show(place, address, webrtc, say) {
  if (!webrtc || !("RTCPeerConnection" in window)) {
    mjpeg(place, address);
    say(webrtc ? "The picture comes as MJPEG: this browser has no WebRTC." : "The picture comes as MJPEG: WebRTC is not installed where IZ*Net runs.");
    return;
  }
  try {
    await connect(place, address, say);
  } catch (error) {
    mjpeg(place, address);
    say(`The picture comes as MJPEG: WebRTC did not connect (${error.message}).`);
  }
}

function mjpeg(place, address) {
  const image = place.querySelector("img");
  place.querySelector("video").hidden = true;
  image.hidden = false;
  image.src = `${address}/live.mjpg`;
  place.classList.add("shown");
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
  place.querySelector("img").hidden = true;
  place.classList.add("shown");
  peer.addEventListener("connectionstatechange", () => {
    if (peer.connectionState !== "failed") return;
    peer.close();
    mjpeg(place, address);
    say("The picture comes as MJPEG: WebRTC broke off.");
  });
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    peer.addEventListener("icegatheringstatechange", () => { if (peer.iceGatheringState === "complete") done(); });
  });
}
