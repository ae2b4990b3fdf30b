// Two ways to see a video frame by frame: the browser plays it, or the server decodes it and sends pictures.
// Both tell `shown(index)` which frame of the record is on screen.

// The last frame that begins by then; a browser rounds to microseconds.
export function frameAt(times, seconds) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= seconds + 5e-4) low = middle;
    else high = middle - 1;
  }
  return low;
}

export class VideoPlayer {
  constructor(video, times, end, shown) {
    // `offset`: where the browser's clock stands when the record's is at zero; known with the first picture.
    Object.assign(this, { video, times, end, shown, wanted: null, offset: null, starting: false });
    video.addEventListener("seeked", () => this.settle());
    if ("requestVideoFrameCallback" in video) this.watch();
    else this.poll();
  }

  get playing() { return this.starting || (!this.video.paused && !this.video.ended); }

  play() {
    this.wanted = null;
    if (this.offset === null) this.starting = true;
    else this.video.play();
  }

  pause() {
    this.starting = false;
    this.video.pause();
  }

  // In the middle of the frame, where rounding does no harm.
  seek(index) {
    this.wanted = index;
    if (this.offset === null) return;
    const start = this.times[index];
    const stop = this.times[index + 1] ?? this.end;
    this.video.currentTime = (start + stop) / 2 + this.offset;
  }

  // Some browsers count from the file's own zero, some from its first picture.
  begin(first) {
    const late = Math.abs(first) < Math.abs(first - this.times[0]);
    this.offset = late ? -this.times[0] : 0;
    if (this.wanted !== null) this.seek(this.wanted);
    if (this.starting) this.video.play();
    this.starting = false;
  }

  settle() {
    if (this.wanted === null || frameAt(this.times, this.video.currentTime - this.offset) !== this.wanted) return;
    const index = this.wanted;
    this.wanted = null;
    this.shown(index);
  }

  watch() {
    this.video.requestVideoFrameCallback((now, frame) => {
      if (this.offset === null) this.begin(frame.mediaTime);
      const index = frameAt(this.times, frame.mediaTime - this.offset);
      if (this.wanted === null || index === this.wanted) this.shown(index);
      this.watch();
    });
  }

  poll() {
    if (this.offset === null && this.video.readyState > 1) this.begin(this.video.seekable.length ? this.video.seekable.start(0) : 0);
    if (this.offset !== null && this.wanted === null) this.shown(frameAt(this.times, this.video.currentTime - this.offset));
    requestAnimationFrame(() => this.poll());
  }
}

export class StillPlayer {
  constructor(image, times, run, shown) {
    Object.assign(this, { image, times, run, shown, playing: false, index: 0, wanted: null, busy: false });
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    if (this.index >= this.times.length - 1) await this.show(0);
    const began = performance.now() / 1000 - this.times[this.index];
    while (this.playing && this.index < this.times.length - 1) {
      const due = frameAt(this.times, performance.now() / 1000 - began);
      if (due > this.index) await this.show(due);
      else await new Promise(requestAnimationFrame);
    }
    this.playing = false;
    this.shown(this.index);
  }

  pause() { this.playing = false; }

  // Of several that are asked for meanwhile, the last.
  async seek(index) {
    this.wanted = index;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted !== null) {
      const next = this.wanted;
      this.wanted = null;
      await this.show(next);
    }
    this.busy = false;
  }

  async show(index) {
    const picture = new Image();
    picture.src = `frames/${index}.jpg?${this.run}`;
    try {
      await picture.decode();
      this.image.src = picture.src;
      await this.image.decode();
    } catch {
      // A frame that cannot be decoded: the one before stays.
    }
    this.index = index;
    this.shown(index);
  }
}
